"""Every policy of the library on a real kernel: it loads, carries a load, and goes."""

from __future__ import annotations

import pytest

from schedtui.backend.deploy import apply, resolve
from schedtui.backend.lab import LabMachine
from schedtui.backend.library.catalogue import load_library
from tests.conftest import quiet

pytestmark = pytest.mark.lab

POLICIES = sorted(load_library().policies)


@pytest.mark.parametrize("name", POLICIES)
def test_a_policy_loads_carries_a_load_and_unloads(each_kernel: LabMachine, name: str) -> None:
    machine = each_kernel
    for kind in ("hogs", "frames", "forks"):
        machine.start_workload(kind)

    running = apply(machine, resolve(load_library(), name, {}), quiet)
    assert running.sched_ext == "enabled"
    assert running.policy == name
    frames = machine.frames(0.5)
    seen = [next(frames) for _ in range(8)]

    last = seen[-1]
    assert [frame.scheduler.sched_ext for frame in seen[2:]] == ["enabled"] * 6, [f.events for f in seen]
    assert last.scheduler.name.startswith(running.name)
    assert last.scheduler.statistics and any(last.scheduler.statistics.values())
    metrics = {status.kind: status.metrics for status in last.workloads}
    assert metrics["forks"]["jobs_per_s"] > 0, "short processes must still get through beside hogs"
    assert metrics["frames"]["frames"] > 0

    after = machine.unload()
    assert (after.sched_ext, after.name, after.owner) == ("disabled", "EEVDF", "kernel")


@pytest.mark.parametrize("name", POLICIES)
def test_a_policy_respects_affinity_and_weights(lab: LabMachine, name: str) -> None:
    apply(lab, resolve(load_library(), name, {}), quiet)
    script = """
import os, sys, time
def burn(cpu, nice):
    read, write = os.pipe()
    pid = os.fork()
    if not pid:
        os.sched_setaffinity(0, {cpu}); os.nice(nice)
        end = time.monotonic() + 3; strayed = 0
        while time.monotonic() < end:
            strayed += os.sched_getcpu() != cpu if hasattr(os, "sched_getcpu") else 0
        used = time.process_time()
        cpu_now = open("/proc/self/stat").read().rsplit(")", 1)[1].split()[36]
        os.write(write, f"{used} {cpu_now}".encode()); os._exit(0)
    return pid, read
jobs = [burn(0, 0), burn(0, 10), burn(1, 0)]
for pid, read in jobs:
    os.waitpid(pid, 0)
    print(os.read(read, 99).decode())
"""
    done = lab.run(["python3", "-c", script], 60)
    assert done.exit_code == 0, done.output
    (normal, cpu_a), (nice, cpu_b), (_alone, cpu_c) = [line.split() for line in done.output.splitlines()]
    assert (cpu_a, cpu_b, cpu_c) == ("0", "0", "1")
    assert float(nice) > 0.05, "a nice task must not starve"
    if name in ("fair", "interactive"):
        assert float(normal) > 2 * float(nice), "a task of nice 0 weighs nine times one of nice 10"
