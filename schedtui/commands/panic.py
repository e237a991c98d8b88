"""``schedtui panic`` and ``schedtui hotkey``: back to the kernel's own scheduler, from any shell or keyboard."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from schedtui.backend.errors import SchedtuiError
from schedtui.backend.machine import open_machine
from schedtui.commands.hold import let_go_of_kept, state_of
from schedtui.commands.options import json_option, lab_options, machine_option
from schedtui.console import NOT_DONE, Console

if TYPE_CHECKING:
    from schedtui.backend.machine import Machine
    from schedtui.backend.model import Scheduler

LOOK_AGAIN_S = 5.0
_LOOK_EACH_S = 0.2


@click.command()
@machine_option
@lab_options
@click.option("--release", is_flag=True, help="Allow schedulers to be loaded again, after a panic.")
@json_option
@click.pass_context
def panic(
    context: click.Context, machine: str | None, kernel: Path | None, cpus: int | None, release: bool, as_json: bool
) -> None:
    """At once: the kernel's own scheduler. Says which one runs afterwards, read back from the kernel.

    Looks again for five seconds. With the helper, nothing is loaded afterwards until you release it: --release, or
    choose a preset in the terminal program. Without the helper only root may do it; then this says so, and how.
    """
    spec: str = machine or context.obj or "host"
    if spec != "lab" and (kernel or cpus):
        raise click.UsageError("--kernel and --cpus are for the lab: add --machine lab.")
    console = Console(as_json)
    with contextlib.closing(open_machine(spec, kernel=kernel, cpus=cpus)) as it:
        if spec != "host":
            it.open(console.progress)  # a computer of one's own is looked at after the panic
        if release:
            _release(it, console)
            return
        done = it.panic()
        info, after = it.open(console.progress), done.scheduler
        data = {
            "machine": info.kind,
            "kernel": info.kernel,
            "before": done.before,
            "path": done.path,
            "took_ms": round(done.took_ms, 1),
            "scheduler": after.name,
            "sched_ext": state_of(after),
            "latched": after.latched,
        }
        was = f", {done.before} before" if done.before and done.before != after.name else ""
        words = f"{after.name} runs (read back from the kernel after {done.took_ms:.0f} ms{was})."
        if after.latched and info.kind == "host":
            words += " Nothing is loaded until you release it: schedtui panic --release."
        if info.kind == "replay":
            words = "This is a recording: nothing runs in it, and nothing was changed."
        console.result(data, words)
        if info.kind != "replay":
            _record(info.kind, after.name, done.before, console)
        if info.kind == "host" and not as_json and (after.latched or done.path != "nothing-to-do"):
            after = _look_again(it, console)
        let_go_of_kept(it, info, "Panic was pressed.")
    if state_of(after) == "enabled":
        context.exit(NOT_DONE)


@click.command()
@click.argument("turn", type=click.Choice(["on", "off"]), required=False)
@json_option
def hotkey(turn: str | None, as_json: bool) -> None:
    """Panic by a key combination that works even when the desktop does not: turn it on or off.

    Off until you turn it on. While it is on, the helper reads every keyboard of this computer, also a screen's that is
    locked: the kernel passes on Super, Shift and F12 alone, nothing is stored, and all that is known is whether the
    combination is held down.
    """
    from schedtui.backend.emergency import look, set_hot_key, told_hot_key

    status = look() if turn is None else set_hot_key(turn == "on")
    data = {"on": status.hot_key, "keyboards": status.keyboards}
    Console(as_json).result(data, told_hot_key(status))


def _release(it: Machine, console: Console) -> None:
    it.unlatch()
    now = it.scheduler()
    console.result({"scheduler": now.name, "latched": now.latched}, "Schedulers may be loaded again.")


def _look_again(it: Machine, console: Console) -> Scheduler:
    limit = time.monotonic() + LOOK_AGAIN_S
    now, told = it.scheduler(), set[str]()
    while time.monotonic() < limit:
        if now.sched_ext == "enabled":
            if now.name not in told:
                console.note(f"Something loaded {now.name} again ({now.owner}). It is taken out again.")
            told.add(now.name)
            it.panic()
        time.sleep(_LOOK_EACH_S)
        now = it.scheduler()
    if not told and (returned := _taken_out_by_helper()):
        times = f", {returned} times" if returned > 1 else ""
        console.note(f"Something loaded a scheduler again{times}. It was taken out again.")
    console.note(f"{now.name} runs {LOOK_AGAIN_S:.0f} s later.")
    return now


def _taken_out_by_helper() -> int:
    """It takes milliseconds for what comes back, most of it before the kernel has even begun to schedule by it."""
    from schedtui.backend.emergency import look

    with contextlib.suppress(SchedtuiError, OSError):
        return look().returned
    return 0


def _record(machine: str, runs: str, before: str, console: Console) -> None:
    """Only now, when it is done and told: no full disk or busy file may stand in a panic's way."""
    from schedtui.backend.audit import Audit

    problem = Audit().append("person", "panic", {"machine": machine, "before": before, "runs": runs})
    if problem:
        console.note(f"{problem.message} {problem.remedy}")
