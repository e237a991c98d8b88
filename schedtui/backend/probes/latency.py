"""How long tasks wait for a CPU: what every source of it offers, and the source that needs no privileges.

The other two are in wakeup.py (the BPF probe) and overshoot.py (a timer). Which one is used is decided in sampler.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from schedtui.backend.histogram import Histogram, maximum_us, percentile_us, trimmed
from schedtui.backend.model import Latency, LatencySource
from schedtui.backend.probes.tasks import TasksProbe


class LatencyProbe(Protocol):
    """A source of wake-up latency."""

    @property
    def missing(self) -> str:
        """Why it has nothing to say, or empty."""
        ...

    def sample(self) -> Latency | None:
        """What was measured since the last call."""
        ...

    def cpu_p99_us(self) -> dict[int, float]:
        """By CPU, of the same interval; empty where the source does not tell CPUs apart."""
        ...

    def task_p99_us(self, tids: Sequence[int]) -> dict[int, float]:
        """By task, since it was last asked for; empty where the source does not tell tasks apart."""
        ...

    def close(self) -> None:
        """Let go of what it holds."""
        ...


def summarised(source: LatencySource, slots: Sequence[int]) -> Latency:
    """The percentiles of a histogram."""
    histogram: Histogram = trimmed(slots)
    return Latency(
        source=source,
        histogram=histogram,
        count=sum(histogram),
        p50_us=percentile_us(histogram, 50),
        p95_us=percentile_us(histogram, 95),
        p99_us=percentile_us(histogram, 99),
        max_us=maximum_us(histogram),
    )


class RunDelay:
    """The kernel's own run delay, spread evenly over a task's turns on the CPU between two readings: a lower bound.

    Reads nothing itself: TasksProbe has read it, and counts each wait once, some of them up to a sweep later.
    """

    def __init__(self, tasks: TasksProbe) -> None:
        self._tasks = tasks
        self.missing = tasks.missing

    def sample(self) -> Latency | None:
        """Of the tasks that the last sample of TasksProbe read."""
        return None if self.missing else summarised("run-delay", self._tasks.waits)

    def cpu_p99_us(self) -> dict[int, float]:
        """The kernel does not say on which CPU a task waited."""
        return {}

    def task_p99_us(self, tids: Sequence[int]) -> dict[int, float]:
        """Averages have no percentile."""
        return {}

    def close(self) -> None:
        """Nothing is held."""
