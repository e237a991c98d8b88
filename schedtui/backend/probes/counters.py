"""Counters that only grow, for whoever compares two moments: how long tasks waited, all of them and those in focus.

The BPF probe's are in wakeup.py. Here is what they have in common, which processes a focus means, and the source that
needs no privileges.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Collection, Iterator
from itertools import islice
from pathlib import Path
from typing import Protocol

from msgspec import Struct

from schedtui.backend.histogram import SLOTS, Histogram, slot_of, trimmed
from schedtui.backend.model import LatencySource
from schedtui.backend.probes.files import read_small
from schedtui.backend.probes.tasks import parse_schedstat

ROOT = Path("/")
NAME_BYTES = 15
"""The kernel keeps no more of a process's name."""
READ_AT_ONCE = 512
"""Tasks read for one sample, beside those in focus."""


class Counts(Struct, frozen=True, kw_only=True):
    """See model.Sample, whose part this is."""

    wakeups: Histogram
    focus_wakeups: Histogram = ()
    longest_wait_ms: float | None = None
    longest_waiter: str = ""
    source: LatencySource | None = None


class Counters(Protocol):
    """A source of Counts. Its methods may be called from any thread."""

    def read(self) -> Counts:
        """What was counted since it was made; a few milliseconds at most."""
        ...

    def focus(self, names: Collection[str]) -> None:
        """From now on count the processes of these names, and their descendants, apart; none ends it."""
        ...

    def rescan(self) -> None:
        """Look for processes in focus that began since; for about once a second. Costs nothing without a focus."""
        ...


def family(names: Collection[str], root: Path = ROOT) -> set[int]:
    """The processes of these names and all their descendants that run now, by number."""
    wanted = {name.encode()[:NAME_BYTES] for name in names}
    children: dict[int, list[int]] = {}
    found = []
    proc = f"{root / 'proc'}"
    for pid in _numbers(proc):
        try:
            before, _, after = read_small(f"{proc}/{pid}/stat").rpartition(b")")
            parent = int(after.split(None, 2)[1])
        except (OSError, ValueError, IndexError):
            continue  # it has ended
        children.setdefault(parent, []).append(pid)
        if before.partition(b"(")[2] in wanted:
            found.append(pid)
    members: set[int] = set()
    while found:
        pid = found.pop()
        if pid not in members:
            members.add(pid)
            found += children.get(pid, ())
    return members


class RunDelayCounters:
    """The kernel's own run delay of each task, spread evenly over its turns between two readings: a lower bound.

    What waits now is not known from it. With more than 512 tasks outside of the focus, each is read in its turn.
    """

    def __init__(self, root: Path = ROOT) -> None:
        self._root = root
        self._proc = f"{root / 'proc'}"
        self._lock = threading.Lock()
        self._names: tuple[str, ...] = ()
        self._members: set[int] = set()
        self._readings: dict[int, tuple[int, int]] = {}
        self._all = [0] * SLOTS
        self._focused = [0] * SLOTS
        self._walk = self._sweep()
        with self._lock:
            self._visit_next()

    def read(self) -> Counts:
        """See Counters."""
        with self._lock:
            for pid in self._members:
                for tid in _numbers(f"{self._proc}/{pid}/task"):
                    self._visit(pid, tid)
            self._visit_next()
            focused = trimmed(self._focused) if self._names else ()
            return Counts(wakeups=trimmed(self._all), focus_wakeups=focused, source="run-delay")

    def focus(self, names: Collection[str]) -> None:
        """See Counters."""
        with self._lock:
            self._names = tuple(names)
            self._members = family(names, self._root) if names else set()

    def rescan(self) -> None:
        """See Counters."""
        if self._names:
            self.focus(self._names)

    def _visit_next(self) -> None:
        for _ in islice(self._walk, READ_AT_ONCE):
            pass

    def _sweep(self) -> Iterator[None]:
        while True:
            seen = set()
            for pid in _numbers(self._proc):
                for tid in _numbers(f"{self._proc}/{pid}/task"):
                    self._visit(pid, tid)
                    seen.add(tid)
                    yield
            self._readings = {tid: each for tid, each in self._readings.items() if tid in seen}
            yield

    def _visit(self, pid: int, tid: int) -> None:
        try:
            _, delay, turns = parse_schedstat(read_small(f"{self._proc}/{pid}/task/{tid}/schedstat"))
        except (OSError, ValueError):
            return
        before = self._readings.get(tid)
        self._readings[tid] = delay, turns
        if before is None or turns <= before[1]:
            return
        times = turns - before[1]
        slot = slot_of(max(0, delay - before[0]) // times)
        self._all[slot] += times
        if pid in self._members:
            self._focused[slot] += times


def _numbers(folder: str) -> list[int]:
    """The entries of a folder of /proc that are numbers; none when it is gone."""
    try:
        return [int(name) for name in os.listdir(folder) if name.isdigit()]  # noqa: PTH208 (as in tasks.py)
    except OSError:
        return []
