"""Timer overshoot: how late a tiny process of ours gets the CPU when it asks for it. The last resort of the three.

The process is separate so that our own interpreter's lock and work are not what is measured (overshoot_timer.py). It
writes into a shared page, and this side counts what is new.
"""

from __future__ import annotations

import mmap
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from schedtui.backend.histogram import SLOTS, slot_of
from schedtui.backend.model import Latency
from schedtui.backend.probes import overshoot_timer
from schedtui.backend.probes.latency import summarised


class TimerOvershoot:
    """40 measurements a second, for less than 0.3 % of one CPU."""

    def __init__(self) -> None:
        self.missing = ""
        self._seen = 0
        self._process: subprocess.Popen[bytes] | None = None
        memory = os.memfd_create("timer-overshoot")
        try:
            os.ftruncate(memory, overshoot_timer.BYTES)
            self._words = memoryview(mmap.mmap(memory, overshoot_timer.BYTES)).cast("Q")
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", str(Path(overshoot_timer.__file__)), str(memory), str(os.getpid())],
                pass_fds=(memory,),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                cwd="/",
                start_new_session=True,
            )
        except OSError as error:
            self.missing = f"the timer's process could not be started: {error}"
        finally:
            os.close(memory)

    def sample(self) -> Latency | None:
        """The overshoots since the last call; the oldest are lost when that was more than six seconds ago."""
        if self._process is None:
            return None
        if self._process.poll() is not None:
            self.missing = "the timer's process has ended"
            return None
        written = self._words[0]
        slots = [0] * SLOTS
        for number in range(max(self._seen, written - overshoot_timer.RING), written):
            slots[slot_of(self._words[1 + number % overshoot_timer.RING])] += 1
        self._seen = written
        return summarised("timer-overshoot", slots)

    def cpu_p99_us(self) -> dict[int, float]:
        """One process cannot be on every CPU."""
        return {}

    def task_p99_us(self, tids: Sequence[int]) -> dict[int, float]:
        """Only our own task is measured."""
        return {}

    def close(self) -> None:
        """End the process; may be called twice."""
        if self._process:
            self._process.kill()
            self._process.wait()
            self._process = None
