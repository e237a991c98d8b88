"""Every policy of the library on a real kernel: it loads, carries a load, and goes.

``make matrix`` takes three kernels, ``make soak`` all of them, and longer.
"""

from __future__ import annotations

import pytest

from schedtui.backend.deploy import apply, resolve
from schedtui.backend.lab import LabMachine
from schedtui.backend.library.catalogue import load_library
from schedtui.paths import shipped
from tests.conftest import kernel_image, quiet

pytestmark = pytest.mark.lab

POLICIES = sorted(load_library(shipped("library")).loadable())
BETWEEN = ("6.17", "6.18", "6.19", "7.0", "7.2")
LONGER = 24
"""Half seconds: more than twice what the kernel's watchdog waits for a task that was forgotten."""

BURN = """
import os, time
def burn(cpu, nice):
    read, write = os.pipe()
    if not os.fork():
        os.sched_setaffinity(0, {cpu})
        os.nice(nice)
        end = time.monotonic() + 3
        while time.monotonic() < end:
            pass
        last_cpu = open("/proc/self/stat").read().rsplit(")", 1)[1].split()[36]
        os.write(write, f"{time.process_time()} {last_cpu}".encode())
        os._exit(0)
    return read
for read in [burn(0, 0), burn(0, 10), burn(1, 0)]:
    print(os.read(read, 99).decode())
"""


@pytest.mark.soak
@pytest.mark.matrix
@pytest.mark.parametrize("name", POLICIES)
def test_a_policy_loads_carries_a_load_and_unloads(each_kernel: LabMachine, name: str) -> None:
    carries_a_load(each_kernel, name, frame_count=8)


@pytest.mark.soak
@pytest.mark.parametrize("series", BETWEEN)
@pytest.mark.parametrize("name", POLICIES)
def test_a_policy_carries_a_load_for_longer_on_every_kernel(series: str, name: str) -> None:
    machine = LabMachine(kernel=kernel_image(series), cpus=2)
    machine.open(quiet)
    try:
        carries_a_load(machine, name, frame_count=LONGER)
    finally:
        machine.close()


def carries_a_load(machine: LabMachine, name: str, frame_count: int) -> None:
    """Hogs, frames and forks at once, for ``frame_count`` half seconds."""
    for kind in ("hogs", "frames", "forks"):
        machine.start_workload(kind)

    running = apply(machine, resolve(load_library(), name, {}), quiet)
    assert running.sched_ext == "enabled"
    assert running.policy == name
    frames = machine.frames(0.5)
    seen = [next(frames) for _ in range(frame_count)]

    last = seen[-1]
    told = [event.text for frame in seen for event in frame.events]
    assert {frame.scheduler.sched_ext for frame in seen[2:]} == {"enabled"}, told
    assert last.scheduler.name.startswith(running.name)
    assert last.scheduler.statistics and any(last.scheduler.statistics.values())
    metrics = {status.kind: status.metrics for status in last.workloads}
    assert metrics["forks"]["jobs_per_s"] > 0, "short processes must still get through beside hogs"
    assert metrics["frames"]["frames"] > 0

    after = machine.unload()
    assert (after.sched_ext, after.name, after.owner) == ("disabled", "EEVDF", "kernel")


@pytest.mark.soak
@pytest.mark.matrix
@pytest.mark.parametrize("name", POLICIES)
def test_a_policy_respects_affinity_and_weights(lab: LabMachine, name: str) -> None:
    apply(lab, resolve(load_library(), name, {}), quiet)
    done = lab.run(["python3", "-c", BURN], 60)
    assert done.exit_code == 0, done.output
    (normal, cpu_a), (nice, cpu_b), (_alone, cpu_c) = [line.split() for line in done.output.splitlines()]
    assert (cpu_a, cpu_b, cpu_c) == ("0", "0", "1")
    assert float(nice) > 0.01, "a task of low weight must get on beside one of high weight"
    if name in ("fair", "interactive"):
        assert float(normal) > 2 * float(nice), "a task of nice 0 weighs nine times one of nice 10"
