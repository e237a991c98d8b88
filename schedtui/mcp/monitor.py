"""How busy a machine was between two calls: CPU and memory, and how often its tasks got a turn, sampled every second.

CPU use comes from the machine's frames; memory and turns from its /proc/meminfo and /proc/schedstat. What cannot be
read is None, never a guess.
"""

from __future__ import annotations

import contextlib
import secrets
import threading
import time
from pathlib import Path

from msgspec import Struct

from schedtui.agent.bench import Watch
from schedtui.backend.errors import SchedtuiError
from schedtui.backend.machine import Machine
from schedtui.backend.model import MachineKind

INTERVAL_S = 1.0
_READ_LIMIT_S = 10.0
_JOIN_S = 15.0
_FIRST_FRAME_S, _TICK_S = 3.0, 0.05
_FILES = ("/proc/meminfo", "/proc/schedstat")


class Summary(Struct, frozen=True, kw_only=True):
    """What was seen in a session."""

    session_id: str
    seconds: float
    samples: int
    cpu_percent: float | None
    """Of all CPUs, on average; None when no frame came."""
    cpu_most_percent: float | None
    memory_percent: float | None
    """Of all memory, what is not available, on average."""
    memory_most_percent: float | None
    memory_mb: float | None
    turns: int | None
    """How often a task got a CPU, on all of them together, during the session."""
    turn_ns: int | None
    """How long such a turn was, on average."""


class Counters(Struct, frozen=True, kw_only=True):
    """One reading of /proc."""

    memory_used_kib: int | None = None
    memory_kib: int | None = None
    run_ns: int | None = None
    """That tasks ran, since the machine was started, on all CPUs together."""
    turns: int | None = None


class Session:
    """One of them, from its making to ``stop``; a thread of its own looks at the machine meanwhile."""

    def __init__(self, machine: Machine, kind: MachineKind, watch: Watch, interval_s: float = INTERVAL_S) -> None:
        self.id = f"mon_{secrets.token_hex(4)}"
        self._machine = machine
        self._kind = kind
        self._watch = watch
        self._interval_s = interval_s
        self._began = time.monotonic()
        self._over = threading.Event()
        newest = watch.last(INTERVAL_S)
        self._sequence = newest[-1].sequence if newest else -1
        self._cpu: list[tuple[float, float]] = []
        """Share of all CPUs, and for how many seconds."""
        self._memory: list[tuple[float, float]] = []
        """Used MB, and per cent."""
        self._first: Counters | None = None
        self._last = Counters()
        self._samples = 0
        self._thread = threading.Thread(target=self._look_on, name="system_monitor", daemon=True)
        self._thread.start()

    def stop(self) -> Summary:
        """End it; what was seen. A last look is taken first, which waits a moment for a frame when none came yet."""
        self.end()
        deadline = time.monotonic() + _FIRST_FRAME_S
        while not self._cpu and time.monotonic() < deadline:
            self._look_at_frames()
            time.sleep(_TICK_S)
        self._look()
        return self._summary()

    def end(self) -> None:
        """Nobody wants to know any more."""
        self._over.set()
        self._thread.join(_JOIN_S)

    def _look_on(self) -> None:
        while not self._over.is_set():
            self._look()
            self._over.wait(self._interval_s)

    def _look_at_frames(self) -> None:
        for frame in self._watch.last(60):
            if frame.sequence > self._sequence and frame.cpus:
                self._sequence = frame.sequence
                used = sum(each.used_percent for each in frame.cpus) / len(frame.cpus)
                self._cpu.append((used, frame.interval_s))

    def _look(self) -> None:
        self._look_at_frames()
        self._last = seen = self._counters()
        self._first = self._first or seen
        self._samples += 1
        if seen.memory_kib and seen.memory_used_kib is not None:
            self._memory.append((seen.memory_used_kib / 1024, 100 * seen.memory_used_kib / seen.memory_kib))

    def _counters(self) -> Counters:
        try:
            if self._kind == "host":
                return read_counters("".join(_read(path) for path in _FILES))
            if self._kind == "lab":
                return read_counters(self._machine.run(["cat", *_FILES], _READ_LIMIT_S).output)
        except SchedtuiError:  # the machine is being replaced, or is gone: the next look may see it again
            pass
        return Counters()

    def _summary(self) -> Summary:
        first, last = self._first or Counters(), self._last
        turns = last.turns - first.turns if last.turns is not None and first.turns is not None else None
        run_ns = last.run_ns - first.run_ns if last.run_ns is not None and first.run_ns is not None else None
        looked_s = sum(seconds for _, seconds in self._cpu)
        return Summary(
            session_id=self.id,
            seconds=time.monotonic() - self._began,
            samples=self._samples,
            cpu_percent=sum(used * seconds for used, seconds in self._cpu) / looked_s if looked_s else None,
            cpu_most_percent=max((used for used, _ in self._cpu), default=None),
            memory_percent=_mean([percent for _, percent in self._memory]),
            memory_most_percent=max((percent for _, percent in self._memory), default=None),
            memory_mb=_mean([used_mb for used_mb, _ in self._memory]),
            turns=turns,
            turn_ns=run_ns // turns if run_ns is not None and turns else None,
        )


def read_counters(text: str) -> Counters:
    """Of the text of /proc/meminfo and /proc/schedstat, one after the other (proc(5), sched-stats in the kernel)."""
    memory: dict[str, int] = {}
    run_ns = turns = 0
    cpus = 0
    for line in text.splitlines():
        words = line.split()
        with contextlib.suppress(ValueError):
            if len(words) >= 2 and words[0] in ("MemTotal:", "MemAvailable:"):
                memory[words[0]] = int(words[1])
            elif len(words) >= 10 and words[0].startswith("cpu"):
                run_ns, turns, cpus = run_ns + int(words[7]), turns + int(words[9]), cpus + 1
    total, available = memory.get("MemTotal:"), memory.get("MemAvailable:")
    return Counters(
        memory_used_kib=total - available if total is not None and available is not None else None,
        memory_kib=total,
        run_ns=run_ns if cpus else None,
        turns=turns if cpus else None,
    )


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _mean(values: list[float]) -> float | None:
    return sum(values) / len(values) if values else None
