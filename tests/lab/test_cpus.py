"""CPUs that go and come: what is kept is loaded again at once, what is only tried ends and says why."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from schedtui.backend.bpf.compiler import compile_bpf
from schedtui.backend.errors import LeaseEnded
from schedtui.backend.lab import LabMachine
from schedtui.backend.model import Scheduler
from schedtui.paths import shipped
from tests.conftest import DEFAULT, kernel_image, until, wait_for_event

pytestmark = pytest.mark.lab

FIFO = shipped("library") / "fifo" / "fifo.bpf.c"
ONLINE = "/sys/devices/system/cpu/cpu1/online"


@pytest.fixture
def machine() -> Iterator[LabMachine]:
    it = LabMachine(kernel=kernel_image(DEFAULT), cpus=2)
    try:
        it.open(lambda _text, _seconds: None)
        yield it
    finally:
        it.close()


@pytest.fixture
def rigid(tmp_path: Path) -> bytes:
    """A policy without callbacks for CPUs that go and come: the kernel ends it when one does."""
    source = FIFO.read_text()
    source = re.sub(r"\t\.cpu_(?:on|off)line = .*\n", "", source)
    source = re.sub(r"(?s)\nvoid BPF_STRUCT_OPS\(fifo_cpu_(?:on|off)line, s32 cpu\)\n\{.*?\n\}\n", "", source)
    file = tmp_path / "rigid.bpf.c"
    file.write_text(source)
    return compile_bpf(file)


def shell(machine: LabMachine, command: str) -> str:
    done = machine.run(["sh", "-c", command], 60)
    assert done.exit_code == 0, done.output
    return done.output


def runs_anew(machine: LabMachine, before: Scheduler) -> bool:
    now = machine.scheduler()
    same = (now.sched_ext, now.owner, now.digest) == ("enabled", "schedtui", before.digest)
    return same and now.enable_seq > before.enable_seq


def test_what_is_kept_runs_again_when_a_cpu_went_and_what_is_tried_ends(machine: LabMachine, rigid: bytes) -> None:
    kept = machine.load("rigid", rigid, {})
    frames = machine.frames(0.2)
    shell(machine, f"echo 0 > {ONLINE}")
    assert wait_for_event(frames, "it was loaded again")
    again = machine.scheduler()
    assert (again.policy, again.digest, again.enable_seq) == ("rigid", kept.digest, kept.enable_seq + 1)
    machine.load("rigid", rigid, {}, lease_s=30)
    shell(machine, f"echo 1 > {ONLINE}")
    assert wait_for_event(frames, "the kernel ended rigid for that; EEVDF runs")
    with pytest.raises(LeaseEnded, match="A CPU went or came"):
        machine.renew()


@pytest.mark.soak
def test_what_is_kept_survives_a_computers_sleep(machine: LabMachine, rigid: bytes) -> None:
    """To memory (S3), woken by its clock: every CPU but the first goes and comes."""
    kept = machine.load("rigid", rigid, {})
    log = shell(machine, "echo +2 > /sys/class/rtc/rtc0/wakealarm && echo mem > /sys/power/state && dmesg | tail -40")
    assert "Waking up from system sleep state S3" in log
    assert until(lambda: runs_anew(machine, kept))


@pytest.mark.soak
def test_a_computer_whose_cpus_never_rest_gets_its_own_scheduler_back(machine: LabMachine, rigid: bytes) -> None:
    machine.load("rigid", rigid, {})
    frames = machine.frames(0.2)
    for _ in range(8):
        before = machine.scheduler()
        shell(machine, f"echo $((1 - $(cat {ONLINE}))) > {ONLINE}")
        assert until(functools.partial(runs_anew, machine, before))
    shell(machine, f"echo $((1 - $(cat {ONLINE}))) > {ONLINE}")
    assert wait_for_event(frames, "the kernel ended rigid for that; EEVDF runs")
