"""External schedulers and our policies beside EEVDF, in one guest: ``python -m tests.benchmarks.schedulers --write``.

Each runs three loads (load.c): a task that wakes up beside computations, a batch with one long job, messages through
pipes. EEVDF and the scheduler take turns (A B B A …), so that what drifts on the computer underneath hits both alike.
The change is that of the medians; its interval of 95 % is a bootstrap over pairs. External schedulers are those that
``make scx`` built, or others on PATH, as they are by themselves; scx_layered, which is nothing without, in its mode
for a server. The table goes into docs/BENCHMARKS.md.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Iterator
from pathlib import Path

import click
from msgspec import Struct

from schedtui.backend.deploy import apply, resolve
from schedtui.backend.errors import SchedtuiError
from schedtui.backend.lab import LabMachine
from schedtui.backend.library.catalogue import Library, load_library
from schedtui.backend.library.starting import why_not
from schedtui.backend.model import Setting
from tests.benchmarks.policies import CPUS, Comparison, Scenario, alone, guest
from tests.schedulers import FOLDER, NAMES

DOCUMENT = Path(__file__).parents[2] / "docs" / "BENCHMARKS.md"
BEGIN, END = "<!-- table: python -m tests.benchmarks.schedulers -->", "<!-- end of schedulers -->"
OURS = ("fair", "interactive", "batch", "longest-first", "locality", "shortest-first")
_SETTINGS: dict[str, dict[str, Setting]] = {"longest-first": {"long_job": "longest"}}
_WARM_UP_S = 2.0
_THERE = "/tmp/load"


class Load(Struct, frozen=True, kw_only=True):
    """One of load.c's, as a column of the table."""

    name: str
    title: str
    unit: str
    length_ms: int = 0
    more_is_better: bool = False


LOADS = (
    Load(name="wake", title="wake-up p99 beside four computations", unit="ms", length_ms=3000),
    Load(name="batch", title="20 short jobs and a long one, until all are done", unit="ms"),
    Load(name="messages", title="messages between four pairs", unit="a second", length_ms=1500, more_is_better=True),
)


class Row(Struct, frozen=True):
    """A scheduler beside EEVDF: the pairs of figures by load."""

    name: str
    comparisons: tuple[Comparison, ...]

    def text(self) -> str:
        """Its line of the table."""
        return f"| `{self.name}` | {' | '.join(map(_cell, self.comparisons))} |"


def _cell(comparison: Comparison) -> str:
    """``12.3 (-40 %, -51 to -28)``, in bold when it is better and the interval excludes zero."""
    middle, low, high = comparison.change
    median = statistics.median(theirs for _, theirs in comparison.pairs)
    better = low > 0 if comparison.scenario.more_is_better else high < 0
    words = f"{median:.{0 if median >= 100 else 1}f} ({middle:+.0%}, {low:+.0%} to {high:+.0%})"
    return f"**{words}**" if better else words


def compare(machine: LabMachine, library: Library, name: str, pairs: int) -> Row:
    """Runs of every load under EEVDF and the scheduler: A B B A A B …"""
    found: dict[str, list[tuple[float, float]]] = {each.name: [] for each in LOADS}
    for number in range(pairs):
        figures: dict[str, dict[str, float]] = {}
        for scheduler in ("", name) if number % 2 == 0 else (name, ""):
            figures[scheduler] = dict(_figures(machine, library, scheduler))
        for each in LOADS:
            found[each.name].append((figures[""][each.name], figures[name][each.name]))
    return Row(name, tuple(Comparison(_scenario(name, each), tuple(found[each.name])) for each in LOADS))


def _figures(machine: LabMachine, library: Library, name: str) -> Iterator[tuple[str, float]]:
    if name:
        proposal = resolve(library, name, dict(_SETTINGS.get(name, {})))
        assert proposal.policy is not None
        apply(machine, proposal, _quiet)
    else:
        machine.unload()
    for each in LOADS:
        done = machine.run([_THERE, each.name, str(each.length_ms)], 120)
        runs = machine.scheduler().policy
        if done.exit_code or runs != name:
            raise click.ClickException(f"{name}: {each.name} ended with {done.exit_code}: {done.output} ({runs} runs)")
        yield each.name, float(done.output) / (each.length_ms / 1000 if each.more_is_better else 1)


def _scenario(name: str, load: Load) -> Scenario:
    return Scenario(policy=name, load=load.name, what=load.title, unit=load.unit, more_is_better=load.more_is_better)


def _quiet(_stage: str, _seconds: float) -> None:
    """Nobody watches a benchmark's progress."""


def table(rows: list[Row], conditions: str) -> str:
    """As it stands in the document."""
    medians = []
    for number in range(len(LOADS)):
        own = statistics.median(pair[0] for row in rows for pair in row.comparisons[number].pairs)
        medians.append(f"{own:.{0 if own >= 100 else 1}f}")
    heads = " | ".join(f"{each.title}, {each.unit}" for each in LOADS)
    return "\n".join(
        [
            BEGIN,
            f"| scheduler | {heads} |",
            f"| --- |{' --- |' * len(LOADS)}",
            f"| EEVDF (all runs) | {' | '.join(medians)} |",
            *(each.text() for each in rows),
            "",
            f"{conditions} In brackets the change against EEVDF, with its interval of 95 %; bold: better beyond it.",
            END,
        ]
    )


def write_table(text: str) -> None:
    """Replace the table between the document's marks; a section for it is added when there is none."""
    content = DOCUMENT.read_text()
    before, found, rest = content.partition(BEGIN)
    _, ended, after = rest.partition(END)
    if not found or not ended:
        before, after = f"{content.rstrip()}\n\n## Schedulers beside EEVDF\n\n", "\n"
    DOCUMENT.write_text(before + text + after)


@click.command()
@click.argument("names", nargs=-1)
@click.option("--pairs", default=6, show_default=True, help="Turns of each of the two schedulers.")
@click.option("--kernel", type=click.Path(path_type=Path), help="A kernel image. [default: the lab's]")
@click.option("--lock", type=click.Path(path_type=Path), help="Measure while holding this lock.")
@click.option("--write", is_flag=True, help="Write the table into docs/BENCHMARKS.md.")
def main(names: tuple[str, ...], pairs: int, kernel: Path | None, lock: Path | None, write: bool) -> None:
    """Compare schedulers (all that are here, or NAMES) with EEVDF."""
    os.environ.setdefault("SCHEDTUI_SCX", str(FOLDER))
    library = load_library()
    chosen = names or [*OURS, *(each for each in NAMES if not why_not(library.policy(each), "lab"))]
    rows: list[Row] = []
    began = time.monotonic()
    for name in chosen:
        with alone(lock), guest(kernel) as (machine, info):
            time.sleep(_WARM_UP_S)  # a restored guest has old timers to work off
            try:
                row = compare(machine, library, name, pairs)
            except SchedtuiError as error:
                click.echo(f"{name} is left out: {error.message} {error.details[-300:]}", err=True)
                continue
        rows.append(row)
        click.echo(row.text())
    if not rows:
        raise click.ClickException("Nothing was measured.")
    conditions = (
        f"Linux {info.kernel}, {CPUS} virtual CPUs, {info.note}, on a computer with {os.cpu_count()} CPUs; "
        f"{pairs} turns each; medians; {time.strftime('%Y-%m-%d')}; {time.monotonic() - began:.0f} s."
    )
    click.echo(conditions)
    if write:
        write_table(table(rows, conditions))


if __name__ == "__main__":
    main()
