"""``schedtui try``: a preset or a policy, proven, measured beside what runs now, and kept or taken away."""

from __future__ import annotations

import os
import select
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from schedtui.backend.errors import Interrupted, NotPermitted
from schedtui.commands.hold import run_on
from schedtui.commands.options import Duration, json_option, lab_options, machine_option, set_option
from schedtui.commands.verify import report_keys
from schedtui.console import NOT_DONE, Console, Stopped, opened

if TYPE_CHECKING:
    from schedtui.backend.deploy import Proposal
    from schedtui.backend.machine import Machine
    from schedtui.backend.model import Frame, MachineInfo, Scheduler
    from schedtui.desk import Desk
    from schedtui.trying import Trial

_POLL_S = 0.1
_FIRST_FRAMES_S = 3.0
_STDIN = 0
EPILOG = """\b
Exit codes:
  0        it was proven and tried, then kept or taken away: “state” says which
  1        it could not be tried: not proven, refused, nothing can be loaded there
  2        the command line makes no sense: unknown preset, tunable, value
  128 + N  ended by signal N, everything taken away"""


@click.command("try", epilog=EPILOG)
@click.argument("name", metavar="PRESET|POLICY")
@set_option
@click.option("--yes", is_flag=True, help="Ask nothing: keep it when it measured better.")
@click.option("--load", "loads", multiple=True, metavar="KIND", help="A load to run in the lab. Repeatable.")
@click.option(
    "--for", "seconds", type=Duration(), metavar="DURATION", help="In the lab: how long what is kept runs on."
)
@machine_option
@lab_options
@json_option
@click.pass_context
def try_(
    context: click.Context,
    name: str,
    settings: tuple[tuple[str, str], ...],
    yes: bool,
    loads: tuple[str, ...],
    seconds: float | None,
    machine: str | None,
    kernel: Path | None,
    cpus: int | None,
    as_json: bool,
) -> None:
    """Try a preset's scheduler, or a policy: prove it, measure it beside what runs now, then keep it or let it go.

    What nobody keeps is taken away again. “schedtui apply” runs one without trying it.
    """
    from schedtui.backend.workloads import KINDS

    for each in loads:
        if each not in KINDS:
            raise click.BadParameter(f"There is no load “{each}”. There are: {', '.join(KINDS)}.", param_hint="--load")
    spec = machine or context.obj or "host"
    if spec != "lab" and (kernel or cpus or loads):
        raise click.UsageError("--kernel, --cpus and --load are for the lab: add --machine lab.")
    console = Console(as_json)
    proposal = _resolved(name, settings, spec)
    with opened(spec, console, kernel=kernel, cpus=cpus) as it:
        context.exit(_tried(it, proposal, yes, loads, seconds, kernel, console))


def _resolved(name: str, settings: tuple[tuple[str, str], ...], spec: str) -> Proposal:
    from schedtui.backend.deploy import resolve
    from schedtui.backend.library.catalogue import load_library

    proposal = resolve(load_library(), name, dict(settings), kind="host" if spec == "host" else "lab")
    if proposal.policy is None:
        raise NotPermitted("The kernel's own scheduler needs no trial.", f"Go back to it: schedtui apply {name}")
    return proposal


def _tried(
    machine: Machine,
    proposal: Proposal,
    yes: bool,
    loads: tuple[str, ...],
    seconds: float | None,
    kernel: Path | None,
    console: Console,
) -> int:
    from schedtui.desk import Desk
    from schedtui.trying import Trial, missing_loads

    info = machine.open(console.progress)
    before = machine.scheduler()
    desk = Desk(machine, info, kernel=kernel)
    for each in desk.deployer.recover():
        console.note(f"From before: {each.reason}")
    desk.watch.follow(machine)
    assert proposal.policy is not None
    preset = proposal.preset
    trial = Trial(
        proposal.policy,
        proposal.settings,
        title=preset.title if preset else proposal.policy.name,
        class_id=(preset.goal or preset.id) if preset else "",
    )
    trial.loads = loads or missing_loads(info, _first_frames(desk), trial.class_id)
    _Teller(trial, desk, yes, console).tell()
    data = _keys(trial, info, proposal, before)
    if trial.deployment is None or not (trial.comparison or trial.phase == "kept"):
        error = trial.error or Interrupted(trial.reason)
        console.failure(error, {**data, "after": machine.scheduler().name})
        return NOT_DONE
    console.tell("\n".join(filter(None, [trial.reason, _measured(trial)])))
    again = ""
    if trial.phase == "kept" and info.kind == "lab":
        run_on(seconds, console)
        data["statistics"] = machine.scheduler().statistics
        data["after"] = machine.unload().name
        again = f"The lab ends, and what runs in it: {data['after']} runs there again."
    else:
        data["after"] = machine.scheduler().name
    if console.json or again:
        console.result(data, again)
    return 0


def _first_frames(desk: Desk) -> list[Frame]:
    """What runs, as soon as the machine tells."""
    deadline = time.monotonic() + _FIRST_FRAMES_S
    while not (frames := desk.watch.last(_FIRST_FRAMES_S)) and time.monotonic() < deadline:
        time.sleep(_POLL_S)
    return frames


class _Teller:
    """Tells how the trial goes, and asks whoever sits at the terminal to keep it."""

    def __init__(self, trial: Trial, desk: Desk, yes: bool, console: Console) -> None:
        self._trial = trial
        self._desk = desk
        self._yes = yes
        self._console = console
        self._asked = False
        self._told = ""
        self._began = time.monotonic()

    def tell(self) -> None:
        """Let it run in a thread of its own, so that a signal ends it in order."""
        thread = threading.Thread(target=self._trial.run, args=(lambda: self._desk, lambda: None), daemon=True)
        thread.start()
        try:
            while thread.is_alive():
                self._step()
        except Stopped:
            self._trial.stop("It was stopped.")
            thread.join(30)
            raise

    def _step(self) -> None:
        trial = self._trial
        stage = trial.act.stages[-1].text if trial.act.stages else ""
        if stage and stage != self._told:
            self._told = stage
            self._console.progress(stage, time.monotonic() - self._began)
        if trial.phase == "deciding":
            self._decide()
        time.sleep(_POLL_S)

    def _decide(self) -> None:
        if not self._asked:
            self._asked = True
            if self._yes:
                self._trial.answer(self._is_better())
            elif self._console.json or sys.stdin is None or not os.isatty(_STDIN):
                self._console.note("Nobody is asked here, so it goes; --yes keeps what measured better.")
                self._trial.answer(False)
            else:
                self._console.note(_measured(self._trial))
                self._console.note(f"Keep it? y or n; after {self._trial.left_s:.0f} s it goes by itself.")
        elif not self._yes and select.select([_STDIN], [], [], 0)[0]:
            line = os.read(_STDIN, 4096)
            word = line.decode(errors="replace").strip().lower()
            if not line or word in ("n", "no"):
                self._trial.answer(False)
            elif word in ("y", "yes"):
                self._trial.answer(True)

    def _is_better(self) -> bool:
        compared = self._trial.comparison
        return compared is not None and compared.verdict == "better"


def _measured(trial: Trial) -> str:
    return trial.comparison.reason if trial.comparison else ""


def _keys(trial: Trial, info: MachineInfo, proposal: Proposal, before: Scheduler) -> dict[str, Any]:
    deployment = trial.deployment
    return {
        "machine": info.kind,
        "kernel": info.kernel,
        "preset": proposal.preset.id if proposal.preset else "",
        "policy": trial.policy.name,
        "settings": trial.settings,
        "before": before.name,
        "state": deployment.state if deployment else "",
        "reason": trial.reason,
        "report": trial.report and report_keys(trial.report),
        "deployment": deployment and {"id": deployment.id, "state": deployment.state, "reason": deployment.reason},
        "outcome": trial.comparison,
        "statistics": {},
    }
