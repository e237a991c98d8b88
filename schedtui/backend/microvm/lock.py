"""One process at a time: a lock that ends with whoever holds it, however it ends."""

from __future__ import annotations

import contextlib
import fcntl
from collections.abc import Callable, Iterator
from pathlib import Path


@contextlib.contextmanager
def locked(path: Path, waiting: Callable[[], None] | None = None) -> Iterator[None]:
    """Hold the lock of this file, which is made and stays.

    ``waiting`` is called once when another process holds it; then its end is waited for. Without ``waiting``,
    raises BlockingIOError instead.
    """
    with path.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if waiting is None:
                raise
            waiting()
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield
