"""What each policy is better at than EEVDF: alternating runs in one guest. ``make bench-policies`` prints the table.

It also writes the table into docs/POLICIES.md, with its conditions. A scenario is one load (load.c), run under EEVDF
and under the policy in turn (A B B A …), so that what drifts on the computer underneath hits both alike. The change is
that of the medians; its interval of 95 % is a bootstrap over pairs. ``locality``, ``powersave`` and ``periodic`` have
loads of their own: policies_mechanisms.py.
"""

from __future__ import annotations

import base64
import fcntl
import os
import random
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click
from msgspec import Struct, field

from schedtui.backend.bpf.compiler import compile_native
from schedtui.backend.deploy import apply, resolve
from schedtui.backend.lab import LabMachine
from schedtui.backend.library.catalogue import Library, load_library
from schedtui.backend.model import MachineInfo, Setting

LOAD = Path(__file__).with_name("load.c")
DOCUMENT = Path(__file__).parents[2] / "docs" / "POLICIES.md"
BEGIN, END = "<!-- table: make bench-policies -->", "<!-- end of table -->"
CPUS = 2
_THERE = "/tmp/load"
_RESAMPLES = 4000
_WARM_UP_S = 2.0


class Scenario(Struct, frozen=True, kw_only=True):
    """A policy, and the load at which it should be better."""

    policy: str
    load: str
    what: str
    """The load and its figure, for a person."""
    unit: str
    more_is_better: bool = False
    length_ms: int = 1500
    settings: dict[str, Setting] = field(default_factory=dict)


SCENARIOS = (
    Scenario(policy="fair", load="equal", what="three equal programs: how far the slowest is behind", unit="ms of CPU"),
    Scenario(policy="fifo", load="switches", what="eight computations: switches between them", unit="a second"),
    Scenario(
        policy="interactive",
        load="answer",
        what="answers of 0.3 ms beside four computations: nine of ten are done",
        unit="ms",
    ),
    Scenario(
        policy="longest-first",
        load="batch",
        what="20 short jobs and a long one: until all are done",
        unit="ms",
        settings={"long_job": "longest"},
    ),
    Scenario(
        policy="focus",
        load="chosen",
        what="two programs chosen out of six: what they get",
        unit="ms of CPU",
        more_is_better=True,
        settings={"focus_name": "chosen"},
    ),
    Scenario(
        policy="layers",
        load="frames",
        what="frames of 4 ms in front of six computations: nine of ten are done",
        unit="ms",
        settings={"foreground_names": "front", "background_names": "behind"},
    ),
    Scenario(policy="batch", load="switches", what="eight computations: switches between them", unit="a second"),
    Scenario(
        policy="batch",
        load="walk",
        what="eight programs that walk through memory: work done",
        unit="passes",
        more_is_better=True,
    ),
    Scenario(
        policy="shortest-first", load="short", what="short jobs beside four long ones: mean until done", unit="ms"
    ),
)


class Comparison(Struct, frozen=True):
    """The figures of all runs, in pairs: EEVDF's and the policy's."""

    scenario: Scenario
    pairs: tuple[tuple[float, float], ...]

    @property
    def change(self) -> tuple[float, float, float]:
        """By how much the policy's median differs from EEVDF's, as a share of it; lower and upper bound of 95 %."""
        chance = random.Random(0)
        resampled = sorted(_change(chance.choices(self.pairs, k=len(self.pairs))) for _ in range(_RESAMPLES))
        edge = _RESAMPLES // 40
        return _change(self.pairs), resampled[edge], resampled[-edge - 1]

    @property
    def proven(self) -> bool:
        """Better by a tenth or more, and the interval excludes zero."""
        middle, low, high = self.change
        better = (middle, low) if self.scenario.more_is_better else (-middle, -high)
        return better[0] >= 0.10 and better[1] > 0

    def row(self) -> str:
        """Its line of the table."""
        middle, low, high = self.change
        own, theirs = (statistics.median(pair[which] for pair in self.pairs) for which in (0, 1))
        each = self.scenario
        settings = ", ".join(f"`{name}={value}`" for name, value in each.settings.items())
        return (
            f"| `{each.policy}` | {each.what}, {each.unit}{f' ({settings})' if settings else ''} | {_short(own)} | "
            f"{_short(theirs)} | {middle:+.0%} ({low:+.0%} to {high:+.0%}) | {'yes' if self.proven else 'no'} |"
        )


def _change(pairs: tuple[tuple[float, float], ...] | list[tuple[float, float]]) -> float:
    own, theirs = (statistics.median(pair[which] for pair in pairs) for which in (0, 1))
    return theirs / (own or 1.0) - 1


def _short(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}"


def compare(machine: LabMachine, library: Library, scenario: Scenario, pairs: int) -> Comparison:
    """Runs of the scenario under EEVDF and the policy: A B B A A B …"""
    found: list[tuple[float, float]] = []
    for number in range(pairs):
        order = ("", scenario.policy) if number % 2 == 0 else (scenario.policy, "")
        figures = {policy: _figure(machine, library, scenario, policy) for policy in order}
        found.append((figures[""], figures[scenario.policy]))
    return Comparison(scenario, tuple(found))


def _figure(machine: LabMachine, library: Library, scenario: Scenario, policy: str) -> float:
    if policy:
        apply(machine, resolve(library, policy, dict(scenario.settings)), _quiet)
    else:
        machine.unload()
    done = machine.run([_THERE, scenario.load, str(scenario.length_ms)], 60 + scenario.length_ms / 100)
    runs = machine.scheduler().policy
    if done.exit_code or runs != policy:
        raise click.ClickException(f"{scenario.policy}: the load ended with {done.exit_code}: {done.output} ({runs})")
    return float(done.output)


def _quiet(_stage: str, _seconds: float) -> None:
    """Nobody watches a benchmark's progress."""


@contextmanager
def guest(kernel: Path | None) -> Iterator[tuple[LabMachine, MachineInfo]]:
    """A lab with the loads in it, closed at the end."""
    machine = LabMachine(kernel=kernel, cpus=CPUS)
    try:
        info = machine.open(_quiet)
        program = base64.b64encode(compile_native(LOAD)).decode()
        done = machine.run(["sh", "-c", f"echo {program} | base64 -d > {_THERE} && chmod +x {_THERE}"], 60)
        if done.exit_code:
            raise click.ClickException(f"The loads could not be put into the guest: {done.output}")
        yield machine, info
    finally:
        machine.close()


@contextmanager
def alone(lock: Path | None) -> Iterator[None]:
    """Nobody else who takes the same lock measures meanwhile."""
    if lock is None:
        yield
        return
    with lock.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def table(comparisons: list[Comparison], conditions: str) -> str:
    """The table as it stands in the document."""
    lines = [
        BEGIN,
        "| policy | load and figure | EEVDF | policy | change (95 %) | better by 10 %, proven |",
        "| --- | --- | ---: | ---: | --- | --- |",
        *(each.row() for each in comparisons),
        "",
        conditions,
        END,
    ]
    return "\n".join(lines)


def write_table(text: str, document: Path = DOCUMENT) -> None:
    """Replace the table between the document's marks."""
    before, found, rest = document.read_text().partition(BEGIN)
    _, ended, after = rest.partition(END)
    if not found or not ended:
        raise click.ClickException(f"{document} has no marks for the table.")
    document.write_text(before + text + after)


@click.command()
@click.argument("names", nargs=-1)
@click.option("--pairs", default=8, show_default=True, help="Runs under each of the two schedulers.")
@click.option("--kernel", type=click.Path(path_type=Path), help="A kernel image. [default: the lab's]")
@click.option("--lock", type=click.Path(path_type=Path), help="Measure while holding this lock.")
@click.option("--write", is_flag=True, help="Write the table into docs/POLICIES.md.")
def main(names: tuple[str, ...], pairs: int, kernel: Path | None, lock: Path | None, write: bool) -> None:
    """Compare policies (all, or NAMES) with EEVDF."""
    library = load_library()
    chosen = [each for each in SCENARIOS if not names or each.policy in names]
    comparisons = []
    began = time.monotonic()
    for scenario in chosen:
        with alone(lock), guest(kernel) as (machine, info):
            time.sleep(_WARM_UP_S)  # a restored guest has old timers to work off
            comparison = compare(machine, library, scenario, pairs)
        comparisons.append(comparison)
        click.echo(comparison.row())
    conditions = (
        f"Linux {info.kernel}, {CPUS} virtual CPUs, {info.note}, on a computer with {os.cpu_count()} CPUs; "
        f"{pairs} runs under each scheduler, in turn; medians; {time.strftime('%Y-%m-%d')}; "
        f"{time.monotonic() - began:.0f} s."
    )
    click.echo(conditions)
    if write:
        write_table(table(comparisons, conditions))


if __name__ == "__main__":
    main()
