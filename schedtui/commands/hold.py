"""Run a scheduler for a while, from a command: load it, tell what happens, and give the machine back at the end."""

from __future__ import annotations

import contextlib
import sys
import time
from typing import TYPE_CHECKING, Any

from schedtui.backend.errors import BadTunable, Interrupted, LoadRejected, SchedtuiError
from schedtui.commands.options import LONGEST_S
from schedtui.commands.typed import TypedLines
from schedtui.console import NOT_DONE, Console, Stopped

if TYPE_CHECKING:
    from schedtui.backend.deploy import Proposal
    from schedtui.backend.machine import Machine
    from schedtui.backend.model import MachineInfo, Policy, Scheduler


_POLL_S = 0.1


def apply_and_hold(
    machine: Machine,
    proposal: Proposal,
    seconds: float | None,
    console: Console,
    answer: dict[str, Any] | None = None,
) -> int:
    """Load, hold for a while, read, restore. Returns the exit code. ``answer`` is told besides, in JSON."""
    from schedtui.backend import deploy

    info = machine.open(console.progress)
    loaded = deploy.apply(machine, proposal, console.progress)
    data: dict[str, Any] = {
        **(answer or {}),
        "machine": info.kind,
        "kernel": info.kernel,
        "preset": proposal.preset.id if proposal.preset else "",
        "policy": proposal.policy.name if proposal.policy else "",
        "settings": proposal.settings,
        "scheduler": loaded.name,
        "statistics": {},
        "after": loaded.name,
    }
    if proposal.policy is None:
        let_go_of_kept(machine, info, "You gave the machine back.")
        console.result(data, f"{loaded.name} runs.")
        return 0
    stopped: Stopped | None = None
    lost = ""
    try:
        live = [each.name for each in proposal.policy.tunables if each.live]
        where = {"host": "on this computer", "lab": "in the lab"}.get(info.kind, f"on {info.kind}")
        console.note(f"{loaded.name} runs {where}{'' if seconds else '; Ctrl-C gives it back'}.")
        if live and sys.stdin is not None and sys.stdin.isatty():
            console.note(f"Type NAME=VALUE to change it while it runs: {', '.join(live)}.")
        lost = _hold(machine, proposal.policy if live else None, loaded, seconds, console)
    except Stopped as signal:
        stopped = signal
    last = machine.scheduler()
    after = machine.unload()
    data |= {"statistics": last.statistics, "after": after.name}
    if not lost and last.enable_seq == loaded.enable_seq and last.name == loaded.name and not is_enabled(after):
        if stopped and seconds:
            console.failure(Interrupted(f"{loaded.name} was stopped early; {after.name} runs again."), data)
            return stopped.exit_code
        counted = "\n".join(f"  {name:<24} {value}" for name, value in last.statistics.items())
        console.result(data, f"{counted}\n{after.name} runs again.".lstrip("\n"))
        return 0 if not stopped or stopped.exit_code == 130 else stopped.exit_code
    reason = lost or f"{after.name} runs now."
    console.failure(LoadRejected(f"{loaded.name} did not stay: {reason}", "See its limits: schedtui presets."), data)
    return NOT_DONE


def _hold(machine: Machine, tuned: Policy | None, loaded: Scheduler, seconds: float | None, console: Console) -> str:
    """Wait, telling what happens; returns why the scheduler is gone when it ended by itself, else nothing.

    ``tuned`` is the policy when it can be changed while it runs: then typed lines do.
    """
    deadline = time.monotonic() + (seconds or LONGEST_S)
    typed = TypedLines()
    for frame in machine.frames(min(1.0, seconds or 1.0)):
        if tuned:
            for line in typed:
                _tune(machine, tuned, line, console)
        for event in frame.events:
            console.note(event.text)
        if frame.scheduler.name != loaded.name:
            bad = [event.text for event in frame.events if event.kind == "bad"]
            return bad[-1] if bad else f"{frame.scheduler.name} took its place."
        left = deadline - time.monotonic()
        if left < 1.0:
            time.sleep(max(left, 0))
            break
    return ""


def run_on(seconds: float | None, console: Console) -> None:
    """Let what was kept in the lab run on; on a terminal without a duration until Ctrl-C."""
    if seconds is None and not sys.stdin.isatty():
        return
    console.note("It runs in the lab now." if seconds else "It runs in the lab now; Ctrl-C ends it.")
    deadline = time.monotonic() + seconds if seconds else None
    try:
        while deadline is None or time.monotonic() < deadline:
            time.sleep(_POLL_S)
    except Stopped as stopped:
        if stopped.exit_code != 130:
            raise


def _tune(machine: Machine, policy: Policy, line: str, console: Console) -> None:
    """One typed line. The machine tells what changed; what is wrong with the line is told here, and ends nothing."""
    from schedtui.backend.tunables import check_settings

    name, equals, value = (part.strip() for part in line.partition("="))
    try:
        settings = check_settings(policy, {name: value})
        if not equals:
            raise BadTunable(f"“{line}” is not NAME=VALUE.")
        machine.tune(settings)
    except SchedtuiError as error:
        console.note(f"{error.message} {error.remedy}".rstrip())


def let_go_of_kept(machine: Machine, info: MachineInfo, reason: str) -> None:
    """What a person gave back by hand, ``schedtui watch`` does not load again. Without a history it cannot."""
    from schedtui.backend.resume import let_go
    from schedtui.desk import Desk

    if info.kind == "host":
        with contextlib.suppress(SchedtuiError):
            desk = Desk(machine, info)
            let_go(desk.deployer, desk.store, info.kind, reason)


def state_of(scheduler: Scheduler) -> str:
    """The kernel's state without its passing ones: what is not yet enabled is disabled."""
    return {"enabling": "disabled", "disabling": "enabled"}.get(scheduler.sched_ext, scheduler.sched_ext)


def is_enabled(scheduler: Scheduler) -> bool:
    return state_of(scheduler) == "enabled"
