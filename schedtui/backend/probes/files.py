"""Reading small kernel files often and cheaply: through one descriptor that is kept, without a new open each time.

What the bytes mean is left to the probes.
"""

from __future__ import annotations

import os
from pathlib import Path


class KeptFile:
    """A file of /proc or /sys that is read again and again from its beginning.

    Raises OSError where the file cannot be opened or its object (a task, a scheduler) is gone.
    """

    def __init__(self, path: str | Path, size: int = 4096) -> None:
        self._size = size
        self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def read(self) -> bytes:
        """All of it, for files that the kernel hands out in one piece."""
        data = os.pread(self._fd, self._size, 0)
        while len(data) == self._size:
            self._size *= 2
            data = os.pread(self._fd, self._size, 0)
        return data

    def read_pieces(self) -> bytes:
        """All of it, for files that the kernel hands out a page at a time."""
        pieces = []
        offset = 0
        while piece := os.pread(self._fd, 1 << 16, offset):
            pieces.append(piece)
            offset += len(piece)
        return b"".join(pieces)

    def close(self) -> None:
        """Give the descriptor back; may be called twice."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def read_small(path: str | Path) -> bytes:
    """The first 4 KiB of a file, stripped: as much as a file of sysfs can hold. Raises OSError."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(fd, 4096).strip()
    finally:
        os.close(fd)


def read_number(path: str | Path) -> int | None:
    """A file that holds one decimal number; None when it is not there or holds something else."""
    try:
        return int(read_small(path))
    except (OSError, ValueError):
        return None


def parse_cpu_list(text: bytes) -> tuple[int, ...]:
    """CPU numbers of the kernel's list format, ``0-3,8``; raises ValueError for anything else."""
    cpus: list[int] = []
    for part in text.strip().split(b","):
        if part:
            first, _, last = part.partition(b"-")
            cpus.extend(range(int(first), int(last or first) + 1))
    return tuple(cpus)
