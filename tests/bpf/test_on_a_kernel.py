"""What the policies promise, on a real kernel: who runs first, and that nobody is forgotten."""

from __future__ import annotations

import pytest

from schedtui.backend.bpf.compiler import compile_bpf
from schedtui.backend.deploy import apply, resolve
from schedtui.backend.lab import LabMachine
from schedtui.backend.library.catalogue import load_library
from tests.conftest import SOURCES, quiet

pytestmark = [pytest.mark.lab, pytest.mark.soak, pytest.mark.matrix]

JOBS = """
import os, sys, time

def job(name, cpu_s, nice=0):
    pid = os.fork()
    if not pid:
        open("/proc/self/comm", "w").write(name)
        os.nice(nice)
        while time.process_time() < cpu_s:
            pass
        os._exit(0)
    return pid
"""

SHORT_AND_LONG = (
    JOBS
    + """
names = {job("short", 0.3): "short" for _ in range(8)}
names[job("long", 0.8)] = "long"
print(*(names[os.wait()[0]] for _ in range(len(names))))
"""
)

LOWEST_BESIDE_HIGHEST = (
    JOBS
    + """
humble = [job("humble", 1e9, 19) for _ in range(4)]
normal = [job("normal", 1e9) for _ in range(4)]
time.sleep(1)
proud = [job("proud", 1e9, -20) for _ in range(2)]
time.sleep(1)

def ran_ns():
    return [int(open(f"/proc/{pid}/schedstat").read().split()[0]) for pid in humble]

gained = []
for _ in range(3):
    before = ran_ns()
    time.sleep(3)
    gained += [now - then for now, then in zip(ran_ns(), before)]
for pid in [*humble, *normal, *proud]:
    os.kill(pid, 9)
print(min(gained))
"""
)


def output_of(machine: LabMachine, script: str) -> str:
    done = machine.run(["python3", "-c", script], 90)
    assert done.exit_code == 0, done.output
    return done.output


@pytest.mark.parametrize("by_vtime", [True, False])
def test_a_source_written_for_the_headers_of_6_12_runs(each_kernel: LabMachine, by_vtime: bool) -> None:
    each_kernel.load("old", compile_bpf(SOURCES / "old_style.bpf.c"), {"by_vtime": by_vtime})

    assert "short" in output_of(each_kernel, SHORT_AND_LONG)

    running = each_kernel.scheduler()
    assert (running.sched_ext, running.policy) == ("enabled", "old")
    assert each_kernel.unload().sched_ext == "disabled"


def test_every_form_of_a_kfunc_is_found_on_the_oldest_and_the_newest_kernel(each_kernel: LabMachine) -> None:
    obj = compile_bpf(SOURCES / "all_forms.bpf.c")
    each_kernel.load("forms", obj, {})

    assert "short" in output_of(each_kernel, SHORT_AND_LONG)

    running = next(each_kernel.frames(0.5)).scheduler
    assert (running.sched_ext, running.policy) == ("enabled", "forms")
    assert running.statistics["nr_walked"] > 0
    each_kernel.unload()


def test_a_cpu_that_goes_is_not_counted_any_more_and_one_that_comes_is(each_kernel: LabMachine) -> None:
    each_kernel.load("counts", compile_bpf(SOURCES / "counts_cpus.bpf.c"), {})
    done = each_kernel.run(["sh", "-c", "cd /sys/devices/system/cpu/cpu1 && echo 0 > online && echo 1 > online"], 60)
    assert done.exit_code == 0
    statistics = next(each_kernel.frames(0.5)).scheduler.statistics
    assert statistics == {"nr_when_one_went": 1, "nr_when_one_came": 2}


def test_a_named_long_job_runs_beside_the_short_ones_and_not_after_them(lab: LabMachine) -> None:
    assert output_of(lab, SHORT_AND_LONG).split()[-1] == "long", "shared evenly, the long job ends last"

    apply(lab, resolve(load_library(), "longest-first", {"long_job": "long"}), quiet)

    assert output_of(lab, SHORT_AND_LONG).split()[-1] == "short"


def test_the_length_of_a_job_is_learned_by_its_name(lab: LabMachine) -> None:
    apply(lab, resolve(load_library(), "longest-first", {"long_after_ms": 700}), quiet)
    output_of(lab, SHORT_AND_LONG)

    assert output_of(lab, SHORT_AND_LONG).split()[-1] == "short"


@pytest.mark.parametrize("name", ["fair", "interactive"])
def test_the_lowest_weight_still_runs_when_the_highest_comes_later(lab: LabMachine, name: str) -> None:
    apply(lab, resolve(load_library(), name, {}), quiet)

    gained_ns = int(output_of(lab, LOWEST_BESIDE_HIGHEST))

    assert gained_ns > 0
    assert lab.scheduler().sched_ext == "enabled"
