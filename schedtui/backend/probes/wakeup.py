"""Wake-up latency from the BPF probe: every wait of every task from 'may run' to 'runs', counted inside the kernel.

Reads the probe's maps only: a mapped page or two for the CPUs, and a look-up for each task that is shown. The layouts
are those of bpf/probes/wakeup_latency.bpf.c.
"""

from __future__ import annotations

import contextlib
import os
import struct
from collections.abc import Sequence
from typing import Protocol

from schedtui.backend.errors import SchedtuiError
from schedtui.backend.histogram import SLOTS, percentile_us
from schedtui.backend.model import Latency
from schedtui.backend.probes.latency import summarised

_CPU_BYTES = SLOTS * 8
_TASK = struct.Struct("=Q32I")
_PIDFD_THREAD = os.O_EXCL
"""Asks pidfd_open for any thread, not only a process's first (Linux 6.9; sched_ext came with 6.12)."""


class Probe(Protocol):
    """What is needed of bpf.loader.LoadedProbe."""

    def mmap(self, name: str) -> memoryview: ...
    def globals(self) -> dict[str, int]: ...
    def lookup(self, name: str, key: bytes, size: int) -> bytes | None: ...
    def close(self) -> None: ...


class WakeupLatency:
    """Deltas of the probe's counters. It closes the probe."""

    def __init__(self, probe: Probe) -> None:
        self._probe = probe
        self._memory = probe.mmap("cpus")
        self._count = len(self._memory) // _CPU_BYTES
        self._before = self._snapshot()
        self._cpu_p99: dict[int, float] = {}
        self._tasks: dict[int, tuple[int, tuple[int, ...]]] = {}
        self._missed = probe.globals().get("nr_missed", 0)
        self.missing = ""

    def sample(self) -> Latency:
        """Every wait that ended since the last call."""
        after = self._snapshot()
        total = 0
        self._cpu_p99 = {}
        for cpu, (old, new) in enumerate(zip(self._before, after, strict=True)):
            grown = new - old
            if grown > 0:
                total += grown
                p99 = percentile_us(_slots_of(grown), 99)
                if p99 is not None:
                    self._cpu_p99[cpu] = p99
        self._before = after
        self._note_missed()
        return summarised("wakeup-probe", _slots_of(total))

    def cpu_p99_us(self) -> dict[int, float]:
        """The CPUs on which a wait ended."""
        return self._cpu_p99

    def task_p99_us(self, tids: Sequence[int]) -> dict[int, float]:
        """Of the tasks that were asked for the time before too; the others are only remembered."""
        for gone in self._tasks.keys() - set(tids):
            os.close(self._tasks.pop(gone)[0])
        found = {}
        for tid in tids:
            with contextlib.suppress(OSError, SchedtuiError):
                p99 = self._ask(tid)
                if p99 is not None:
                    found[tid] = p99
        return found

    def close(self) -> None:
        """Detach the probe."""
        for pidfd, _ in self._tasks.values():
            os.close(pidfd)
        self._tasks.clear()
        self._probe.close()

    def _snapshot(self) -> list[int]:
        """Each CPU's counters side by side in one large number. As they only grow, the difference of two such numbers
        holds every counter's own difference, in one subtraction, which costs a fraction of doing it slot by slot."""
        data = bytes(self._memory)
        return [int.from_bytes(data[n * _CPU_BYTES : (n + 1) * _CPU_BYTES], "little") for n in range(self._count)]

    def _ask(self, tid: int) -> float | None:
        known = self._tasks.get(tid)
        pidfd = known[0] if known else os.pidfd_open(tid, _PIDFD_THREAD)
        self._tasks[tid] = (pidfd, known[1] if known else ())
        value = self._probe.lookup("tasks", pidfd.to_bytes(4, "little"), _TASK.size)
        if value is None:
            return None
        _, *slots = _TASK.unpack(value)
        self._tasks[tid] = (pidfd, tuple(slots))
        if not known or not known[1]:
            return None
        return log2_percentile_us([max(0, b - a) for a, b in zip(known[1], slots, strict=True)], 99)

    def _note_missed(self) -> None:
        missed = self._probe.globals().get("nr_missed", 0)
        lost, self._missed = missed - self._missed, missed
        self.missing = f"{lost} wake-ups could not be timed: the kernel had no memory to note them" if lost > 0 else ""


def log2_percentile_us(slots: Sequence[int], percent: float) -> float | None:
    """A percentile in µs of a histogram whose slot n counts 2**n <= ns < 2**(n+1), interpolated; None when empty."""
    return percentile_us(slots, percent, lambda slot: 1 << slot)


def _slots_of(counters: int) -> list[int]:
    return memoryview(counters.to_bytes(_CPU_BYTES, "little")).cast("Q").tolist()
