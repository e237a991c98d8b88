"""The ``schedtui`` command: the terminal program, and everything its screens do for scripts.

What a command does is the backend's; what it says is ``console``'s. The user interface and the backend are
imported by the command that needs them, because start-up time is a budget.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from schedtui import __version__
from schedtui.backend.errors import BadFile, Interrupted, SchedtuiError
from schedtui.commands.ask import ask
from schedtui.commands.audit import audit
from schedtui.commands.classify import classify
from schedtui.commands.helper import helper
from schedtui.commands.history import history
from schedtui.commands.hold import apply_and_hold, state_of
from schedtui.commands.library import library
from schedtui.commands.mcp import mcp
from schedtui.commands.model import model
from schedtui.commands.options import (
    LONGEST_S,
    Duration,
    compiler_option,
    json_option,
    lab_options,
    machine_option,
    set_option,
)
from schedtui.commands.owner import owner, permanent
from schedtui.commands.panic import hotkey, panic
from schedtui.commands.probe import probe
from schedtui.commands.setup import setup
from schedtui.commands.trial import try_
from schedtui.commands.trust import trust
from schedtui.commands.verify import verify
from schedtui.commands.watch import watch
from schedtui.console import (
    NOT_DONE,
    NOT_RUN,
    USAGE,
    Console,
    Stopped,
    exit_code_of,
    heed_signals,
    ignore_signals,
    opened,
)
from schedtui.launch import run_app

if TYPE_CHECKING:
    from schedtui.backend.deploy import Proposal
    from schedtui.backend.machine import Machine
    from schedtui.backend.model import Scheduler

EXIT_CODES = """\b
Exit codes:
  0        what was asked happened
  1        it did not; the reason is on stderr (with --json: "error" on stdout)
  2        the command line makes no sense: unknown option, preset, tunable, value
  128 + N  ended by signal N, everything closed and restored
  lab run: the command's own code; 125 when it could not be run
  verify:  1 the policy failed, 2 it could not be judged
  ask:     3 the words fit no goal, or several"""


@click.group(invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]}, epilog=EXIT_CODES)
@click.option("--machine", default="host", show_default=True, metavar="MACHINE", help="host, lab or replay:FILE.")
@click.option("--theme", metavar="NAME", help="Theme for this run.")
@click.version_option(__version__, prog_name="schedtui", message="%(prog)s %(version)s")
@click.pass_context
def cli(context: click.Context, machine: str, theme: str | None) -> None:
    """Command of the Linux CPU scheduler: see it, change it, take it back with one key.

    Without a COMMAND it opens the terminal program on MACHINE. F12 in it, or “schedtui panic” in any shell, gives
    the machine back to the kernel's own scheduler.
    """
    context.obj = machine
    if context.invoked_subcommand is None:
        context.exit(run_app(machine, theme))


cli.add_command(ask)
cli.add_command(setup)
cli.add_command(verify)
cli.add_command(watch)
cli.add_command(owner)
cli.add_command(permanent)


@cli.command()
@machine_option
@lab_options
@json_option
@click.pass_context
def status(context: click.Context, machine: str | None, kernel: Path | None, cpus: int | None, as_json: bool) -> None:
    """Which scheduler runs, as the kernel reports it."""
    console = Console(as_json)
    with opened(_spec(context, machine, kernel, cpus), console, kernel=kernel, cpus=cpus) as it:
        info, scheduler = it.open(console.progress), it.scheduler()
    data = {
        "machine": info.kind,
        "kernel": info.kernel,
        "sched_ext": state_of(scheduler),
        "scheduler": scheduler.name,
        "owner": scheduler.owner,
        "policy": scheduler.policy,
        "default_scheduler": info.default_scheduler,
        "can_load": info.can_load,
        "reason": info.reason,
        "cpus": len(info.cpus),
        "events": scheduler.events,
        "statistics": scheduler.statistics,
        "latched": scheduler.latched,
    }
    lines = [
        f"{info.kind} · Linux {info.kernel} · {_count(len(info.cpus), 'CPU')}",
        f"scheduler  {scheduler.name} ({_whose(scheduler)})",
        f"sched_ext  {state_of(scheduler)}",
    ]
    if info.kind == "host" and info.can_load:
        lines.append("helper     ready: what it has proven can be loaded here")
    if scheduler.latched:
        lines.append("Panic was pressed: nothing is loaded until you release it: schedtui panic --release")
    if info.reason:
        lines.append(info.reason)
    console.result(data, "\n".join(lines))


@cli.command()
@click.argument("name", metavar="PRESET|POLICY")
@set_option
@click.option("--for", "seconds", type=Duration(), metavar="DURATION", help="Run it this long. [default: until Ctrl-C]")
@machine_option
@lab_options
@json_option
@click.pass_context
def apply(
    context: click.Context,
    name: str,
    settings: tuple[tuple[str, str], ...],
    seconds: float | None,
    machine: str | None,
    kernel: Path | None,
    cpus: int | None,
    as_json: bool,
) -> None:
    """Run a preset's scheduler, or a policy, and give the machine back to the kernel's own at the end."""
    console = Console(as_json)
    spec = _spec(context, machine, kernel, cpus)
    proposal = _proposal(name, settings, spec)
    with opened(spec, console, kernel=kernel, cpus=cpus) as it:
        context.exit(apply_and_hold(it, proposal, seconds, console))


@cli.command()
@json_option
def doctor(as_json: bool) -> None:
    """What works here, what does not, and the one command that fixes it."""
    from schedtui.checkup import examine

    findings = examine()
    width = max(len(each.name) for each in findings)
    lines = []
    for each in findings:
        lines.append(f"{'ok ' if each.ok else 'no '} {each.name:<{width}}  {each.state}")
        if not each.ok:
            lines.append(f"    {'':<{width}}  for {each.needed_for}")
        if each.remedy:
            lines.append(f"    {'':<{width}}  → {each.remedy}")
        if each.changes:
            lines.append(f"    {'':<{width}}    it {each.changes}")
    Console(as_json).result({"findings": findings}, "\n".join(lines))


@cli.command()
@json_option
def presets(as_json: bool) -> None:
    """The presets and policies that “schedtui apply” takes, with their tunables."""
    from schedtui.backend.library.catalogue import load_library
    from schedtui.backend.tunables import range_of

    library = load_library()
    lines = ["Presets:"]
    lines += [f"  {each.id:<16} {each.summary}" for each in library.presets.values()]
    lines += ["", "Policies:"]
    for policy in library.policies.values():
        lines.append(f"  {policy.name:<16} {policy.summary}")
        lines += [f"    --set {each.name}=…  {range_of(each)}, default {each.default}" for each in policy.tunables]
    lines += ["", *library.problems] if library.problems else []
    data = {
        "presets": list(library.presets.values()),
        "policies": list(library.policies.values()),
        "problems": library.problems,
    }
    Console(as_json).result(data, "\n".join(lines))


@cli.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--for", "seconds", type=Duration(), metavar="DURATION", help="How long. [default: until Ctrl-C]")
@click.option("--interval", type=Duration(), default="1s", show_default=True, help="Time between samples.")
@click.option("--workload", "workloads", multiple=True, metavar="KIND", help="Start a load first (lab). Repeatable.")
@click.option("--apply", "name", metavar="PRESET|POLICY", help="Run this scheduler meanwhile.")
@set_option
@click.option("--overwrite", is_flag=True, help="Replace FILE when it exists.")
@machine_option
@lab_options
@json_option
@click.pass_context
def record(
    context: click.Context,
    file: Path,
    seconds: float | None,
    interval: float,
    workloads: tuple[str, ...],
    name: str | None,
    settings: tuple[tuple[str, str], ...],
    overwrite: bool,
    machine: str | None,
    kernel: Path | None,
    cpus: int | None,
    as_json: bool,
) -> None:
    """Write what is seen of a machine to FILE; “--machine replay:FILE” plays it."""
    console = Console(as_json)
    if not 0.1 <= interval <= 60:
        raise click.UsageError("--interval goes from 100ms to 60s.")
    if os.access(file, os.F_OK) and not overwrite:
        raise BadFile(f"{file} exists already.", "Give another name, or --overwrite.")
    if settings and not name:
        raise click.UsageError("--set needs --apply.")
    spec = _spec(context, machine, kernel, cpus)
    proposal = _proposal(name, settings, spec) if name else None
    with opened(spec, console, kernel=kernel, cpus=cpus) as it:
        info = it.open(console.progress)
        for kind in workloads:
            it.start_workload(kind)
        if proposal:
            from schedtui.backend import deploy

            deploy.apply(it, proposal, console.progress)
        console.note(f"Recording {info.kind} to {file}{'' if seconds else '; Ctrl-C ends it'}")
        frames, stopped = _record(it, file, interval, seconds)
    console.result({"machine": info.kind, "file": str(file), "frames": frames}, f"{_count(frames, 'frame')} in {file}")
    if stopped and (seconds or stopped.exit_code != 130):
        context.exit(stopped.exit_code)


@cli.group(invoke_without_command=True)
@lab_options
@compiler_option
@click.option("--theme", metavar="NAME", help="Theme for this run.")
@click.pass_context
def lab(context: click.Context, kernel: Path | None, cpus: int | None, compiler: bool, theme: str | None) -> None:
    """A real sched_ext kernel in a small virtual machine; without a COMMAND, the terminal program on it."""
    if context.invoked_subcommand is None:
        context.exit(run_app("lab", theme, kernel=kernel, cpus=cpus, compiler=compiler))
    if kernel or cpus or compiler or theme:
        raise click.UsageError("Give these options after the command.")


@lab.command("run", context_settings={"ignore_unknown_options": True})
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
@click.option("--timeout", type=Duration(), default="60s", show_default=True, help="End it after this time.")
@click.option("--apply", "name", metavar="PRESET|POLICY", help="Run it under this scheduler.")
@click.option(
    "--folder",
    type=click.Path(path_type=Path, exists=True, file_okay=False, resolve_path=True),
    metavar="DIR",
    help="Run it in a copy of this folder's sources.",
)
@compiler_option
@set_option
@lab_options
@json_option
@click.pass_context
def lab_run(
    context: click.Context,
    command: tuple[str, ...],
    timeout: float,
    name: str | None,
    folder: Path | None,
    compiler: bool,
    settings: tuple[tuple[str, str], ...],
    kernel: Path | None,
    cpus: int | None,
    as_json: bool,
) -> None:
    """Run a command in the lab: schedtui lab run -- COMMAND…

    Ends with the command's own exit code, or with 125 when it could not be run.
    """
    console = Console(as_json)
    if settings and not name:
        raise click.UsageError("--set needs --apply.")
    proposal = _proposal(name, settings, "lab") if name else None
    try:
        with opened("lab", console, kernel=kernel, cpus=cpus, compiler=compiler) as it:
            info = it.open(console.progress)
            if folder:
                from schedtui.backend.project import carry_project

                carry_project(it, folder, command)
            if proposal:
                from schedtui.backend import deploy

                deploy.apply(it, proposal, console.progress)
            console.progress(f"Running {command[0]}", 0.0)
            done = it.run(list(command), timeout)
            scheduler = it.scheduler()
    except SchedtuiError as error:
        console.failure(error)
        context.exit(NOT_RUN)
    data = {
        "machine": info.kind,
        "kernel": info.kernel,
        "scheduler": scheduler.name,
        "statistics": scheduler.statistics,
        "command": list(done.command),
        "exit_code": done.exit_code,
        "seconds": round(done.seconds, 3),
        "output": done.output,
        "truncated": done.truncated,
    }
    console.result(data, done.output.removesuffix("\n"))
    if done.seconds >= timeout:
        console.note(f"It was ended after {timeout:g} s; --timeout gives it longer.")
    context.exit(done.exit_code if done.exit_code >= 0 else 128 - done.exit_code)


@lab.command("prepare")
@compiler_option
@lab_options
@json_option
def lab_prepare(compiler: bool, kernel: Path | None, cpus: int | None, as_json: bool) -> None:
    """Get everything ready, so that the lab opens in a second: kernel, guest image, boot, snapshot."""
    console = Console(as_json)
    began = time.monotonic()
    with opened("lab", console, kernel=kernel, cpus=cpus, compiler=compiler) as it:
        info = it.open(console.progress)
    seconds = round(time.monotonic() - began, 1)
    data = {"machine": info.kind, "kernel": info.kernel, "cpus": len(info.cpus), "seconds": seconds}
    console.result(data, f"The lab is ready: Linux {info.kernel}, {_count(len(info.cpus), 'CPU')} ({seconds} s).")


@lab.command("install")
@click.option("--simulate", is_flag=True, help="Only say what would be installed.")
@click.option("--bcc", is_flag=True, help="And the distribution's bcc, for deep dives (schedtui probe).")
@json_option
def lab_install(simulate: bool, bcc: bool, as_json: bool) -> None:
    """Install what the lab needs: QEMU, clang, libbpf. The system's package sources stay as they are."""
    from schedtui.backend.provision import install, needs

    console = Console(as_json)
    installed = install(console.progress, simulate=simulate, bcc=bcc)
    present = {"installed": [each.debian for each in installed], "present": {each.name: each.found for each in needs()}}
    words = ", ".join(each.name for each in installed)
    would = "Would install" if simulate else "Installed"
    console.result(present, f"{would}: {words}." if words else "Everything that the lab needs is there.")


@lab.command("kernels")
@click.option("--fetch", "series", multiple=True, metavar="SERIES", help="Fetch the newest of a series such as 6.18.")
@json_option
def lab_kernels(series: tuple[str, ...], as_json: bool) -> None:
    """List the kernels that the lab can boot, the one that it takes by itself first."""
    from schedtui.backend.microvm.kernels import fetch_kernel, listed_kernels

    console = Console(as_json)
    for each in series:
        fetch_kernel(each, console.progress, renew=True)
    kernels = listed_kernels()
    lines = [f"{each.release:<32} {each.origin:<20} {each.image}" for each in kernels]
    console.result({"kernels": kernels}, "\n".join(lines) or "None yet; the first lab fetches one.")


cli.add_command(classify)
cli.add_command(library)
cli.add_command(history)
cli.add_command(audit)
cli.add_command(trust)
cli.add_command(mcp)
cli.add_command(model)
cli.add_command(panic)
cli.add_command(hotkey)
cli.add_command(helper)
cli.add_command(probe)
cli.add_command(try_)


def main() -> int:
    """Do what the command line says. Returns the exit code; no failure ends in a traceback."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    heed_signals()
    try:
        return _run(Console("--json" in sys.argv[: _end_of_options(sys.argv)]))
    except BrokenPipeError:
        # Whoever read our output has gone. Nothing is left to tell, not even when the interpreter ends.
        sys.stdout = None
        return NOT_DONE
    finally:
        ignore_signals()


def _run(console: Console) -> int:
    try:
        return cli.main(standalone_mode=False) or 0
    except SchedtuiError as error:
        console.failure(error)
        return exit_code_of(error)
    except click.ClickException as error:
        console.failure(_usage_error(error))
        return USAGE
    except (click.Abort, KeyboardInterrupt):
        return 130
    except Stopped as stopped:
        console.failure(Interrupted(f"Ended by {stopped}; everything was closed."))
        return stopped.exit_code
    except BrokenPipeError:
        raise
    except Exception as error:  # noqa: BLE001  the edge: a fault of schedtui itself is logged, never shown raw
        console.failure(_own_fault(error))
        return NOT_DONE


def _end_of_options(arguments: list[str]) -> int:
    return arguments.index("--") if "--" in arguments else len(arguments)


def _usage_error(error: click.ClickException) -> SchedtuiError:
    usage = SchedtuiError(error.format_message(), "See schedtui --help.")
    if isinstance(error, click.UsageError) and error.ctx:
        usage.remedy = f"See {error.ctx.command_path} --help."
    usage.kind = "usage"
    return usage


def _own_fault(error: Exception) -> SchedtuiError:
    from schedtui.faults import write_log

    where = write_log(error)
    remedy = f"The details are in {where}." if where else ""
    return SchedtuiError(f"A fault of schedtui itself: {type(error).__name__}: {error}", remedy)


def _spec(context: click.Context, machine: str | None, kernel: Path | None, cpus: int | None) -> str:
    spec: str = machine or context.obj or "host"
    if spec != "lab" and (kernel or cpus):
        raise click.UsageError("--kernel and --cpus are for the lab: add --machine lab.")
    return spec


def _proposal(name: str, settings: tuple[tuple[str, str], ...], spec: str) -> Proposal:
    from schedtui.backend.deploy import resolve
    from schedtui.backend.library.catalogue import load_library

    return resolve(load_library(), name, dict(settings), kind="host" if spec == "host" else "lab")


def _record(machine: Machine, file: Path, interval_s: float, seconds: float | None) -> tuple[int, Stopped | None]:
    """Write frames until the time is over or a signal comes; returns how many, and that signal."""
    from schedtui.backend.recording import Recorder

    deadline = time.monotonic() + (seconds or LONGEST_S)
    with Recorder(file, machine.open(lambda _stage, _seconds: None)) as recorder:
        try:
            for frame in machine.frames(interval_s):
                recorder.add(frame)
                if time.monotonic() + interval_s / 2 >= deadline:
                    break
        except Stopped as stopped:
            return recorder.frames, stopped
    return recorder.frames, None


def _whose(scheduler: Scheduler) -> str:
    return "the kernel's own" if scheduler.owner == "kernel" else f"started by {scheduler.owner}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
