"""Keeps the helper's memory where it is, so that neither a page fault nor a child makes it wait for a starved task.

A fault takes the address space's lock, and others hold that lock too: the kernel's huge-page daemon (nice 19), or
anyone who reads /proc/PID/cmdline. Those are normal tasks. Under a scheduler that gives them little, a helper that
faults waited up to 15 s for one, though it is in the real-time class itself (seen on 6.18).

Python starts programs by vfork, which lends the memory to the child: until that has begun, the thread that started it
stands still with the interpreter's lock, and so do all others. The child is a normal task, and may never begin.
"""

from __future__ import annotations

import ctypes
import subprocess
import threading

_PR_SET_THP_DISABLE = 41
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8
_LARGE_BYTES = 64 << 10
_MCL_CURRENT, _MCL_FUTURE, _MCL_ONFAULT = 1, 2, 4
_STACK_BYTES = 512 << 10
_LEAN_STACK_BYTES = 192 << 10


def hold_memory(*, lean: bool = False) -> bool:
    """Lock all pages of this process, now and later, and keep the huge-page daemon away from it.

    ``lean``: of the libraries' pages only those that were used so far, and each other one from its first use on, which
    on kernels with sched_ext takes no lock that others hold (they lock each mapping by itself). Call it before threads
    are made: their stacks are made small, because they are locked too. Returns whether the kernel allowed the lock;
    without it everything still works, but may have to wait.
    """
    setattr(subprocess, "_USE_VFORK", False)  # noqa: B010 - the documented switch, which its type calls final
    libc = ctypes.CDLL(None, use_errno=True)
    threading.stack_size(_LEAN_STACK_BYTES if lean else _STACK_BYTES)
    libc.mallopt(_M_ARENA_MAX, 1)
    libc.prctl(_PR_SET_THP_DISABLE, 1, 0, 0, 0)
    if lean:
        # Fixed, so that what is as large as the kernel's types goes back when it is freed; locked pages never do.
        libc.mallopt(_M_MMAP_THRESHOLD, _LARGE_BYTES)
        libc.mallopt(_M_TRIM_THRESHOLD, _LARGE_BYTES)
        return bool(libc.mlockall(_MCL_CURRENT | _MCL_ONFAULT) == 0 and libc.mlockall(_MCL_FUTURE) == 0)
    return bool(libc.mlockall(_MCL_CURRENT | _MCL_FUTURE) == 0)
