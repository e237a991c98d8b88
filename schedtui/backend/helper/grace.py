"""Keeps the kernel's RCU grace periods out of reach of the scheduler that it is to take out.

To take a scheduler out, the kernel (scx_disable_workfn in kernel/sched/ext.c) waits for three grace periods. The
threads that drive those are normal tasks: beside 200 busy ones each wait took 1.5 to 3 s in a guest (seen on 6.18),
and 0.02 s with the threads in the real-time class, where the kernel itself puts them with rcutree.kthread_prio=1.
"""

from __future__ import annotations

import contextlib
import os
import threading
from pathlib import Path

_NAMES = ("rcu_preempt", "rcu_sched", "rcu_exp_gp_kthread_worker", "rcu_exp_par_gp_kthread_worker/")
_PF_KTHREAD = 0x00200000
"""linux/sched.h: no user's program can call itself so and gain anything."""
_FLAGS = 6
"""Its place behind the name in /proc/PID/stat."""


class GracePeriods:
    """The kernel's threads for it, and which of them this process has raised. For any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._threads = list(_found())
        self._raised: list[int] = []

    def hurry(self) -> None:
        """Put them into the real-time class, at its lowest priority. Without the right to, nothing changes."""
        with self._lock:
            for pid in self._threads:
                with contextlib.suppress(OSError):
                    if os.sched_getscheduler(pid) == os.SCHED_OTHER:
                        os.sched_setscheduler(pid, os.SCHED_FIFO, os.sched_param(1))
                        self._raised.append(pid)

    def rest(self) -> None:
        """Put those back that were raised here."""
        with self._lock:
            for pid in self._raised:
                with contextlib.suppress(OSError):
                    os.sched_setscheduler(pid, os.SCHED_OTHER, os.sched_param(0))
            self._raised.clear()


def _found() -> list[int]:
    """They are made while the kernel boots and never end, so that their numbers stay theirs."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError, ValueError, IndexError):
            before, _, after = path.read_bytes().decode(errors="replace").rpartition(")")
            name = before.partition("(")[2]
            if name.startswith(_NAMES) and int(after.split()[_FLAGS]) & _PF_KTHREAD:
                found.append(int(path.parent.name))
    return found
