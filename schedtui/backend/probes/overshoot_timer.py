"""A program of its own, started by overshoot.py: sleeps until a deadline, again and again, and notes how late it woke.

Imports almost nothing, so that it is small and its wake-up is all that it does. It ends when its parent has.
"""

from __future__ import annotations

import mmap
import os
import sys
import time

PERIOD_NS = 25_000_000
RING = 255
BYTES = 8 * (1 + RING)
"""Shared memory: how many were written, then the last 255 of them, in nanoseconds; each an unsigned 64-bit number."""


def main(memory: int, parent: int) -> None:
    """Until the parent is gone."""
    words = memoryview(mmap.mmap(memory, BYTES)).cast("Q")
    with open("/proc/self/timerslack_ns", "w") as slack:  # noqa: PTH123 - pathlib would double this program's size
        slack.write("1")
    due = time.monotonic_ns()
    written = 0
    while os.getppid() == parent:
        due += PERIOD_NS
        time.sleep(max(0, due - time.monotonic_ns()) / 1e9)
        late = max(0, time.monotonic_ns() - due)
        words[1 + written % RING] = late
        written += 1
        words[0] = written
        if late > PERIOD_NS:
            due += late


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
