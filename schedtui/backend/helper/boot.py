"""What a guest's first process does before anything of ours can run there: the kernel's own file systems, and whether
the clock is right. The standard library only.
"""

from __future__ import annotations

import ctypes
import os
import time

CLOCK_WRONG = "SCHEDTUI CLOCK WRONG: "
CLOCK_TOLERANCE = 0.1
_CLOCK_S = 0.3
_MOUNTS = (
    ("proc", "/proc"),
    ("sysfs", "/sys"),
    ("devtmpfs", "/dev"),
    ("tmpfs", "/tmp"),
    ("cgroup2", "/sys/fs/cgroup"),
    ("bpf", "/sys/fs/bpf"),
    ("debugfs", "/sys/kernel/debug"),
    ("tracefs", "/sys/kernel/tracing"),
)


def mount() -> None:
    """What the kernel offers as files, at the usual places; what it does not have is left out."""
    libc = ctypes.CDLL(None, use_errno=True)
    for kind, where in _MOUNTS:
        libc.mount(kind.encode(), where.encode(), kind.encode(), 0, None)


def tell_wrong_clock() -> None:
    """Say on the console when the guest is of no use, because its kernel measured its clock wrongly."""
    rate = _scheduler_clock_rate()
    if abs(rate - 1) > CLOCK_TOLERANCE:
        print(f"{CLOCK_WRONG}{rate:.2f}", flush=True)


def _scheduler_clock_rate() -> float:
    """How fast the clock that the kernel schedules and finds lock-ups by runs, against the one that people's time is.

    A kernel that boots while its emulated CPUs are held up measures their time stamp counter wrongly, and then sees a
    CPU stuck for 20 s after a few. The kernel's log is stamped with that clock. 1.0 where there is no log to read.
    """
    try:
        log = os.open("/dev/kmsg", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return 1.0
    try:
        first = _stamps(log)
        time.sleep(_CLOCK_S)
        second = _stamps(log)
    finally:
        os.close(log)
    return (second[0] - first[0]) / (second[1] - first[1])


def _stamps(log: int) -> tuple[float, float]:
    """Seconds of the kernel's scheduler clock, and of its monotonic clock, at the same moment."""
    os.lseek(log, 0, os.SEEK_END)
    os.write(log, b"schedtui reads the clock\n")
    now = time.monotonic()
    record = os.read(log, 8192)
    return int(record.split(b",", 3)[2]) / 1e6, now
