"""What `locality`, `powersave` and `periodic` promise, seen by what they do on a real kernel."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from schedtui.backend.deploy import apply, resolve
from schedtui.backend.lab import LabMachine
from schedtui.backend.library.catalogue import load_library
from schedtui.backend.model import Frame
from tests.conftest import DEFAULT, kernel_image, quiet

pytestmark = [pytest.mark.soak, pytest.mark.matrix]

HOGS_OF_ONE_CACHE = """
import os, time
hogs = []
for _ in range(2):
    pid = os.fork()
    if not pid:
        os.sched_setaffinity(0, {0})
        end = time.monotonic() + 0.5
        while time.monotonic() < end:
            pass
        os.sched_setaffinity(0, {0, 1})
        while True:
            pass
    hogs.append(pid)
def last_cpu(pid):
    return open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()[36]
time.sleep(0.6)
end = time.monotonic() + 20
seen = []
while seen != ["0", "1"] and time.monotonic() < end:
    time.sleep(0.05)
    seen = sorted(last_cpu(pid) for pid in hogs)
print(*seen)
for pid in hogs:
    os.kill(pid, 9)
"""

EVERY_10_MS = """
import time
due = time.monotonic()
for _ in range(200):
    due += 0.010
    time.sleep(max(0, due - time.monotonic()))
"""

GREEDY_BESIDE_A_HOG = """
import os, time
os.sched_setaffinity(0, {0})
greedy = os.fork()
if not greedy:
    due = time.monotonic()
    while True:
        end = time.thread_time() + 0.015
        while time.thread_time() < end:
            pass
        due = max(due + 0.020, time.monotonic() + 0.001)
        time.sleep(max(0.001, due - time.monotonic()))
time.sleep(1)
hog = os.fork()
if not hog:
    while True:
        pass
def ran_ns(pid):
    return int(open(f"/proc/{pid}/schedstat").read().split()[0])
before = ran_ns(hog), ran_ns(greedy)
time.sleep(3)
print(ran_ns(hog) - before[0], ran_ns(greedy) - before[1])
os.kill(hog, 9)
os.kill(greedy, 9)
"""


@pytest.fixture
def two_caches() -> Iterator[LabMachine]:
    """Two CPUs, each with a last-level cache of its own."""
    machine = LabMachine(kernel=kernel_image(DEFAULT), cpus=2, sockets=2)
    machine.open(quiet)
    yield machine
    machine.close()


def start(machine: LabMachine, policy: str) -> None:
    apply(machine, resolve(load_library(), policy, {}), quiet)


def output_of(machine: LabMachine, script: str) -> str:
    done = machine.run(["python3", "-c", script], 90)
    assert done.exit_code == 0, done.output
    return done.output


def statistics_when(machine: LabMachine, reached: Callable[[Frame], bool], frames_at_most: int = 60) -> dict[str, int]:
    """The policy's counters in the first frame that is as expected, or in the last one looked at."""
    seen = {}
    for frame, _ in zip(machine.frames(0.25), range(frames_at_most), strict=False):
        seen = frame.scheduler.statistics
        if reached(frame):
            break
    return seen


def test_locality_finds_each_cache_and_leaves_none_idle_while_tasks_wait_at_the_other(two_caches: LabMachine) -> None:
    start(two_caches, "locality")

    assert output_of(two_caches, HOGS_OF_ONE_CACHE).split() == ["0", "1"]

    statistics = next(two_caches.frames(0.5)).scheduler.statistics
    assert statistics["nr_caches"] == 2
    assert statistics["nr_stolen"] > 0


def test_powersave_works_on_one_cpu_when_that_is_enough_and_on_all_when_it_is_not(each_kernel: LabMachine) -> None:
    start(each_kernel, "powersave")
    few = statistics_when(each_kernel, lambda frame: frame.scheduler.statistics.get("nr_open_now") == 1)
    assert few["nr_open_now"] == 1

    each_kernel.start_workload("hogs")
    many = statistics_when(each_kernel, lambda frame: all(cpu.used_percent > 90 for cpu in frame.cpus))
    assert many["nr_open_now"] == 2
    assert many["nr_opened"] > 0


def test_periodic_learns_the_interval_of_a_task(each_kernel: LabMachine) -> None:
    start(each_kernel, "periodic")

    output_of(each_kernel, EVERY_10_MS)

    statistics = next(each_kernel.frames(0.5)).scheduler.statistics
    assert statistics["nr_learned"] > 0
    assert statistics["last_period_us"] == pytest.approx(10_000, rel=0.3)
    assert statistics["nr_on_time"] > statistics["nr_late"]


def test_periodic_gives_a_task_that_wakes_up_evenly_no_more_than_its_budget(lab: LabMachine) -> None:
    start(lab, "periodic")

    hog_ns, greedy_ns = map(int, output_of(lab, GREEDY_BESIDE_A_HOG).split())

    assert hog_ns > 0.43 * (hog_ns + greedy_ns)
    assert lab.scheduler().sched_ext == "enabled"
