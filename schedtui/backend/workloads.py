"""Loads that can be started on a machine to see its scheduler at work.

Each runs as ordinary tasks (SCHED_OTHER, nice 0) in processes of its own, and measures itself in one page of shared
memory, so that nothing it does waits for whoever reads it.

All of them are forked by a *spawner*, a child made while its parent has neither threads nor BPF links, so that no load
can inherit one and keep a scheduler attached. Every process here asks the kernel to be killed when its parent dies;
the spawner adopts what its children leave behind, and ends when the socket to its own parent closes.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import signal
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from functools import partial
from typing import NoReturn

from schedtui.backend.errors import HelperGone, NotPermitted, SchedtuiError, UnknownName
from schedtui.backend.model import WorkloadStatus

KINDS: dict[str, str] = {
    "hogs": "Background hogs: a busy loop for each CPU and one more",
    "frames": "A game-like loop: work for a quarter of each 16.7 ms frame, and count the late ones",
    "forks": "A build-like storm: short processes, as many at once as a parallel build",
}

MAX_LOADS = 4
MANY_CPUS = 16
"""With more CPUs than this, a few real ones carry the lab: a hog for each would stop everything."""
TASKS_ON_MANY = 8

FRAME_NS = 16_666_667
FRAME_WORK_NS = 4_000_000
JOB_MS = (5, 50)
HOG_ROUND = 5000

_ANSWER_S = 20.0
_RATE_S = 5.0
_PAGE = 4096
_WORDS = _PAGE // 8
_RING = 300
"""Frames remembered: five seconds of them."""
_PR_SET_PDEATHSIG, _PR_SET_NAME, _PR_SET_CHILD_SUBREAPER = 1, 15, 36

Page = memoryview
"""A load's own page. Word 0 counts what it has done (of ``hogs``, which are several, word n what hog n has); of
``frames``, words 1 to 300 are the last lengths in µs."""


class Workloads:
    """Starts, reads and ends loads. Its methods may be called from any thread."""

    def __init__(self, spawner: int, channel: socket.socket, pages: list[Page]) -> None:
        self._spawner = spawner
        self._channel = channel
        self._pages = pages
        self._lock = threading.Lock()
        self._running: list[tuple[str, int]] = []
        self._jobs: deque[tuple[float, int]] = deque()

    @classmethod
    def prepare(cls) -> Workloads:
        """Fork the spawner. Call it before this process has threads or BPF links, from the thread that lives longest.

        When that thread ends, so do the loads.
        """
        prctl = _find_prctl()
        memory = mmap.mmap(-1, MAX_LOADS * _PAGE)
        words = memoryview(memory).cast("Q")
        pages = [words[n * _WORDS : (n + 1) * _WORDS] for n in range(MAX_LOADS)]
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        parent = os.getpid()
        spawner = os.fork()
        if not spawner:
            _become(prctl, "load-spawner", parent)
            _Spawner(prctl, theirs.detach(), pages).serve()
        theirs.close()
        ours.settimeout(_ANSWER_S)
        return cls(spawner, ours, pages)

    def start(self, kind: str) -> None:
        """Start one load, or another of the same kind. Raises UnknownName, NotPermitted (too many), HelperGone."""
        if kind not in KINDS:
            raise UnknownName(f"There is no load called “{kind}”.", f"Choose one of {', '.join(KINDS)}.")
        with self._lock:
            if len(self._running) >= MAX_LOADS:
                raise NotPermitted(f"{MAX_LOADS} loads already run, and more are not started.", "Stop them first.")
            page = len(self._running)
            self._pages[page][:] = memoryview(bytes(_PAGE)).cast("Q")
            self._running.append((kind, int(self._ask(f"{kind} {page}"))))

    def status(self) -> tuple[WorkloadStatus, ...]:
        """What runs, one for each kind, and what it measured over the last five seconds."""
        with self._lock:
            return tuple(
                WorkloadStatus(
                    kind=kind,
                    tasks=sum(tasks for other, tasks in self._running if other == kind),
                    metrics=self._metrics(kind),
                )
                for kind in dict.fromkeys(kind for kind, _ in self._running)
            )

    def work(self) -> dict[str, int]:
        """By kind, what its loads have done since they were started: frames, jobs, rounds of the hogs' loop."""
        with self._lock:
            done: dict[str, int] = {}
            for page, (kind, tasks) in zip(self._pages, self._running, strict=False):
                own = sum(page[1 : 1 + tasks]) if kind == "hogs" else page[0]
                done[kind] = done.get(kind, 0) + own
            return done

    def stop(self) -> None:
        """End them all; when it returns, none is left. When the spawner is gone, so are they."""
        with self._lock, contextlib.suppress(HelperGone):
            if self._running:
                self._ask("stop")
                self._forget()

    def close(self) -> None:
        """End the loads and the spawner; may be called twice."""
        self._channel.close()
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self._spawner, 0)

    def _ask(self, command: str) -> str:
        try:
            self._channel.send(command.encode())
            answer = self._channel.recv(256).decode()
        except OSError as error:
            self._give_up()
            raise HelperGone(f"The process that starts loads does not answer: {error}.", _REOPEN) from error
        if not answer:
            self._give_up()
            raise HelperGone("The process that starts loads is gone, and the loads with it.", _REOPEN)
        if not answer.isdigit():
            raise SchedtuiError(answer, "Stop other loads, or give the machine more memory.")
        return answer

    def _give_up(self) -> None:
        """A spawner that does not answer ends, with its loads, as soon as it finds its channel closed."""
        self._channel.close()
        self._forget()

    def _forget(self) -> None:
        self._running.clear()
        self._jobs.clear()

    def _metrics(self, kind: str) -> dict[str, float]:
        pages = [page for page, (other, _) in zip(self._pages, self._running, strict=False) if other == kind]
        if kind == "frames":
            return frame_metrics(pages)
        if kind == "forks":
            return self._job_metrics(sum(page[0] for page in pages))
        return {}

    def _job_metrics(self, done: int) -> dict[str, float]:
        now = time.monotonic()
        while self._jobs and self._jobs[0][0] < now - _RATE_S:
            self._jobs.popleft()
        self._jobs.append((now, done))
        began, before = self._jobs[0]
        if now == began:
            return {}
        return {"jobs_per_s": max(0, done - before) / (now - began)}


def frame_metrics(pages: Iterable[Page]) -> dict[str, float]:
    """Of the last 300 frames of each loop: how many were late (in %), and the 99th percentile of their length in ms.

    A frame's length runs from when it was due, so it holds the wait for a CPU. Late means not done before the next one.
    """
    total = 0
    lengths_us: list[int] = []
    for page in pages:
        total += page[0]
        lengths_us += page[1 : 1 + min(page[0], _RING)]
    if not lengths_us:
        return {"frames": 0.0}
    lengths_us.sort()
    late = sum(us * 1000 > FRAME_NS for us in lengths_us)
    return {
        "frames": float(total),
        "late_percent": 100 * late / len(lengths_us),
        "frame_p99_ms": lengths_us[(len(lengths_us) * 99 - 1) // 100] / 1000,
    }


_REOPEN = "Close this machine and open it again."

Prctl = Callable[[int, object], int]


def _find_prctl() -> Prctl:
    """The C library's function; loaded once, before any fork."""
    import ctypes

    function: Prctl = ctypes.CDLL(None, use_errno=True).prctl
    return function


def _become(prctl: Prctl, name: str, parent: int) -> None:
    """Take a name that a person recognises in a list of tasks, and die with the parent."""
    prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(0)
    prctl(_PR_SET_NAME, name.encode())


def _make_ordinary() -> None:
    """The class, priority and CPUs of any other task, whatever the helper runs as."""
    os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, 0)
    with contextlib.suppress(OSError):
        os.sched_setaffinity(0, range(os.cpu_count() or 1))


class _Spawner:
    """The process that forks the loads, waits for orders, and reaps."""

    def __init__(self, prctl: Prctl, channel: int, pages: list[Page]) -> None:
        self._prctl = prctl
        self._pages = pages
        self._groups: list[int] = []
        nowhere = os.open(os.devnull, os.O_RDWR)
        for descriptor in (0, 1, 2):
            os.dup2(nowhere, descriptor)
        os.dup2(channel, 3)
        os.closerange(4, 1 << 16)
        self._channel = socket.socket(fileno=3)

    def serve(self) -> NoReturn:
        os.setsid()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGCHLD):
            signal.signal(number, signal.SIG_DFL)
        self._prctl(_PR_SET_CHILD_SUBREAPER, 1)
        with contextlib.suppress(OSError):  # answers even when a scheduler starves ordinary tasks; only root may
            os.sched_setscheduler(0, os.SCHED_FIFO | os.SCHED_RESET_ON_FORK, os.sched_param(1))
        try:
            while order := self._channel.recv(256).decode():
                self._channel.send(self._obey(order).encode())
        finally:
            self._end()
            os._exit(0)

    def _obey(self, order: str) -> str:
        if order == "stop":
            self._end()
            return "0"
        kind, _, page = order.partition(" ")
        before = len(self._groups)
        try:
            return str(self._start(kind, self._pages[int(page)]))
        except OSError as error:
            self._end(before)
            return f"The load could not be started: {error}."

    def _start(self, kind: str, page: Page) -> int:
        """Forks the load's processes, in a group of their own; returns how many tasks it runs."""
        cpus = os.cpu_count() or 1
        if kind == "hogs":
            count = cpus + 1 if cpus <= MANY_CPUS else TASKS_ON_MANY
            for n in range(count):
                self._fork("load-hog", partial(_burn_for_ever, page, 1 + n), new_group=n == 0)
            return count
        if kind == "frames":
            self._fork("load-frames", lambda: _draw_frames(page), new_group=True)
            return 1
        parallel = 2 * cpus if cpus <= MANY_CPUS else TASKS_ON_MANY
        self._fork("load-forks", lambda: _run_jobs(self._prctl, page, parallel), new_group=True)
        return parallel

    def _fork(self, name: str, work: Callable[[], None], *, new_group: bool) -> None:
        spawner = os.getpid()
        child = os.fork()
        if child:
            if new_group:
                self._groups.append(child)
            os.setpgid(child, self._groups[-1])
            return
        try:
            _become(self._prctl, name, spawner)
            self._channel.close()
            _make_ordinary()
            work()
        finally:
            os._exit(1)

    def _end(self, first: int = 0) -> None:
        """Kill and reap the groups from number ``first`` on; what a dead leader leaves behind is ours by then."""
        ending, self._groups = self._groups[first:], self._groups[:first]
        for group in ending:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(group, signal.SIGKILL)
        for group in ending:
            with contextlib.suppress(ChildProcessError):
                while True:
                    os.waitpid(-group, 0)


def _burn_for_ever(page: Page, place: int) -> None:
    """A busy loop that counts its rounds: the same work each, about a millisecond on an emulated CPU."""
    while True:
        for _ in range(HOG_ROUND):
            pass
        page[place] += 1


def _burn(cpu_ns: int) -> None:
    """Use so much CPU time: the same work on a fast machine and on a slow one."""
    end = time.thread_time_ns() + cpu_ns
    while time.thread_time_ns() < end:
        for _ in range(200):
            pass


def _draw_frames(page: Page) -> None:
    """60 frames a second: work, note how long it took since the frame was due, sleep until the next."""
    due = time.monotonic_ns()
    for number in range(1 << 62):
        _burn(FRAME_WORK_NS)
        length = time.monotonic_ns() - due
        page[1 + number % _RING] = length // 1000
        page[0] = number + 1
        due += FRAME_NS * max(1, -(-length // FRAME_NS))
        time.sleep(max(0, due - time.monotonic_ns()) / 1e9)


def _run_jobs(prctl: Prctl, page: Page, parallel: int) -> None:
    """Keeps ``parallel`` short jobs going, each a process, of 5 to 50 ms in a fixed but uneven order."""
    own = os.getpid()
    shortest, longest = JOB_MS
    running = 0
    for number in range(1 << 62):
        if running == parallel:
            os.wait()
            page[0] += 1
            running -= 1
        running += 1
        if not os.fork():
            try:
                _become(prctl, "load-job", own)
                _burn((shortest + number * 37 % (longest - shortest + 1)) * 1_000_000)
            finally:
                os._exit(0)
