"""Which tasks stand in the run queue, and for how long: the run delay of /proc/PID/task/TID/schedstat.

A machine has thousands of tasks and few that wait. Those few are *hot*: their files stay open and are read every
frame. The rest is swept a part at a time, so that a frame costs the same whatever runs; a task that starts to
wait is therefore seen within a sweep (eight frames, longer on a machine with very many tasks).
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from schedtui.backend.histogram import SLOTS, slot_of
from schedtui.backend.model import TaskWait
from schedtui.backend.probes.files import KeptFile, read_small

ROOT = Path("/")
SWEEP_FRAMES = 8
MIN_SWEPT, MAX_SWEPT = 24, 96
"""Tasks read in one frame beside the hot ones."""
MAX_SWEPT_AT_START = 512
"""Tasks read for the first frame, which should not have to wait for a whole sweep."""
MAX_HOT = 48
"""Hot tasks, and so open descriptors."""
MAX_NEW = 32
"""New processes looked at in one frame, and again in the next, before the sweep comes to them."""
SHOWN = 10
SHOWN_NS_PER_S = 10_000
HOT_NS_PER_S = 50_000
"""A task that waits more than this is hot."""
QUIET_FRAMES = 6
"""Frames without waiting after which a task is hot no more."""
RENAMED_S = 3.0
"""How long a name is believed: programs start under the name of what started them."""
INTERPRETERS = ("python", "node", "java", "ruby", "perl", "bash", "sh", "wine", "electron")


class Task:
    """One task (thread) and what it had used and waited when it was last read, in nanoseconds."""

    __slots__ = (
        "delay",
        "detail",
        "name",
        "named_at",
        "pid",
        "quiet",
        "read_at",
        "run",
        "run_rate",
        "slices",
        "tid",
        "wait_rate",
    )

    def __init__(self, pid: int, tid: int, reading: tuple[int, int, int], read_at: float) -> None:
        self.pid = pid
        self.tid = tid
        self.run, self.delay, self.slices = reading
        self.read_at = read_at
        self.name = ""
        self.detail = ""
        self.named_at = 0.0
        self.quiet = 0
        self.run_rate = 0.0
        self.wait_rate = 0.0


def parse_schedstat(data: bytes) -> tuple[int, int, int]:
    """Time on a CPU (ns), time in a run queue (ns), times it was given a CPU. Raises ValueError."""
    run, delay, slices = data.split()
    return int(run), int(delay), int(slices)


class TasksProbe:
    """The tasks that wait most. ``missing`` says why nothing is known of any, or is empty."""

    def __init__(self, now: float, root: Path = ROOT) -> None:
        self.missing = _why_unusable(root)
        self.waits = [0] * SLOTS
        """Waits that ended since the last sample, each task's at its own average: a histogram (see histogram.py)."""
        self._proc = f"{root / 'proc'}"
        self._now = now
        self._tasks: dict[int, Task] = {}
        self._hot: dict[int, KeptFile] = {}
        self._pids: set[int] = set()
        self._new: list[int] = []
        self._walk = self._sweep()
        self._all_met = False
        if not self.missing:
            self._visit_next(MAX_SWEPT_AT_START)
        self._budget = MAX_SWEPT_AT_START

    def sample(self, now: float, forked: bool) -> tuple[TaskWait, ...]:
        """The worst waiters, first the worst. ``now``: monotonic seconds; ``forked``: tasks began since."""
        self.waits = [0] * SLOTS
        if self.missing:
            return ()
        self._now = now
        self._read_hot()
        for pid in self._new:
            self._visit(pid, pid)
        self._new = self._find_new() if forked else []
        self._visit_next(min(self._budget, len(self._tasks) + 1))
        self._budget = min(MAX_SWEPT, max(MIN_SWEPT, 1 + len(self._tasks) // SWEEP_FRAMES))
        return self._worst()

    def close(self) -> None:
        """Give the descriptors back."""
        for tid in tuple(self._hot):
            self._cool(tid)

    def _read_hot(self) -> None:
        for tid, file in tuple(self._hot.items()):
            task = self._tasks[tid]
            try:
                self._account(task, parse_schedstat(file.read()))
            except (OSError, ValueError):
                self._forget(tid)
                continue
            task.quiet = 0 if task.wait_rate >= HOT_NS_PER_S else task.quiet + 1
            if task.quiet > QUIET_FRAMES:
                self._cool(tid)

    def _account(self, task: Task, reading: tuple[int, int, int]) -> None:
        """Bring a task up to date: its rates over the time since it was last read, and its waits."""
        run, delay, slices = reading
        elapsed_s = self._now - task.read_at
        if elapsed_s <= 0:
            return
        waited, times = max(0, delay - task.delay), max(0, slices - task.slices)
        task.wait_rate = waited / elapsed_s
        task.run_rate = max(0, run - task.run) / elapsed_s
        task.run, task.delay, task.slices, task.read_at = run, delay, slices, self._now
        if times:
            self.waits[slot_of(waited // times)] += times

    def _find_new(self) -> list[int]:
        """Processes that the sweep has not met yet: what just began is what a person is likely to look for."""
        pids = _pids(self._proc)
        new = list(islice(pids - self._pids, MAX_NEW))
        for pid in new:
            self._visit(pid, pid)
        self._pids = pids
        return new

    def _visit_next(self, count: int) -> None:
        for _ in islice(self._walk, count):
            pass

    def _sweep(self) -> Iterator[None]:
        """Visits every task of the machine, round after round; stops after each, and after each round."""
        while True:
            seen = set()
            self._pids = _pids(self._proc)
            for pid in sorted(self._pids):
                for tid in _threads(self._proc, pid):
                    self._visit(pid, tid)
                    seen.add(tid)
                    yield
            for tid in [tid for tid in self._tasks if tid not in seen and tid not in self._hot]:
                self._forget(tid)
            self._all_met = True
            yield

    def _visit(self, pid: int, tid: int) -> None:
        if tid in self._hot:
            return
        task = self._tasks.get(tid)
        try:
            reading = parse_schedstat(read_small(f"{self._proc}/{pid}/task/{tid}/schedstat"))
        except (OSError, ValueError):
            self._forget(tid)
            return
        if task and task.pid == pid:
            self._account(task, reading)
        else:
            task = self._tasks[tid] = self._begin(pid, tid, reading)
        if task.wait_rate >= HOT_NS_PER_S:
            self._heat(task)

    def _begin(self, pid: int, tid: int, reading: tuple[int, int, int]) -> Task:
        """A task seen for the first time. One that began after us waited all its waits in our time."""
        task = Task(pid, tid, reading, self._now)
        _, delay, slices = reading
        if self._all_met and slices:
            self.waits[slot_of(delay // slices)] += slices
        return task

    def _heat(self, task: Task) -> None:
        """Keep its file open, in place of the hot task that waits least when there are too many."""
        if len(self._hot) >= MAX_HOT:
            least = min((self._tasks[tid] for tid in self._hot), key=_wait_rate)
            if least.wait_rate >= task.wait_rate:
                return
            self._cool(least.tid)
        folder = f"{self._proc}/{task.pid}/task/{task.tid}"
        try:
            self._name(task)
            self._hot[task.tid] = KeptFile(f"{folder}/schedstat", 96)
        except OSError:
            self._forget(task.tid)
            return
        task.quiet = 0

    def _name(self, task: Task) -> None:
        task.name, task.detail = _describe(self._proc, task.pid, task.tid)
        task.named_at = self._now

    def _cool(self, tid: int) -> None:
        if file := self._hot.pop(tid, None):
            file.close()

    def _forget(self, tid: int) -> None:
        self._cool(tid)
        self._tasks.pop(tid, None)

    def _worst(self) -> tuple[TaskWait, ...]:
        waiting = [task for task in map(self._tasks.__getitem__, self._hot) if task.wait_rate >= SHOWN_NS_PER_S]
        waiting.sort(key=_wait_rate, reverse=True)
        for task in waiting[:SHOWN]:
            if task.named_at < self._now - RENAMED_S:
                with contextlib.suppress(OSError):
                    self._name(task)
        return tuple(
            TaskWait(
                pid=task.tid,
                name=task.name,
                wait_ms_per_s=task.wait_rate / 1e6,
                run_ms_per_s=task.run_rate / 1e6,
                detail=task.detail,
            )
            for task in waiting[:SHOWN]
        )


def _wait_rate(task: Task) -> float:
    return task.wait_rate


def _pids(proc: str) -> set[int]:
    return {int(name) for name in os.listdir(proc) if name.isdigit()}  # noqa: PTH208 (a Path for each costs ten times as much)


def _threads(proc: str, pid: int) -> tuple[int, ...] | list[int]:
    """The task ids of a process; the folder's link count tells most processes, with one, apart without reading it."""
    folder = f"{proc}/{pid}/task"
    try:
        if os.stat(folder).st_nlink == 3:  # noqa: PTH116
            return (pid,)
        return [int(name) for name in os.listdir(folder)]  # noqa: PTH208
    except OSError:
        return ()


def _describe(proc: str, pid: int, tid: int) -> tuple[str, str]:
    """A task's name, and which process it belongs to or, of an interpreter, what it runs. Raises OSError."""
    name = _text(f"{proc}/{pid}/task/{tid}/comm")
    if pid != tid:
        process = _text(f"{proc}/{pid}/comm")
        return name, f"of {process}" if process != name else ""
    if name.startswith(INTERPRETERS):
        return name, _script(read_small(f"{proc}/{pid}/cmdline"))
    return name, ""


def _script(cmdline: bytes) -> str:
    """The file name of the first argument that is not an option."""
    for argument in cmdline.split(b"\0")[1:]:
        if argument and not argument.startswith(b"-"):
            return _printable(argument.rpartition(b"/")[2])[:40]
    return ""


def _text(path: str) -> str:
    return _printable(read_small(path))


def _printable(raw: bytes) -> str:
    """A task may call itself anything; control characters would reach the terminal."""
    return "".join(c if c.isprintable() else "·" for c in raw.decode(errors="replace"))


def _why_unusable(root: Path) -> str:
    """Our own task has run by now, so a kernel that keeps count shows it."""
    try:
        own = parse_schedstat(read_small(root / "proc/self/schedstat"))
    except (OSError, ValueError):
        return "this kernel keeps no run delay of tasks (/proc/PID/schedstat)"
    return "" if own[0] and own[2] else "this kernel does not count run delay; it lacks scheduler statistics"
