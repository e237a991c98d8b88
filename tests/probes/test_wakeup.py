"""The BPF wake-up probe: read in a real guest, and its coarse histogram for tasks."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schedtui.backend.lab import LabMachine
from schedtui.backend.model import Frame
from schedtui.backend.probes.wakeup import log2_percentile_us


@given(st.lists(st.integers(1, 2**32 - 1), min_size=1, max_size=200), st.sampled_from([50, 99, 100]))
def test_a_tasks_percentile_is_within_a_factor_of_two(waits: list[int], percent: int) -> None:
    slots = [0] * 32
    for ns in waits:
        slots[ns.bit_length() - 1] += 1
    exact = sorted(waits)[-(-len(waits) * percent // 100) - 1]
    read = log2_percentile_us(slots, percent)
    assert read is not None
    assert exact / 2 <= read * 1000 <= exact * 2


def test_no_waits_have_no_percentile() -> None:
    assert log2_percentile_us([0] * 32, 99) is None


def busy_frames(frames: Iterator[Frame]) -> list[Frame]:
    """Frames in which the loads were running all the time."""
    return [frame for frame in islice(frames, 12) if frame.workloads][2:]


@pytest.mark.lab
@pytest.mark.soak
@pytest.mark.matrix
def test_in_the_lab_every_wake_up_is_counted_by_cpu_and_by_task(lab: LabMachine) -> None:
    frames = lab.frames(1.0)
    next(frames)
    lab.start_workload("frames")
    lab.start_workload("hogs")
    seen = busy_frames(frames)
    assert {frame.latency.source for frame in seen if frame.latency} == {"wakeup-probe"}
    assert all(frame.latency and frame.latency.count > 0 for frame in seen)
    assert {cpu.cpu for frame in seen for cpu in frame.cpus if cpu.latency_p99_us} == {0, 1}
    assert {"load-frames", "load-hog"} <= {task.name for frame in seen for task in frame.waiters}
    assert any(task.latency_p99_us for frame in seen for task in frame.waiters if task.name.startswith("load-"))
    assert any((cpu.waiting_percent or 0) > 20 for frame in seen for cpu in frame.cpus)
    assert any(frame.pressure["cpu"].some_percent > 20 for frame in seen)
