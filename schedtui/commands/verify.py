"""``schedtui verify``: whether a policy may be trusted with a computer, and why.

Judging is ``backend.verifier``'s; this says what came out, in words, as JSON, and by the exit code.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from schedtui.backend.errors import SchedtuiError, UnknownName
from schedtui.backend.model import worst
from schedtui.commands.options import json_option, set_option
from schedtui.console import NOT_DONE, Console

if TYPE_CHECKING:
    from schedtui.backend.model import Policy, Report, Setting

NOT_JUDGED = 2
EPILOG = """\b
Exit codes:
  0        it passed, perhaps with warnings
  1        it failed
  2        it could not be judged; the reason is on stderr (with --json: "error" on stdout)
  128 + N  ended by signal N, everything closed"""


@click.command(epilog=EPILOG)
@click.argument("what", metavar="PATH.bpf.c|PATH.bpf.o|POLICY")
@set_option
@click.option(
    "--kernels",
    multiple=True,
    metavar="default|all|IMAGE",
    help="Prove it on these kernels. Repeatable. [default: default]",
)
@click.option("--quick", is_flag=True, help="Only load it and let it run for a moment.")
@click.option("--again", is_flag=True, help="Judge it anew, whatever was found before.")
@json_option
@click.pass_context
def verify(
    context: click.Context,
    what: str,
    settings: tuple[tuple[str, str], ...],
    kernels: tuple[str, ...],
    quick: bool,
    again: bool,
    as_json: bool,
) -> None:
    """Prove a policy: its source, what it is made of, its logic, and how it does on a real kernel under stress.

    Needs no root and touches nothing of this computer: the kernel runs in the lab.
    """
    from schedtui.backend.verifier.verify import verify as judge
    from schedtui.backend.verifier.verify import verify_policy

    console = Console(as_json)
    try:
        path, policy = _chosen(what)
        images, values = _images(kernels, console), _values(policy, dict(settings))
        if policy is not None:
            reports = verify_policy(policy, values, kernels=images, quick=quick, progress=console.progress, again=again)
        else:
            reports = judge(path, kernels=images, settings=values, quick=quick, progress=console.progress, again=again)
    except SchedtuiError as error:
        console.failure(error)
        context.exit(NOT_JUDGED)
    console.result(_keys(reports), _words(reports))
    context.exit(NOT_DONE if worst(each.verdict for each in reports) == "fail" else 0)


def report_keys(report: Report) -> dict[str, Any]:
    """A report for programs."""
    return {
        "name": report.name,
        "verdict": report.verdict,
        "stages": [
            {"name": each.name, "verdict": each.verdict, "seconds": round(each.seconds, 3), "summary": each.summary}
            | ({"figures": each.figures} if each.figures else {})
            for each in report.stages
        ],
        "findings": report.findings,
        "kernel": report.kernel,
        "digest": report.digest,
        "settings": report.settings,
        "quick": report.quick,
        "note": report.note,
    }


def _chosen(what: str) -> tuple[Path, Policy | None]:
    """The file to judge, and the library's entry when it is one of its policies."""
    from schedtui.backend.library.catalogue import load_library

    path, library = Path(what), load_library()
    if path.exists() or path.suffix in (".c", ".o") or "/" in what:
        real = path.resolve()
        entry = next(
            (each for each in library.policies.values() if each.source and Path(each.source).resolve() == real), None
        )
        return path, entry
    policy = library.policy(what)
    return Path(policy.source), policy


def _values(policy: Policy | None, settings: dict[str, str]) -> dict[str, Setting]:
    from schedtui.backend.tunables import check_settings

    if policy is not None:
        return check_settings(policy, dict(settings))
    return {name: _guessed(text) for name, text in settings.items()}


def _guessed(text: str) -> Setting:
    """The value of a tunable that no entry describes; whether it fits, the object says."""
    if text in ("true", "false"):
        return text == "true"
    try:
        return int(text, 0)
    except ValueError:
        return text


def _images(wanted: tuple[str, ...], console: Console) -> list[Path | None]:
    from schedtui.backend.verifier.verify import matrix

    images: list[Path | None] = []
    for each in wanted or ("default",):
        if each == "default":
            images.append(None)
        elif each == "all":
            images += [kernel.image for kernel in matrix(console.progress)]
        elif Path(each).exists():
            images.append(Path(each))
        else:
            raise UnknownName(f"There is no kernel image {each}.", "Give default, all, or the path of an image.")
    return list(dict.fromkeys(images))


def _keys(reports: list[Report]) -> dict[str, Any]:
    """Those of the worst report; of several, all of them as well."""
    order = ("fail", "warn", "pass")
    first = min(reports, key=lambda each: order.index(each.verdict))
    return report_keys(first) | ({"reports": [report_keys(each) for each in reports]} if len(reports) > 1 else {})


def _words(reports: list[Report]) -> str:
    from schedtui.backend.verifier.reports import text

    if len(reports) == 1:
        return text(reports[0])
    bad = [text(each) + "\n" for each in reports if each.verdict != "pass"]
    return "\n".join([*bad, *_table(reports)])


def _table(reports: list[Report]) -> list[str]:
    """A line for each kernel."""
    from schedtui.backend.verifier.reports import VERDICTS

    lines = [f"{'kernel':<32} {'verdict':<22} {'time':>7}  found"]
    for each in reports:
        release = each.kernel.release if each.kernel else "none: it failed before"
        took = f"{sum(stage.seconds for stage in each.stages):.1f} s"
        found = ", ".join(dict.fromkeys(finding.rule for finding in each.findings if finding.severity != "note"))
        lines.append(f"{release:<32} {VERDICTS[each.verdict]:<22} {took:>7}  {found or 'nothing'}")
    return lines
