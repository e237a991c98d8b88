"""A deep dive on any machine, and what it counted as bars: the road that the command and the screen share."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from msgspec import Struct

from schedtui.backend.errors import NotPermitted
from schedtui.backend.histogram import Histogram, lower_bound_ns, percentile_us
from schedtui.backend.machine import Machine, Progress
from schedtui.backend.model import ProbeResult, ProbeRow
from schedtui.backend.probes.deep import checked_seconds, entry

_OCTAVE = 4
"""Slots of a histogram."""
_SHORTEST_NS = 1 << 10
"""What is shorter, about a microsecond, is one bar."""


@runtime_checkable
class Diving(Protocol):
    """A machine that can look at every switch."""

    def probe(self, name: str, pid: int, cgroup: str, seconds: float, progress: Progress) -> ProbeResult:
        """See ``dive``."""
        ...


class Bar(Struct, frozen=True):
    """One octave of a histogram."""

    from_ns: int
    to_ns: int
    count: int


def dive(
    machine: Machine, name: str, *, pid: int = 0, cgroup: str = "", seconds: float, progress: Progress
) -> ProbeResult:
    """Look at every switch of the machine for ``seconds``: of all tasks, of a process, or of a control group.

    Raises UnknownName, BadMessage, MissingTool, NotPermitted, ProbeFailed.
    """
    entry(name)
    checked_seconds(seconds)
    if not isinstance(machine, Diving):
        raise NotPermitted("A recording holds no switches to look at.", "Use this computer or the lab.")
    return machine.probe(name, pid, cgroup, seconds, progress)


def bars(slots: Histogram) -> list[Bar]:
    """The histogram by octaves, from the first that counted anything to the last."""
    octaves = [sum(slots[at : at + _OCTAVE]) for at in range(0, len(slots), _OCTAVE)]
    first = next(at for at in range(len(octaves) + 1) if lower_bound_ns(at * _OCTAVE) >= _SHORTEST_NS)
    short = sum(octaves[:first])
    counted = [Bar(0, lower_bound_ns(first * _OCTAVE), short)] if short else []
    counted += [
        Bar(lower_bound_ns(at * _OCTAVE), lower_bound_ns((at + 1) * _OCTAVE), number)
        for at, number in enumerate(octaves)
        if at >= first
    ]
    while counted and not counted[0].count:
        del counted[0]
    while counted and not counted[-1].count:
        del counted[-1]
    return counted


def percentiles_us(result: ProbeResult) -> dict[str, float | None]:
    """p50, p90 and p99 in microseconds; None where nothing was counted."""
    return {f"p{percent}": percentile_us(result.slots, percent) for percent in (50, 90, 99)}


def source_line(result: ProbeResult) -> str:
    """Where the numbers come from, and what getting them cost."""
    words = f"bcc, every switch for {result.seconds:.0f} s"
    if result.seconds < 1:
        words = f"bcc, every switch for {result.seconds * 1000:.0f} ms"
    if result.events and result.seconds:
        each_us = result.cost_ns / result.events / 1000
        share = result.cost_ns / 1e9 / result.seconds * 100
        of_a_cpu = f"{share:.1f} %" if share >= 0.05 else "less than 0.1 %"
        words += f"; it cost {each_us:.1f} µs an event, {of_a_cpu} of a CPU"
    return words


def waker_of(row: ProbeRow) -> str:
    """Who woke the task: an idle CPU wakes only in the name of an interrupt."""
    return row.waker if row.waker_pid else "an interrupt"
