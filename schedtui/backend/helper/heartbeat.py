"""Notices from the real-time class that normal tasks are not run any more: the helper's own watch.

A child of the normal class, and so under whatever scheduler was loaded, sends back each byte that it gets. As long as
something of ours is held it is asked ten times a second; otherwise nothing wakes up. What becomes of the scheduler is
left to whoever is told (control.py).
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

BEAT_S = 0.1
LATE_S = 1.0
"""An answer that takes longer is the end of the scheduler."""
_LONGEST_TICK_S = 0.3
"""More than this between two looks is not counted: the computer slept, or this process was stopped."""
_GONE = "TtZX"
"""Stopped, traced, dead."""
_CATS = ("/usr/bin/cat", "/bin/cat", "/run/current-system/sw/bin/cat")
_ECHO = "import os\nwhile data := os.read(0, 64): os.write(1, data)"


class Heartbeat:
    """The child and what is outstanding. For one thread, which calls ``late_s`` each BEAT_S."""

    def __init__(self) -> None:
        self.pid = 0
        """Of the child; 0 while there is none."""
        self._ask = self._answers = -1
        self._ended: list[int] = []
        """Killed, and not waited for yet: one that is starved dies late."""
        self._asked = False
        self._late_s = 0.0
        self._looked = 0.0

    def late_s(self) -> float:
        """For how long the child was asked, wanted to run and could not. 0.0 while it answers, or has only begun.

        A child that was killed or stopped is replaced; one that waits for the disk, or was frozen, is waited for: that
        is nobody's fault who schedules.
        """
        now = time.monotonic()
        passed_s, self._looked = min(now - self._looked, _LONGEST_TICK_S), now
        self._reap()
        state = _state(self.pid)
        if state in _GONE:
            self.close()
            self._begin()
        elif not self._asked or self._has_answered():
            self._asked, self._late_s = True, 0.0
            with contextlib.suppress(OSError):  # it died just now: the next look begins anew
                os.write(self._ask, b".")
        elif state == "R":
            self._late_s += passed_s
        return self._late_s

    def close(self) -> None:
        """End the child."""
        if self.pid:
            os.close(self._ask)
            os.close(self._answers)
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
            self._ended.append(self.pid)
            self.pid = 0
        self._reap()

    def _begin(self) -> None:
        self._asked, self._late_s = False, 0.0
        asks, self._ask = os.pipe2(os.O_CLOEXEC)
        self._answers, answers = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(self._answers, False)
        self.pid = os.fork()
        if not self.pid:
            _become_echo(asks, answers)
        os.close(asks)
        os.close(answers)

    def _has_answered(self) -> bool:
        try:
            return bool(os.read(self._answers, 64))
        except BlockingIOError:
            return False

    def _reap(self) -> None:
        for each in list(self._ended):
            with contextlib.suppress(ChildProcessError):
                if os.waitpid(each, os.WNOHANG) == (0, 0):
                    continue
            self._ended.remove(each)


def watch(held: Callable[[], bool], wait: Callable[[], None], starved: Callable[[float], None]) -> None:
    """Look each BEAT_S while something is ``held``, else ``wait``; tell ``starved`` how many seconds.

    For a thread of its own in the real-time class; never returns.
    """
    pause = threading.Event()
    heart = Heartbeat()
    while True:
        wait()
        while held():
            late_s = heart.late_s()
            if late_s >= LATE_S:
                starved(late_s)
            pause.wait(BEAT_S)


def _become_echo(asks: int, answers: int) -> None:
    """In the child: nothing of the helper stays open in it, which would keep a scheduler attached."""
    try:
        os.dup2(asks, 0)
        os.dup2(answers, 1)
        os.closerange(2, os.sysconf("SC_OPEN_MAX"))
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
        for each in _CATS:
            with contextlib.suppress(OSError):
                os.execve(each, ["cat"], {})
        os.execve(sys.executable, ["python3", "-I", "-S", "-c", _ECHO], {})
    finally:
        os._exit(1)


def _state(pid: int) -> str:
    """The kernel's letter: R it runs or wants to, S it waits for a question or is frozen, D for the disk, …"""
    if not pid:
        return "X"
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (OSError, IndexError):
        return "X"
