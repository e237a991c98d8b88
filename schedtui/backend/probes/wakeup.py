"""Wake-up latency from the BPF probe: every wait of every task from 'may run' to 'runs', counted inside the kernel.

Reads the probe's maps: a mapped page or two for the CPUs, and a look-up for each task that is shown; and tells it which
processes are in focus. The layouts are those of bpf/probes/wakeup_latency.bpf.c.
"""

from __future__ import annotations

import contextlib
import os
import struct
import threading
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from schedtui.backend.errors import SchedtuiError
from schedtui.backend.histogram import SLOTS, percentile_us, trimmed
from schedtui.backend.model import Latency, Setting
from schedtui.backend.probes.counters import Counts, family
from schedtui.backend.probes.latency import summarised

_CPU_BYTES = SLOTS * 8
_TASK = struct.Struct("=QII32I")
_LONGEST = struct.Struct("=QI16s4x")
_MOST_PROCESSES = 4000
"""In focus; the probe's map holds a few more."""
_ROUNDS = 1 << 32
_ROOT = Path("/")
_PIDFD_THREAD = os.O_EXCL
"""Asks pidfd_open for any thread, not only a process's first (Linux 6.9; sched_ext came with 6.12)."""


class Probe(Protocol):
    """What is needed of bpf.loader.LoadedProbe."""

    def mmap(self, name: str) -> memoryview: ...
    def globals(self) -> dict[str, int]: ...
    def lookup(self, name: str, key: bytes, size: int) -> bytes | None: ...
    def change(self, name: str, entries: dict[bytes, bytes | None]) -> None: ...
    def tune(self, settings: dict[str, Setting]) -> None: ...
    def walk(self, program: str, size: int) -> bytes: ...


class WakeupLatency:
    """Deltas of the probe's counters, against a baseline of its own. The probe is another's to close."""

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
        """Let go of the tasks that it was asked for."""
        for pidfd, _ in self._tasks.values():
            os.close(pidfd)
        self._tasks.clear()

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
        _, _, _, *slots = _TASK.unpack(value)
        self._tasks[tid] = (pidfd, tuple(slots))
        if not known or not known[1]:
            return None
        return log2_percentile_us([max(0, b - a) for a, b in zip(known[1], slots, strict=True)], 99)

    def _note_missed(self) -> None:
        missed = self._probe.globals().get("nr_missed", 0)
        lost, self._missed = missed - self._missed, missed
        self.missing = f"{lost} wake-ups could not be timed: the kernel had no memory to note them" if lost > 0 else ""


class WakeupCounters:
    """The probe's counters as they stand, the longest wait of now, and the focus. See counters.Counters."""

    def __init__(self, probe: Probe, root: Path = _ROOT) -> None:
        self._probe = probe
        self._root = root
        self._all = probe.mmap("cpus")
        self._focused = probe.mmap("focus_cpus")
        self._lock = threading.Lock()
        self._round = 0
        self._names: tuple[str, ...] = ()
        self._members: set[int] = set()

    def read(self) -> Counts:
        """See counters.Counters; the longest wait covers every task that was woken or ran since the probe began."""
        wait_ms, who = self._longest()
        return Counts(
            wakeups=trimmed(_summed(self._all)),
            focus_wakeups=trimmed(_summed(self._focused)) if self._names else (),
            longest_wait_ms=wait_ms,
            longest_waiter=who,
            source="wakeup-probe",
        )

    def focus(self, names: Collection[str]) -> None:
        """See counters.Counters."""
        with self._lock:
            self._round = self._round % (_ROUNDS - 1) + 1  # what earlier ones marked is in focus no more
            self._names = tuple(names)
            self._set_members(self._found())
            self._probe.tune({"focus_round": self._round if names else 0})

    def rescan(self) -> None:
        """See counters.Counters."""
        if self._names:
            with self._lock:
                self._set_members(self._found())

    def _found(self) -> set[int]:
        return set(sorted(family(self._names, self._root))[:_MOST_PROCESSES]) if self._names else set()

    def _set_members(self, members: set[int]) -> None:
        gone: Mapping[int, bytes | None] = dict.fromkeys(self._members - members)
        new: Mapping[int, bytes | None] = dict.fromkeys(members - self._members, bytes(4))
        self._probe.change("focus", {pid.to_bytes(4, "little"): value for pid, value in {**gone, **new}.items()})
        self._members = members

    def _longest(self) -> tuple[float | None, str]:
        try:
            ns, pid, name = _LONGEST.unpack(self._probe.walk("find_longest", _LONGEST.size))
        except (SchedtuiError, struct.error):
            return None, ""
        who = "".join(c if c.isprintable() else "·" for c in name.partition(b"\0")[0].decode(errors="replace"))
        return ns / 1e6, f"{who} ({pid})" if pid else ""


def _summed(memory: memoryview) -> list[int]:
    """Every CPU's counters together."""
    data = bytes(memory)
    return _slots_of(
        sum(int.from_bytes(data[at : at + _CPU_BYTES], "little") for at in range(0, len(data), _CPU_BYTES))
    )


def log2_percentile_us(slots: Sequence[int], percent: float) -> float | None:
    """A percentile in µs of a histogram whose slot n counts 2**n <= ns < 2**(n+1), interpolated; None when empty."""
    return percentile_us(slots, percent, lambda slot: 1 << slot)


def _slots_of(counters: int) -> list[int]:
    return memoryview(counters.to_bytes(_CPU_BYTES, "little")).cast("Q").tolist()
