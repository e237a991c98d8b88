"""``schedtui probe``: look at every switch for some seconds, and show what was counted as a histogram."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from schedtui.backend.machine import Machine
from schedtui.backend.probes.deep import CATALOGUE, LONGEST_S
from schedtui.commands.options import Duration, json_option, lab_options, machine_option, set_option
from schedtui.console import Console, opened

if TYPE_CHECKING:
    from schedtui.backend.dive import Bar
    from schedtui.backend.model import ProbeResult, ProbeRow

_WIDTH = 40
_NAME = 16


@click.command(epilog="\b\n" + "\n".join(f"{each.name:<8} {each.title}" for each in CATALOGUE.values()))
@click.argument("name", metavar="|".join(CATALOGUE), type=click.Choice(list(CATALOGUE)))
@click.option("--pid", type=click.IntRange(1), help="Only this process, its threads, and what it starts.")
@click.option("--cgroup", metavar="PATH", help="Only the processes in this control group: /user.slice.")
@click.option("--for", "seconds", type=Duration(), default="5s", show_default=True, help="How long to look.")
@click.option("--workload", "workloads", multiple=True, metavar="KIND", help="Start a load first (lab). Repeatable.")
@click.option("--apply", "policy", metavar="PRESET|POLICY", help="Run this scheduler meanwhile (lab).")
@set_option
@machine_option
@lab_options
@json_option
@click.pass_context
def probe(
    context: click.Context,
    name: str,
    pid: int | None,
    cgroup: str | None,
    seconds: float,
    workloads: tuple[str, ...],
    policy: str | None,
    settings: tuple[tuple[str, str], ...],
    machine: str | None,
    kernel: Path | None,
    cpus: int | None,
    as_json: bool,
) -> None:
    """Look deep: every switch of the scheduler for some seconds, as a histogram.

    Needs the distribution's bcc, and on this computer the helper (or root): “schedtui doctor” says what is missing.
    """
    from schedtui.backend.dive import dive

    if pid and cgroup:
        raise click.UsageError("Give --pid or --cgroup, not both.")
    if seconds > LONGEST_S:
        raise click.UsageError(f"--for goes up to {LONGEST_S:.0f} s.")
    if settings and not policy:
        raise click.UsageError("--set needs --apply.")
    console = Console(as_json)
    spec = machine or context.obj or "host"
    if spec != "lab" and (kernel or cpus):
        raise click.UsageError("--kernel and --cpus are for the lab: add --machine lab.")
    if (policy or workloads) and spec != "lab":
        raise click.UsageError("--apply and --workload are for --machine lab; on this computer, look at what runs.")
    with _opened(spec, console, kernel, cpus) as it:
        for kind in workloads:
            it.start_workload(kind)
        if policy:
            _apply(it, policy, settings, console)
        result = dive(it, name, pid=pid or 0, cgroup=cgroup or "", seconds=seconds, progress=console.progress)
    console.result(_keys(result), _words(result))


@contextlib.contextmanager
def _opened(spec: str, console: Console, kernel: Path | None, cpus: int | None) -> Iterator[Machine]:
    """An open machine; of the lab, the guest that carries bcc."""
    if spec != "lab":
        with opened(spec, console) as machine:
            yield machine
        return
    from schedtui.backend.lab import LabMachine

    lab = LabMachine(kernel=kernel, cpus=cpus, deep=True)
    try:
        lab.open(console.progress)
        yield lab
    finally:
        lab.close()


def _apply(machine: Machine, name: str, settings: tuple[tuple[str, str], ...], console: Console) -> None:
    from schedtui.backend import deploy
    from schedtui.backend.library.catalogue import load_library

    deploy.apply(machine, deploy.resolve(load_library(), name, dict(settings)), console.progress)


def _keys(result: ProbeResult) -> dict[str, Any]:
    from schedtui.backend.dive import bars, percentiles_us, source_line

    return {
        "probe": result.name,
        "title": CATALOGUE[result.name].title,
        "source": source_line(result),
        "kernel": result.kernel,
        "seconds": result.seconds,
        "compile_s": result.compile_s,
        "count": sum(result.slots),
        "histogram": [
            {"from_us": each.from_ns / 1000, "to_us": each.to_ns / 1000, "count": each.count}
            for each in bars(result.slots)
        ],
        "percentiles_us": percentiles_us(result),
        "tasks": list(result.rows),
        "missed": result.missed,
        "events": result.events,
        "cost_ns": result.cost_ns,
    }


def _words(result: ProbeResult) -> str:
    from schedtui.backend.dive import bars, percentiles_us, source_line
    from schedtui.units import duration

    told = CATALOGUE[result.name]
    total = sum(result.slots)
    lines = [f"{told.title} · Linux {result.kernel}", source_line(result)]
    if not total:
        return "\n".join([*lines, "", "Nothing was counted: nobody did it in that time."])
    percentiles = " · ".join(
        f"{name} {duration(value)}" for name, value in percentiles_us(result).items() if value is not None
    )
    lines += [f"{total} {told.histogram}", percentiles, ""]
    counted = bars(result.slots)
    most = max(each.count for each in counted)
    lines += [_bar_line(each, most) for each in counted]
    lines += ["", f"{told.rows.capitalize():<{_NAME + 8}} {'count':>9} {'mean':>8} {'longest':>8} {'in all':>8}"]
    lines += [_row_line(each) for each in result.rows[:10]]
    if result.missed:
        lines += ["", f"{result.missed} were not timed, because more tasks than fit were under way."]
    return "\n".join(lines)


def _bar_line(bar: Bar, most: int) -> str:
    from schedtui.units import duration

    label = f"< {duration(bar.to_ns / 1000)}" if not bar.from_ns else f"{duration(bar.from_ns / 1000)}"
    stars = round(bar.count / most * _WIDTH) or (1 if bar.count else 0)
    return f"{label:>10} {bar.count:>9}  {'#' * stars}"


def _row_line(row: ProbeRow) -> str:
    from schedtui.backend.dive import waker_of
    from schedtui.units import duration

    who = f"{waker_of(row)} → {row.name}" if row.waker else row.name
    times = (row.total_ns / max(1, row.count), row.max_ns, row.total_ns)
    shown = " ".join(f"{duration(each / 1000):>8}" for each in times)
    return f"{who:<{_NAME}} {row.pid:>7} {row.count:>9} {shown}"
