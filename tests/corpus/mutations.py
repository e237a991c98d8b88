"""Break the library's policies in random ways, and see what the verifier says: its catch rate, and what slips through.

A mutant is a policy's source with one small change, of the kinds that slips of the hand are. One that does not compile,
or compiles to the same program, says nothing. Run as a program it writes docs/MUTATIONS.md:

    python -m tests.corpus.mutations [--static 400] [--kernel 40] [--seed 1]

Why a mutant slipped through, somebody has to find out: ``slips.toml`` holds what they found. After that, ``--write``
writes the page anew from the last run.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import random
import re
import tempfile
import time
import tomllib
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal

import msgspec
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
SLIPS = Path(__file__).with_name("slips.toml")

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
_NUMBER_OF_DSQ = re.compile(r"#define \w+_DSQ ")
"""Another one is another name for the same queue."""
_DSQ = re.compile(r"\b(\w*_DSQ|SCX_DSQ_LOCAL)\b")
_NEGATED = {"<": ">=", ">": "<=", "<=": ">", ">=": "<", "==": "!=", "!=": "=="}


NO_POLICY = ("does not compile", "same program")
"""Fates of mutants that say nothing."""


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
        if not text.startswith(("\t.timeout", "\t__uint")) and not _NUMBER_OF_DSQ.match(text):
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


Harm = Literal["none", "little", "unseen", "missed"]
HARMS: dict[Harm, str] = {
    "none": "sound all the same",
    "little": "worse, within the bounds",
    "unseen": "bad where the suite does not look",
    "missed": "bad, and should be caught",
}


class Slip(Struct, frozen=True):
    """A row of ``slips.toml``: mutants that came through, and why. What is empty fits all."""

    harm: Harm
    why: str
    policy: str = ""
    kind: str = ""
    line: str = ""
    """A part of the line as it was."""

    def fits(self, mutant: Mutant) -> bool:
        return (
            self.policy in ("", mutant.policy) and self.kind in ("", mutant.kind) and self.line in mutant.before.strip()
        )


def slips() -> list[Slip]:
    """What people found out about mutants that came through; of several that fit, the first holds."""
    return msgspec.convert(tomllib.loads(SLIPS.read_text())["slip"], list[Slip])


def explained(mutant: Mutant) -> Slip | None:
    """Why it came through; None: nobody has looked at it."""
    return next((each for each in slips() if each.fits(mutant)), None)


class Run(Struct, frozen=True):
    """What a run found: all that were looked at without a kernel, and those that were tried on one."""

    seed: int
    kernel: str
    day: str
    minutes: float
    static: tuple[Judged, ...]
    on_kernel: tuple[Judged, ...]


def main() -> None:
    """Judge a sample, and write the page."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--static", type=int, default=400, help="mutants to look at without a kernel")
    arguments.add_argument("--kernel", type=int, default=40, help="of those that passed, how many to try on a kernel")
    arguments.add_argument("--seed", type=int, default=1)
    arguments.add_argument("--write", action="store_true", help="only write the page of the last run anew")
    chosen = arguments.parse_args()
    kept = paths.cache_dir() / "mutations.json"
    if chosen.write:
        run = msgspec.json.decode(kept.read_bytes(), type=Run)
    else:
        run = judge_many(chosen.static, chosen.kernel, chosen.seed)
        kept.write_bytes(msgspec.json.encode(run))
    TABLE.write_text(_document(run))
    print(f"{TABLE} written; {run.minutes:.0f} minutes")


def judge_many(static: int, on_kernel: int, seed: int) -> Run:
    """Judge ``static`` mutants without a kernel, and of those that pass ``on_kernel`` on the default kernel."""
    began = time.monotonic()
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        first = _told(pool.map(judge_statically, sample(static, seed)), static)
    passed = [each.mutant for each in first if _came_through(each) and not _only_counts(each.mutant)]
    passed.sort(key=lambda each: _lot(each, seed))
    second = _told(map(judge_on_a_kernel, passed[:on_kernel]), on_kernel)
    return Run(
        seed=seed,
        kernel=kernel_image(DEFAULT).parent.name,
        day=time.strftime("%Y-%m-%d"),
        minutes=(time.monotonic() - began) / 60,
        static=first,
        on_kernel=second,
    )


def _lot(mutant: Mutant, seed: int) -> bytes:
    """Draws at random, and the same ones also when a rule has come to catch some of the others."""
    return hashlib.sha256(f"{seed} {mutant.policy} {mutant.kind} {mutant.before} {mutant.after}".encode()).digest()


def _told(judged: Iterator[Judged], count: int) -> tuple[Judged, ...]:
    """All of them, each printed when it is there."""
    every = []
    for number, each in enumerate(judged, 1):
        every.append(each)
        mutant = each.mutant
        where = f"{mutant.policy}:{mutant.line} {mutant.kind}"
        print(f"{number}/{count} {where}: {each.fate} {', '.join(each.rules)}", flush=True)
    return tuple(every)


def _came_through(judged: Judged) -> bool:
    return judged.fate in ("passed", "passed with a warning")


def _only_counts(mutant: Mutant) -> bool:
    return "count(" in mutant.before


def _document(run: Run) -> str:
    telling = [each for each in run.static if each.fate not in NO_POLICY and not _only_counts(each.mutant)]
    caught = [each for each in telling if not _came_through(each)]
    tried = [each for each in run.on_kernel if each.fate != "could not be judged"]
    failed = [each for each in tried if not _came_through(each)]
    slipped = [each for each in tried if _came_through(each)]
    without, beside = _share(caught, telling), _share(failed, tried)
    return "\n".join(
        [
            f"""# Broken on purpose

`make mutations` breaks the built-in policies in random ways (seed {run.seed}), asks the verifier, and writes this page.
A mutant has one line changed. Not counted: those that do not compile, that compile to the same program, and that
change only a statistic. {run.day}, Linux {run.kernel}, {run.minutes:.0f} minutes.

- {len(run.static)} mutants were made, and {len(telling)} of them count.
- {len(caught)} of these ({without:.0%}) fail without a kernel.
- {len(tried)} of the others, drawn at random, went through the whole verification on the default kernel:
  {len(failed)} ({beside:.0%}) fail there.
- Together that is a catch rate of about {without + (1 - without) * beside:.0%} of all mutants.
{_summary_of_slips(slipped)}""",
            *_table_of_kinds(telling, tried),
            "",
            "## What caught them",
            "A mutant can break several rules. `load-rejected` is also said where a callback was dropped: its program",
            "is left without a use then, and libbpf does not load such an object.",
            "",
            *_table_of_rules(caught + failed),
            "",
            "## What slipped through, and why",
            "Somebody read each of these changes; the last two columns are their judgement.",
            "",
            "| where | what was done | the line | became | harm | why it passed |",
            "| --- | --- | --- | --- | --- | --- |",
            *map(_row, slipped),
            "",
        ]
    )


def _summary_of_slips(slipped: list[Judged]) -> str:
    """How many of those that slipped through are bad at all."""
    found = Counter(slip.harm if (slip := explained(each.mutant)) else None for each in slipped)
    lines = [
        f"  - {found[harm]} {'is' if found[harm] == 1 else 'are'} {words}"
        for harm, words in HARMS.items()
        if found[harm]
    ]
    if found[None]:
        lines.append(f"  - {found[None]} that nobody has looked at yet")
    return "\n".join([f"- Of the {len(slipped)} that slipped through there:", *lines, ""])


def _share(some: list[Judged], of: list[Judged]) -> float:
    return len(some) / len(of) if of else 0.0


def _table_of_kinds(telling: list[Judged], on_kernel: list[Judged]) -> list[str]:
    lines = ["| what was done | mutants | object | bytecode | passed | tried on a kernel | failed there |"]
    lines.append("| --- | --- | --- | --- | --- | --- | --- |")
    for kind in sorted({each.mutant.kind for each in telling}):
        fates = Counter(each.fate.partition(" ")[0] for each in telling if each.mutant.kind == kind)
        tried = [each for each in on_kernel if each.mutant.kind == kind]
        failed = sum(not _came_through(each) for each in tried)
        numbers = (fates.total(), fates["object"], fates["bytecode"], fates["passed"], len(tried), failed)
        lines.append(f"| {kind} | {' | '.join(map(str, numbers))} |")
    return lines


def _table_of_rules(caught: list[Judged]) -> list[str]:
    rules = Counter(rule for each in caught for rule in each.rules)
    return [f"- {rule}: {number}" for rule, number in rules.most_common()]


def _row(judged: Judged) -> str:
    mutant, slip = judged.mutant, explained(judged.mutant)
    warned = f" (warned: {', '.join(judged.rules)})" if judged.rules else ""
    harm, why = (HARMS[slip.harm], slip.why) if slip else ("", "not looked at yet")
    lines = f"{_code(mutant.before)} | {_code(mutant.after)}"
    return f"| {mutant.policy}:{mutant.line} | {mutant.kind}{warned} | {lines} | {harm} | {why} |"


def _code(text: str) -> str:
    return f"`{text.strip().replace('|', '∣')}`" if text.strip() else "nothing"


if __name__ == "__main__":
    main()
