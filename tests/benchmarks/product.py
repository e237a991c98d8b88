"""The product's numbers: how long a person waits, and what the dashboard costs. ``make bench`` prints them.

Each line is a median over runs, with the range; conditions (machine, kernel, versions) come first. A number is measured
here and asserted nowhere: what must hold is in the tests.
"""

from __future__ import annotations

import os
import platform
import re
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import click
import psutil

from schedtui.backend.deploy import apply, resolve
from schedtui.backend.lab import LabMachine, default_cpus
from schedtui.backend.library.catalogue import load_library
from schedtui.backend.provision import find_qemu
from tests.benchmarks import agent, intents, library, loop, mcp, verifier
from tests.terminal import Terminal

COMMAND = Path(sys.executable).parent / "schedtui"
_SYSRQ = """echo S > /proc/sysrq-trigger
read state < /sys/kernel/sched_ext/state
while [ "$state" != disabled ]; do read state < /sys/kernel/sched_ext/state; done"""


def quiet(_stage: str, _seconds: float) -> None:
    """Nobody watches a benchmark's progress."""


def first_frame_s(*arguments: str) -> float:
    """Seconds from the command until a CPU's measured share stands on the screen.

    Python may keep what it has compiled, as it does for a user, whatever is set where the benchmark runs.
    """
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    terminal = Terminal([str(COMMAND), *arguments])
    try:
        while not re.search(r"\d ?%", terminal.text):
            if not terminal.read(10) or time.monotonic() - terminal.began > 10:
                return float("nan")
        return time.monotonic() - terminal.began
    finally:
        terminal.close()


def dashboard_cost(seconds: float = 20) -> tuple[float, float]:
    """Share of one core in percent and resident MB of the program and its children, after 5 s of settling."""
    terminal = Terminal([str(COMMAND)])
    try:
        terminal.drain(5)
        family = [psutil.Process(terminal.pid), *psutil.Process(terminal.pid).children(recursive=True)]
        before = sum(_cpu_s(each) for each in family)
        began = time.monotonic()
        terminal.drain(seconds)
        if family[0].status() == psutil.STATUS_ZOMBIE:
            raise click.ClickException("The program ended while it was measured.")
        used = sum(_cpu_s(each) for each in family) - before
        return 100 * used / (time.monotonic() - began), sum(each.memory_info().rss for each in family) / 1e6
    finally:
        terminal.close()


def _cpu_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def lab_open_s() -> float:
    """Seconds to a lab that answers, from its snapshot."""
    machine = LabMachine()
    began = time.monotonic()
    machine.open(quiet)
    took = time.monotonic() - began
    machine.close()
    return took


def applied_s(machine: LabMachine, policy: str) -> float:
    """Seconds from the decision to the kernel's ``enabled``, compiler included (its cache is warm)."""
    began = time.monotonic()
    apply(machine, resolve(load_library(), policy, {}), quiet)
    return time.monotonic() - began


def panic_s(machine: LabMachine) -> float:
    """Seconds from the call that F12 makes until the kernel's ``disabled`` was read back."""
    began = time.monotonic()
    machine.panic()
    took = time.monotonic() - began
    machine.unlatch()
    return took


def bare_sysrq_s(machine: LabMachine) -> float:
    """Seconds of a bare sysrq S in the same guest, less what starting the shell takes."""
    with_sysrq = machine.run(["sh", "-c", _SYSRQ], 30).seconds
    machine.unload()
    return with_sysrq - min(machine.run(["sh", "-c", "read state < /proc/version"], 30).seconds for _ in range(3))


def report(label: str, values: list[float], unit: str, goal: str, form: str = ".2f") -> None:
    """One line: median, range, goal."""
    middle = statistics.median(values)
    spread = f"{min(values):{form}} to {max(values):{form}}, n={len(values)}"
    click.echo(f"{label:<44} {middle:{form}} {unit}  ({spread}){'  goal ' + goal if goal else ''}")


def repeat(count: int, measure: Callable[[], float]) -> list[float]:
    """The values of ``count`` runs."""
    return [measure() for _ in range(count)]


@click.command()
@click.option("--runs", default=9, help="Runs of each quick measurement.")
def main(runs: int) -> None:
    """Print the product's numbers."""
    version = ".".join(map(str, find_qemu().version))
    click.echo(
        f"{platform.platform()}, {os.cpu_count()} CPUs, Python {platform.python_version()}, QEMU {version}, "
        f"load {os.getloadavg()[0]:.1f}"
    )
    library.main()
    intents.main()
    loop.main()
    verifier.main()
    agent.main()
    mcp.main()
    lab_open_s()
    report("first painted live frame, host", repeat(runs, first_frame_s), "s", "≤ 0.5")
    report("lab open from its snapshot", repeat(runs, lab_open_s), "s", "≤ 1.0")
    machine = LabMachine()
    machine.open(quiet)
    click.echo(f"guest: {machine.open(quiet).kernel}, {default_cpus()} CPUs, {machine.open(quiet).note}")
    for loads in ((), ("hogs",)):
        for kind in loads:
            machine.start_workload(kind)
        beside = " beside hogs" if loads else ""
        applies: list[float] = []
        panics: list[float] = []
        bare: list[float] = []
        for _ in range(runs):
            applies.append(applied_s(machine, "fair"))
            time.sleep(1)
            panics.append(panic_s(machine))
            apply(machine, resolve(load_library(), "fair", {}), quiet)
            time.sleep(1)
            bare.append(bare_sysrq_s(machine))
        report(f"apply in the lab{beside}", applies, "s", "≤ 3")
        report(f"panic, call to disabled{beside}", panics, "s", "≤ 1.5 × sysrq", ".3f")
        report(f"bare sysrq S to disabled{beside}", bare, "s", "", ".3f")
        click.echo(f"panic / sysrq{beside}: {statistics.median(panics) / statistics.median(bare):.2f}")
    machine.close()
    percent, megabytes = dashboard_cost()
    click.echo(
        f"dashboard on the host, one frame a second: {percent:.2f} % of one core, {megabytes:.0f} MB (≤ 1 %, ≤ 80 MB)"
    )


if __name__ == "__main__":
    main()
