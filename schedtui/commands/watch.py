"""``schedtui watch``: without anybody there, run what was kept last, and take it away when it goes wrong.

What a lasting change for the worse is, breaker.py says; whether it may run again as it is, backend/resume.py.
"""

from __future__ import annotations

import contextlib
import shutil
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from schedtui.backend.errors import NotPermitted, NotProven, SchedtuiError
from schedtui.commands.options import LONGEST_S, Duration, json_option, lab_options, machine_option
from schedtui.console import NOT_DONE, Console, Stopped, opened

if TYPE_CHECKING:
    from schedtui.backend.model import Deployment
    from schedtui.backend.resume import Kept
    from schedtui.desk import Desk

_LOOK_S = 0.5
_UNIT = """\
# ~/.config/systemd/user/schedtui-watch.service
# Then: systemctl --user daemon-reload && systemctl --user enable --now schedtui-watch
[Unit]
Description=schedtui: run the CPU scheduler that was kept last, and take it away when it goes wrong

[Service]
ExecStart={command} watch
Restart=no

[Install]
WantedBy=default.target
"""


@click.command()
@click.option("--for", "seconds", type=Duration(), metavar="DURATION", help="How long. [default: until Ctrl-C]")
@click.option("--print-unit", is_flag=True, help="Print a systemd unit that does this whenever you are logged in.")
@machine_option
@lab_options
@json_option
@click.pass_context
def watch(
    context: click.Context,
    seconds: float | None,
    print_unit: bool,
    machine: str | None,
    kernel: Path | None,
    cpus: int | None,
    as_json: bool,
) -> None:
    """Run what was kept last, without a new trial, and take it away when things get worse for good.

    What was updated since is measured again first, and stays only when it is better. When this command ends, what was
    kept stays.
    """
    console = Console(as_json)
    if print_unit:
        console.result({"unit": _unit()}, _unit().rstrip("\n"))
        return
    spec = machine or context.obj or "host"
    if spec.startswith("replay"):
        raise click.UsageError("A recording cannot be changed; watch the host or the lab.")
    with opened(spec, console, kernel=kernel, cpus=cpus) as it:
        from schedtui.desk import Desk

        desk = Desk(it, it.open(console.progress), kernel=kernel)
        context.exit(_watch(desk, seconds, console))


def _watch(desk: Desk, seconds: float | None, console: Console) -> int:
    from schedtui.backend.breaker import Breaker
    from schedtui.backend.library.catalogue import load_library
    from schedtui.backend.resume import find_kept, let_go_after_panic

    began = time.monotonic()
    if desk.info.kind == "host":
        from schedtui.backend import emergency

        with contextlib.suppress(SchedtuiError):  # no helper: loading says so
            let_go_after_panic(desk.deployer, desk.store, desk.info.kind, emergency.look().panicked)
    kept = find_kept(desk.store, load_library(), desk.info)  # before recovering, which puts aside what does not run
    console.progress(f"Looking whether {kept.policy.name} runs", 0.0)
    deployment, how = _running(desk, kept, console)
    data = {"machine": desk.info.kind, "kernel": desk.info.kernel, "how": how}
    if deployment.state != "kept":
        console.result(data | _told(deployment, began), deployment.reason)
        return NOT_DONE
    console.note(f"{deployment.reason} Watching it{'' if seconds else '; Ctrl-C ends that, and it stays'}.")
    breaker = Breaker(desk.deployer, deployment, ask=lambda _deployment, text: console.note(text))
    breaker.start()
    stopped: Stopped | None = None
    try:
        deployment = _until_the_end(desk, deployment, began + (seconds or LONGEST_S))
    except Stopped as signal:
        stopped = signal
    finally:
        breaker.stop()
    deployment = desk.deployer.current(deployment)
    words = deployment.reason if deployment.state == "reverted" else f"{deployment.policy} stays, unwatched."
    console.result(data | _told(deployment, began), words)
    if deployment.state == "reverted":
        return NOT_DONE
    return stopped.exit_code if stopped and seconds else 0


def _running(desk: Desk, kept: Kept, console: Console) -> tuple[Deployment, str]:
    """What is to be watched, and how it came to run: ``running``, ``loaded`` or ``measured``."""
    deployment = kept.deployment
    now = desk.machine.scheduler()
    if now.owner == "schedtui" and now.digest == deployment.digest:
        return deployment, "running"
    if now.owner != "kernel":
        raise NotPermitted(
            f"{now.name} runs, started by {now.owner}; {deployment.policy} was kept last.",
            "Take over first: schedtui owner take-over",
        )
    why = kept.changed
    if not why:
        try:
            return desk.deployer.resume(deployment, kept.obj), "loaded"
        except NotProven as error:
            why = f"{error.message} {deployment.policy} is measured again before it is kept."
    console.note(why)
    return _measured(desk, kept, why, console), "measured"


def _measured(desk: Desk, kept: Kept, why: str, console: Console) -> Deployment:
    """A new trial, with nobody to ask: what is better stays."""
    from schedtui.backend.deploy import Proposal
    from schedtui.backend.model import Metric
    from schedtui.backend.verifier.proof import prove

    before = kept.deployment
    proposal = Proposal(policy=kept.policy, settings=before.settings, preset=None, reason=why)
    deployment = desk.deployer.propose(proposal, asked_by=before.asked_by)
    try:
        proof = prove(
            kept.policy,
            before.settings,
            kernel_id=desk.info.kernel_id,
            kernel=desk.kernel,
            progress=console.progress,
            kind=desk.info.kind,
            machine=desk.machine,
        )
        if proof.report.verdict == "fail":
            return desk.deployer.revert(deployment, f"{why} The verifier did not pass it.")
        deployment = desk.deployer.verified(deployment, proof.report, proof.obj)
    except BaseException as error:
        reason = error.message if isinstance(error, SchedtuiError) else "schedtui was ended before it was tried."
        desk.deployer.revert(deployment, reason)
        raise
    metric = before.comparison.metric if before.comparison else Metric(name="wakeup_p99_us")
    ending = threading.Event()
    console.progress(f"Measuring {kept.policy.name} beside what runs now", 0.1)
    try:
        return desk.deployer.canary(deployment, metric, stop=ending, unattended=True)
    finally:
        ending.set()


def _until_the_end(desk: Desk, deployment: Deployment, deadline: float) -> Deployment:
    while time.monotonic() < deadline:
        deployment = desk.deployer.current(deployment)
        if deployment.state != "kept":
            break
        time.sleep(min(_LOOK_S, max(deadline - time.monotonic(), 0)))
    return deployment


def _told(deployment: Deployment, began: float) -> dict[str, Any]:
    return {
        "deployment": deployment.id,
        "policy": deployment.policy,
        "settings": deployment.settings,
        "state": deployment.state,
        "reason": deployment.reason,
        "seconds": round(time.monotonic() - began, 1),
    }


def _unit() -> str:
    command = shutil.which("schedtui")
    with contextlib.suppress(OSError):
        command = str(Path(command or sys.argv[0]).resolve())
    return _UNIT.format(command=command)
