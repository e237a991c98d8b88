"""``schedtui ask``: a sentence in plain words, answered with a scheduler that was proven and then runs in the lab.

What the words mean is ``backend.answer``'s judgement; proving is the verifier's.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from schedtui.backend.errors import LoadRejected, SchedtuiError
from schedtui.commands.hold import apply_and_hold
from schedtui.commands.options import Duration, json_option, lab_options
from schedtui.commands.verify import report_keys
from schedtui.console import NOT_DONE, Console, opened

if TYPE_CHECKING:
    from schedtui.backend.answer import Answer
    from schedtui.backend.deploy import Proposal
    from schedtui.backend.library.catalogue import Library
    from schedtui.backend.model import Report

NOT_UNDERSTOOD = 3
"""Neither done nor failed: a person has to choose."""
EPILOG = """\b
Exit codes:
  0        the policy passed, ran, and was taken away again
  1        it did not pass, could not be judged, or did not stay
  2        the command line makes no sense
  3        the words fit two goals about equally: choose with “schedtui apply PRESET”
  128 + N  ended by signal N, everything closed and restored"""


class NotUnderstood(SchedtuiError):
    """The words fit several goals about equally."""

    kind = "not-understood"


@click.command(epilog=EPILOG)
@click.argument("words", nargs=-1, required=True)
@click.option("--for", "seconds", type=Duration(), metavar="DURATION", help="Run it this long. [default: until Ctrl-C]")
@click.option("--quick", is_flag=True, help="Prove it with a quick look only.")
@lab_options
@json_option
@click.pass_context
def ask(
    context: click.Context,
    words: tuple[str, ...],
    seconds: float | None,
    quick: bool,
    kernel: Path | None,
    cpus: int | None,
    as_json: bool,
) -> None:
    """Say in plain words what you do; get a scheduler for it, with the reason, proven and running in the lab.

    For example: schedtui ask "my game stutters while obs records" --for 30s
    """
    from schedtui.backend.answer import answer
    from schedtui.backend.deploy import resolve
    from schedtui.backend.library.catalogue import load_library

    console = Console(as_json)
    library = load_library()
    found = answer(library, " ".join(words))
    if not found.sure:
        console.failure(_unsure(library, found), _told(library, found, None))
        context.exit(NOT_UNDERSTOOD)
    proposal = resolve(library, found.readings[0].preset)
    told = _told(library, found, proposal)
    console.tell(_in_words(told))
    if proposal.policy is not None:
        report = _proven(proposal, quick, kernel, console)
        told["report"] = report_keys(report)
        console.tell(_report_text(report))
        if report.verdict == "fail":
            console.failure(_failed(report), told)
            context.exit(NOT_DONE)
    with opened("lab", console, kernel=kernel, cpus=cpus) as machine:
        context.exit(apply_and_hold(machine, proposal, seconds, console, told))


def _told(library: Library, answer: Answer, proposal: Proposal | None) -> dict[str, Any]:
    """The answer for programs."""
    readings = [
        {
            "preset": each.preset,
            "title": library.presets[each.preset].title,
            "score": each.score,
            "example": each.example,
        }
        for each in answer.readings
    ]
    told: dict[str, Any] = {"words": answer.words, "sure": answer.sure, "readings": readings}
    if proposal is None:
        return told
    preset, policy = readings[0], proposal.policy
    why = f"“{answer.words}” sounds like “{preset['example']}”, so this is for “{preset['title']}”."
    told |= {
        "why": f"{why} {proposal.reason}".strip(),
        "preset": preset["preset"],
        "policy": policy.name if policy else "",
        "settings": proposal.settings,
    }
    return told


def _in_words(told: dict[str, Any]) -> str:
    settings = ", ".join(f"{name} = {value}" for name, value in told["settings"].items())
    return f"{told['why']}\nPolicy: {told['policy']}" + (f" ({settings})" if settings else "")


def _unsure(library: Library, answer: Answer) -> NotUnderstood:
    nearest = [f"{each.preset} ({library.presets[each.preset].title})" for each in answer.readings]
    return NotUnderstood(
        f"These words could mean {' or '.join(nearest)}.",
        f"Choose: {' or '.join(f'schedtui apply {each.preset} --machine lab' for each in answer.readings)}",
    )


def _proven(proposal: Proposal, quick: bool, kernel: Path | None, console: Console) -> Report:
    from schedtui.backend.verifier.verify import verify

    assert proposal.policy is not None
    (report,) = verify(
        Path(proposal.policy.source),
        kernels=(kernel,),
        settings=proposal.settings,
        quick=quick,
        progress=console.progress,
        policy=proposal.policy,
    )
    return report


def _report_text(report: Report) -> str:
    from schedtui.backend.verifier import reports

    return f"\n{reports.text(report)}\n"


def _failed(report: Report) -> LoadRejected:
    return LoadRejected(
        f"{report.name} did not pass, so it was not applied.", "Choose another preset: schedtui presets."
    )
