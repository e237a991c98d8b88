"""What is told of a machine: what its frames hold, in a few lines, and nothing else."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import pytest
from msgspec.structs import replace

from schedtui.agent import summary
from schedtui.backend.model import Activity, CpuSample, Frame, MachineInfo, Scheduler, TaskWait
from schedtui.backend.replay import ReplayMachine
from tests.conftest import quiet

RECORDINGS = Path(__file__).parents[1] / "recordings"
INFO = MachineInfo(kind="lab", name="lab", kernel="6.18", sched_ext=True, default_scheduler="EEVDF", can_load=True)
EEVDF = Scheduler(sched_ext="disabled", name="EEVDF", owner="kernel")


def recorded(name: str) -> tuple[list[Frame], MachineInfo]:
    machine = ReplayMachine(RECORDINGS / f"{name}.jsonl.gz", speed=1000)
    info = machine.open(quiet)
    frames = list(islice(machine.frames(), 8))
    machine.close()
    return frames, info


def frame(used: list[float], **more: object) -> Frame:
    cpus = tuple(CpuSample(cpu=cpu, used_percent=each) for cpu, each in enumerate(used))
    fields: dict[str, object] = {"sequence": 1, "time": 1.0, "interval_s": 1.0, "cpus": cpus, "scheduler": EEVDF}
    return Frame(**{**fields, **more})  # type: ignore[arg-type]


def test_a_busy_machine_is_told_with_its_waits_and_a_quiet_one_as_idle() -> None:
    busy = summary.in_words(summary.summarise(*recorded("busy-4-eevdf")))
    idle = summary.summarise(*recorded("idle-4"))
    assert "EEVDF" in busy and "p99" in busy and "ms/s" in busy
    assert idle.shape == "idle"


def test_where_nobody_waits_it_is_said() -> None:
    assert "Nobody waits" in summary.in_words(summary.summarise([frame([20])], INFO))


def test_the_summary_is_short_whatever_the_machine_and_longer_when_asked_for_more() -> None:
    found = summary.summarise(*recorded("busy-64"))
    assert len(summary.in_words(found)) < 1600
    assert len(summary.in_words(found, more=True)) > len(summary.in_words(found))


@pytest.mark.parametrize(
    ("frames", "shape"),
    [
        pytest.param([[1, 2, 1, 0]] * 4, "idle", id="idle"),
        pytest.param([[50, 52, 49, 50]] * 4, "steady", id="steady"),
        pytest.param([[90, 80, 85, 90], [5, 5, 4, 5], [88, 90, 85, 80], [4, 6, 5, 5]], "bursty", id="bursty"),
        pytest.param([[99, 3, 2, 1]] * 4, "a few busy CPUs", id="one-cpu"),
        pytest.param([[99, 98, 100, 97]] * 4, "full", id="full"),
    ],
)
def test_the_shape_of_cpu_use_is_named(frames: list[list[float]], shape: str) -> None:
    assert summary.summarise([frame(each) for each in frames], INFO).shape == shape


def test_threads_are_told_under_the_program_they_belong_to() -> None:
    waiters = (
        TaskWait(pid=11, name="RenderThread", detail="of game.exe", wait_ms_per_s=12),
        TaskWait(pid=12, name="Audio", detail="of game.exe", wait_ms_per_s=8),
        TaskWait(pid=13, name="schedtui-helper", wait_ms_per_s=90),
    )
    (group,) = summary.summarise([frame([50], waiters=waiters)], INFO).groups
    assert (group.name, group.tasks, group.wait_ms_per_s) == ("game.exe", 2, 20)


def test_what_no_source_measured_is_said_and_not_guessed() -> None:
    told = summary.in_words(summary.summarise([frame([50], missing={"latency": "no probe"})], INFO), more=True)
    assert "not measured" in told
    assert "how long tasks live is not known" in told
    assert "no probe" in told


def test_a_build_that_began_is_another_phase_and_a_little_more_work_is_not() -> None:
    before = summary.summarise([frame([40, 40], activity=Activity(forks_per_s=2.0))], INFO)
    assert "processes" in summary.phase_change(before, replace(before, forks_per_s=300.0))
    assert "idle" in summary.phase_change(before, replace(before, shape="idle", used_percent=1.0))
    assert summary.phase_change(before, replace(before, used_percent=55.0, forks_per_s=3.0)) == ""
