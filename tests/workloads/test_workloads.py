"""Loads: they run, they measure themselves, and nothing of them is ever left behind."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from schedtui.backend.errors import HelperGone, NotPermitted, UnknownName
from schedtui.backend.workloads import FRAME_NS, KINDS, MAX_LOADS, Workloads, frame_metrics
from tests.conftest import until

OWNER = """
import os, sys, time
os.nice(5)
from schedtui.backend.workloads import Workloads
loads = Workloads.prepare()
for kind in sys.argv[1:]: loads.start(kind)
print(os.getpid(), flush=True)
time.sleep(60)
"""


def children_of(ancestor: int) -> dict[int, str]:
    """Name by process id of everything alive below a process."""
    parents: dict[int, tuple[int, str]] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            head, _, rest = (folder / "stat").read_text().rpartition(") ")
        except OSError:
            continue
        state, parent, *_ = rest.split()
        if state != "Z":
            parents[int(folder.name)] = (int(parent), head.partition("(")[2])
    found: dict[int, str] = {}
    while new := {pid: name for pid, (up, name) in parents.items() if up in {ancestor, *found} and pid not in found}:
        found |= new
    return found


def alive(pids: set[int]) -> set[int]:
    """Those that still run; the dead that nobody has reaped yet do not count."""

    def runs(pid: int) -> bool:
        try:
            return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] != "Z"
        except OSError:
            return False

    return {pid for pid in pids if runs(pid)}


def kill(pids: set[int]) -> bool:
    """Clean up after a failure, so that no busy loop outlives the test that found it; always false."""
    for pid in alive(pids):
        os.kill(pid, signal.SIGKILL)
    return False


@pytest.fixture
def loads() -> Iterator[Workloads]:
    workloads = Workloads.prepare()
    yield workloads
    workloads.close()


def names_below() -> list[str]:
    return sorted(name for name in children_of(os.getpid()).values() if name.startswith("load-"))


def test_hogs_are_one_for_each_cpu_and_one_more(loads: Workloads) -> None:
    loads.start("hogs")
    count = (os.cpu_count() or 1) + 1
    assert until(lambda: names_below() == ["load-hog"] * count + ["load-spawner"])
    assert [(load.kind, load.tasks) for load in loads.status()] == [("hogs", count)]


def test_the_frame_loop_counts_its_frames_and_the_late_ones(loads: Workloads) -> None:
    loads.start("frames")
    assert until(lambda: loads.status()[0].metrics.get("frames", 0) > 20)
    metrics = loads.status()[0].metrics
    assert 0 <= metrics["late_percent"] <= 100
    assert metrics["frame_p99_ms"] >= 4


def test_the_fork_storm_counts_its_jobs(loads: Workloads) -> None:
    loads.start("forks")
    assert until(lambda: loads.status()[0].metrics.get("jobs_per_s", 0) > 0)
    assert "load-forks" in names_below()


def test_the_work_of_each_kind_is_counted(loads: Workloads) -> None:
    for kind in KINDS:
        loads.start(kind)
    first = loads.work()
    assert set(first) == set(KINDS)
    assert until(lambda: all(done > first[kind] for kind, done in loads.work().items()))
    loads.stop()
    assert loads.work() == {}


def test_the_same_load_twice_is_one_line_with_all_its_tasks(loads: Workloads) -> None:
    loads.start("frames")
    loads.start("frames")
    assert [(load.kind, load.tasks) for load in loads.status()] == [("frames", 2)]


def test_loads_are_ordinary_tasks_on_every_cpu_whatever_their_owner_is() -> None:
    code = OWNER.replace("os.nice(5)", "os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])\nos.nice(5)")
    owner = subprocess.Popen([sys.executable, "-c", code, "frames"], stdout=subprocess.PIPE)
    try:
        assert owner.stdout
        owner.stdout.readline()
        assert until(lambda: "load-frames" in children_of(owner.pid).values())
        (frames,) = (pid for pid, name in children_of(owner.pid).items() if name == "load-frames")
        assert until(lambda: len(os.sched_getaffinity(frames)) == os.cpu_count())
        assert os.sched_getscheduler(frames) == os.SCHED_OTHER
        if os.geteuid() == 0:
            assert os.getpriority(os.PRIO_PROCESS, frames) == 0
    finally:
        owner.kill()
        owner.communicate()


def test_stopping_leaves_nothing_but_the_spawner(loads: Workloads) -> None:
    for kind in KINDS:
        loads.start(kind)
    loads.stop()
    assert names_below() == ["load-spawner"]
    assert loads.status() == ()
    loads.stop()


def test_after_stopping_they_start_anew_and_count_from_zero(loads: Workloads) -> None:
    loads.start("frames")
    assert until(lambda: loads.status()[0].metrics.get("frames", 0) > 5)
    loads.stop()
    began = time.monotonic()
    loads.start("frames")
    frames = loads.status()[0].metrics["frames"]
    assert frames <= (time.monotonic() - began) * 1e9 / FRAME_NS + 1


def test_closing_ends_the_spawner_too() -> None:
    loads = Workloads.prepare()
    loads.start("forks")
    loads.close()
    loads.close()
    assert names_below() == []


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_nothing_survives_the_death_of_the_owner(number: int) -> None:
    owner = subprocess.Popen([sys.executable, "-c", OWNER, *KINDS], stdout=subprocess.PIPE)
    assert owner.stdout
    owner.stdout.readline()
    assert until(lambda: "load-job" in children_of(owner.pid).values())
    below = set(children_of(owner.pid))
    owner.send_signal(number)
    owner.wait()
    owner.stdout.close()
    assert until(lambda: not alive(below)) or kill(below)


def test_when_the_spawner_is_killed_its_loads_die_and_the_next_start_says_so() -> None:
    loads = Workloads.prepare()
    loads.start("hogs")
    assert until(lambda: names_below().count("load-spawner") == 1)
    below = children_of(os.getpid())
    (spawner,) = (pid for pid, name in below.items() if name == "load-spawner")
    os.kill(spawner, signal.SIGKILL)
    hogs = {pid for pid, name in below.items() if name == "load-hog"}
    assert until(lambda: not alive(hogs)) or kill(hogs)
    with pytest.raises(HelperGone):
        loads.start("frames")
    assert loads.status() == ()
    loads.stop()
    loads.close()


def test_there_is_a_limit_to_them(loads: Workloads) -> None:
    for _ in range(MAX_LOADS):
        loads.start("frames")
    with pytest.raises(NotPermitted, match="already run"):
        loads.start("frames")
    assert loads.status()[0].tasks == MAX_LOADS


def test_an_unknown_load_is_refused_with_the_known_ones(loads: Workloads) -> None:
    with pytest.raises(UnknownName) as refusal:
        loads.start("mining")
    assert "hogs" in refusal.value.remedy
    assert loads.status() == ()


def test_loads_hold_none_of_their_owners_descriptors() -> None:
    read_end, write_end = os.pipe()
    os.set_inheritable(write_end, True)
    loads = Workloads.prepare()
    loads.start("hogs")
    os.close(write_end)
    assert select.select([read_end], [], [], 60)[0], "nobody holds its other end open"
    assert os.read(read_end, 1) == b""
    os.close(read_end)
    loads.close()


def test_late_frames_are_those_longer_than_a_frame() -> None:
    page = memoryview(bytearray(4096)).cast("Q")
    lengths = [4000] * 97 + [int(FRAME_NS / 1000) + 1] * 3
    page[1 : 1 + len(lengths)] = memoryview(b"".join(us.to_bytes(8, "little") for us in lengths)).cast("Q")
    page[0] = len(lengths)
    metrics = frame_metrics([page])
    assert (metrics["frames"], metrics["late_percent"]) == (100.0, 3.0)
    assert metrics["frame_p99_ms"] > 16.6
