"""Break the library's policies in random ways, and see what the verifier says: its catch rate, and what slips through.

A mutant is a policy's source with one small change, of the kinds that slips of the hand are. One that does not compile,
or compiles to the same program, says nothing. Run as a program it writes docs/MUTATIONS.md:

    python -m tests.corpus.mutations [--static 400] [--kernel 40] [--seed 1]
"""

from __future__ import annotations

import argparse
import random
import re
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

from msgspec import Struct

from schedtui import paths
from schedtui.backend.bpf.compiler import compile_bpf
from schedtui.backend.errors import CompileFailed, SchedtuiError
from schedtui.backend.library.catalogue import load_library
from schedtui.backend.model import Stage
from schedtui.backend.verifier import child
from schedtui.backend.verifier.elf import read_object
from schedtui.backend.verifier.verify import verify
from tests.conftest import DEFAULT, kernel_image, quiet

TABLE = Path(__file__).parents[2] / "docs" / "MUTATIONS.md"

_STATEMENT = re.compile(r"^\t+(?!return|struct|u64|s64|u32|s32|int|bool|case|break|const|static)[\w*(!].*;$")
_CONDITION = re.compile(r"\b(if|while) \((.*)\)( \{)?$")
_CALLBACK = re.compile(r"^\t\.(\w+) = \(void \*\)")
_NUMBER = re.compile(r"(?<![\w.])\d+(?![\w.])")
_INSERT_SLICE = re.compile(
    r"(scx_bpf_dsq_insert(?:_vtime)?\([^,]+, [^,]+, |scx_bpf_task_set_slice\([^,]+, )(\w+\([^()]*\)|\w+)"
)
_CALL_OF_KICK = re.compile(r"^(\t+)(?:kick_idle_cpu|scx_bpf_kick_cpu)\(.*\);$")
_TIME_BEFORE = re.compile(r"time_before\(([^,()]+), ([^,()]+)\)")
_COMPARISON = re.compile(r" (<|>|<=|>=|==|!=) ")
_SUM = re.compile(r"(?<=[\w)]) ([+-]) (?=\w)")
_DSQ = re.compile(r"\b(\w*_DSQ|SCX_DSQ_LOCAL)\b")
_NEGATED = {"<": ">=", ">": "<=", "<=": ">", ">=": "<", "==": "!=", "!=": "=="}


class Mutant(Struct, frozen=True):
    """One change to one line of a policy; ``line`` counts from 1."""

    policy: str
    kind: str
    line: int
    before: str
    after: str
    """The line as it is then; several lines or none are possible."""

    def source(self) -> str:
        """The whole changed source."""
        lines = _source_of(self.policy).read_text().splitlines()
        lines[self.line - 1] = self.after
        return "\n".join(lines) + "\n"


class Judged(Struct, frozen=True):
    """A mutant and how far it came. ``fate``: does not compile, same program, passed, or the stage that failed it."""

    mutant: Mutant
    fate: str
    rules: tuple[str, ...] = ()


def mutants(policy: str) -> list[Mutant]:
    """Every change to a policy that we know how to make, in the order of its lines."""
    lines = _source_of(policy).read_text().splitlines()
    found = []
    comment = False
    for number, text in enumerate(lines, 1):
        comment = comment or text.lstrip().startswith("/*")
        if not comment and not text.startswith(("#include", "char _license")):
            found += [Mutant(policy, kind, number, text, after) for kind, after in _changes(text) if after != text]
        comment = comment and "*/" not in text
    return found


def _changes(text: str) -> Iterator[tuple[str, str]]:
    if match := _CALL_OF_KICK.match(text):
        yield "remove a kick", f"{match[1]};"
    elif _STATEMENT.match(text):
        yield "delete a statement", re.match(r"\t+", text)[0] + ";"  # type: ignore[index]
    if match := _CONDITION.search(text):
        yield "negate a condition", f"{text[: match.start(2)]}!({match[2]}){text[match.end(2) :]}"
    if _CALLBACK.match(text):
        yield "drop a callback", ""
    if match := _INSERT_SLICE.search(text):
        for kind, value in (("zero a slice", "0"), ("slice without end", "SCX_SLICE_INF")):
            yield kind, text[: match.start(2)] + value + text[match.end(2) :]
    if match := _TIME_BEFORE.search(text):
        yield "swap before and after", f"{text[: match.start(1)]}{match[2]}, {match[1]}{text[match.end(2) :]}"
    if match := _COMPARISON.search(text):
        yield "negate a comparison", text[: match.start(1)] + _NEGATED[match[1]] + text[match.end(1) :]
    if match := _SUM.search(text):
        yield "plus for minus", text[: match.start(1)] + ("-" if match[1] == "+" else "+") + text[match.end(1) :]
    if not text.startswith("#define") and "create_dsq" not in text and (match := _DSQ.search(text)):
        yield "another queue", f"{text[: match.start()]}({match[1]} + 77){text[match.end() :]}"
    if "create_dsq" in text and "return" in text:
        yield "queue not created", re.sub(r"return .*;", "return 0;", text)
    for match in list(_NUMBER.finditer(text))[:1]:
        if not text.startswith(("\t.timeout", "\t__uint")):
            yield "another number", f"{text[: match.start()]}{int(match[0]) * 1000 + 1}{text[match.end() :]}"


def sample(size: int, seed: int, policies: list[str] | None = None) -> list[Mutant]:
    """As many mutants of built-in policies, drawn at random: kinds and policies in turn, so that none prevails."""
    chance = random.Random(seed)
    heaps: dict[tuple[str, str], list[Mutant]] = {}
    for name in policies or built_in():
        for each in mutants(name):
            heaps.setdefault((each.kind, name), []).append(each)
    for heap in heaps.values():
        chance.shuffle(heap)
    order = list(heaps)
    chance.shuffle(order)
    drawn: list[Mutant] = []
    while len(drawn) < size and any(heaps.values()):
        for key in order:
            if heaps[key] and len(drawn) < size:
                drawn.append(heaps[key].pop())
    return drawn


def built_in() -> list[str]:
    """The names of the policies that ship with a source."""
    return sorted(name for name, policy in load_library().policies.items() if policy.origin == "built-in")


def judge_statically(mutant: Mutant) -> Judged:
    """Compile it and look at the object: everything that takes no kernel."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"{mutant.policy}.bpf.c")
        path.write_text(mutant.source())
        try:
            obj = compile_bpf(path, cache=Path(folder))
        except CompileFailed:
            return Judged(mutant, "does not compile")
    original = compile_bpf(_source_of(mutant.policy))
    if _program(obj) == _program(original):
        return Judged(mutant, "same program")
    tunables = load_library().policy(mutant.policy).tunables
    return _fate(mutant, child.examine(obj, tunables))


def judge_on_a_kernel(mutant: Mutant, *, quick: bool = False) -> Judged:
    """The whole verification, on the default kernel."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"{mutant.policy}.bpf.c")
        path.write_text(mutant.source())
        obj = Path(folder, f"{mutant.policy}.bpf.o")
        obj.write_bytes(compile_bpf(path, cache=Path(folder)))
        try:
            (report,) = verify(obj, kernels=(kernel_image(DEFAULT),), quick=quick, progress=quiet)
        except SchedtuiError as error:
            return Judged(mutant, "could not be judged", (str(error),))
    return _fate(mutant, report.stages)


def _fate(mutant: Mutant, stages: tuple[Stage, ...]) -> Judged:
    for stage in stages:
        if stage.verdict == "fail":
            return Judged(mutant, stage.name, _rules(stage, "error"))
    warned = tuple(rule for stage in stages for rule in _rules(stage, "warning"))
    return Judged(mutant, "passed with a warning" if warned else "passed", warned)


def _rules(stage: Stage, severity: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(each.rule for each in stage.findings if each.severity == severity))


def _program(obj: bytes) -> object:
    """What the kernel would run of an object: no line numbers, no names of variables."""
    file = read_object(obj)
    code = {each.name: [str(one) for one in each.instructions] for each in file.programs}
    return code, str(file.globals), str(file.struct_ops)


def _source_of(policy: str) -> Path:
    return paths.shipped("library") / policy / f"{policy}.bpf.c"


def why(judged: Judged) -> str:
    """Why a mutant that passed may have: a first sorting for a reader, by what its line is about."""
    line = judged.mutant.before
    if "count(" in line:
        return "only a statistic differs"
    if judged.mutant.kind == "zero a slice":
        return "a slice of zero stands for the kernel's own, of 20 ms"
    if judged.mutant.kind == "drop a callback":
        return "the kernel's default for that callback is a sound policy"
    if "const volatile" in line or "#define" in line:
        return "a constant of another size: still within what tasks bear"
    if "vclock" in line or "charged" in line or "awake" in line or "burst" in line:
        return "accounts a little wrongly; the bound on waiting holds all the same"
    return ""


def main() -> None:
    """Judge a sample, and write the table."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--static", type=int, default=400, help="mutants to look at without a kernel")
    arguments.add_argument("--kernel", type=int, default=40, help="of those that passed, how many to try on a kernel")
    arguments.add_argument("--seed", type=int, default=1)
    chosen = arguments.parse_args()
    began = time.monotonic()
    static = _each(sample(chosen.static, chosen.seed), judge_statically)
    passed = [each.mutant for each in static if each.fate.startswith("passed") and not _only_counts(each.mutant)]
    on_kernel = _each(random.Random(chosen.seed).sample(passed, min(chosen.kernel, len(passed))), judge_on_a_kernel)
    TABLE.write_text(_document(static, on_kernel, chosen.seed))
    print(f"{TABLE} written after {time.monotonic() - began:.0f} s")


def _each(drawn: list[Mutant], judge: Callable[[Mutant], Judged]) -> list[Judged]:
    judged = []
    for number, mutant in enumerate(drawn, 1):
        judged.append(judge(mutant))
        found = ", ".join(judged[-1].rules)
        print(
            f"{number}/{len(drawn)} {mutant.policy}:{mutant.line} {mutant.kind}: {judged[-1].fate} {found}", flush=True
        )
    return judged


def _only_counts(mutant: Mutant) -> bool:
    return "count(" in mutant.before


def _document(static: list[Judged], on_kernel: list[Judged], seed: int) -> str:
    real = [each for each in static if each.fate not in ("does not compile", "same program")]
    telling = [each for each in real if not _only_counts(each.mutant)]
    caught = [each for each in telling if not each.fate.startswith("passed")]
    failed = [each for each in on_kernel if each.fate not in ("passed", "passed with a warning")]
    slipped = [each for each in on_kernel if each.fate in ("passed", "passed with a warning")]
    without, beside = _share(caught, telling), _share(failed, on_kernel)
    summary = f"""# Broken on purpose

`make mutations` breaks the built-in policies in random ways (seed {seed}) and asks the verifier; it wrote this page.
A mutant has one line changed. Not counted: those that do not compile, that compile to the same program, and that
change only a statistic.

- {len(static)} mutants were made, and {len(telling)} of them count.
- {len(caught)} of these ({without:.0%}) fail without a kernel.
- {len(on_kernel)} of the others, drawn at random, went through the whole verification on the default kernel:
  {len(failed)} ({beside:.0%}) fail there.
- Together that is a catch rate of about {without + (1 - without) * beside:.0%}.

Not every mutant is a bad policy. What slipped through is listed at the end.
"""
    return "\n".join(
        [
            summary,
            *_table_of_kinds(telling, on_kernel),
            "",
            "## What caught them",
            *_table_of_rules(caught + failed),
            "",
            "## What slipped through",
            "| where | what was done | the line | became | why it may pass |",
            "| --- | --- | --- | --- | --- |",
            *(_row(each) for each in slipped),
            "",
        ]
    )


def _share(some: list[Judged], of: list[Judged]) -> float:
    return len(some) / len(of) if of else 0.0


def _table_of_kinds(telling: list[Judged], on_kernel: list[Judged]) -> list[str]:
    lines = ["| what was done | mutants | object | bytecode | passed | tried on a kernel | failed there |"]
    lines.append("| --- | --- | --- | --- | --- | --- | --- |")
    for kind in sorted({each.mutant.kind for each in telling}):
        fates = Counter(each.fate.partition(" ")[0] for each in telling if each.mutant.kind == kind)
        tried = [each.fate for each in on_kernel if each.mutant.kind == kind]
        failed = sum(not fate.startswith("passed") for fate in tried)
        numbers = (fates.total(), fates["object"], fates["bytecode"], fates["passed"], len(tried), failed)
        lines.append(f"| {kind} | {' | '.join(map(str, numbers))} |")
    return lines


def _table_of_rules(caught: list[Judged]) -> list[str]:
    rules = Counter(rule for each in caught for rule in each.rules)
    return [f"- {rule}: {number}" for rule, number in rules.most_common()]


def _row(judged: Judged) -> str:
    mutant = judged.mutant
    before, after = (
        f"`{text.strip().replace('|', '∣')}`" if text.strip() else "nothing" for text in (mutant.before, mutant.after)
    )
    warned = f" (warned: {', '.join(judged.rules)})" if judged.rules else ""
    return f"| {mutant.policy}:{mutant.line} | {mutant.kind}{warned} | {before} | {after} | {why(judged)} |"


def _code(text: str) -> str:
    return f"`{text.strip().replace('|', '∣')}`" if text.strip() else "nothing"


if __name__ == "__main__":
    main()
