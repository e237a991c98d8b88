"""Run a scheduler for a while, from a command: load it, tell what happens, and give the machine back at the end."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from schedtui.backend.errors import Interrupted, LoadRejected
from schedtui.commands.options import LONGEST_S
from schedtui.console import NOT_DONE, Console, Stopped

if TYPE_CHECKING:
    from schedtui.backend.deploy import Proposal
    from schedtui.backend.machine import Machine
    from schedtui.backend.model import Scheduler


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
        console.result(data, f"{loaded.name} runs.")
        return 0
    stopped: Stopped | None = None
    lost = ""
    try:
        console.note(f"{loaded.name} runs on {info.kind}{'' if seconds else '; Ctrl-C gives it back'}.")
        lost = _hold(machine, loaded, seconds, console)
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


def _hold(machine: Machine, loaded: Scheduler, seconds: float | None, console: Console) -> str:
    """Wait, telling what happens; returns why the scheduler is gone when it ended by itself, else nothing."""
    deadline = time.monotonic() + (seconds or LONGEST_S)
    for frame in machine.frames(min(1.0, seconds or 1.0)):
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


def state_of(scheduler: Scheduler) -> str:
    """The kernel's state without its passing ones: what is not yet enabled is disabled."""
    return {"enabling": "disabled", "disabling": "enabled"}.get(scheduler.sched_ext, scheduler.sched_ext)


def is_enabled(scheduler: Scheduler) -> bool:
    return state_of(scheduler) == "enabled"
