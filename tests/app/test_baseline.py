"""The ghost: only what was measured under the same conditions is compared."""

from __future__ import annotations

from schedtui.backend.model import Frame, Latency, LatencySource, SchedExt, Scheduler, WorkloadStatus
from schedtui.baseline import Baseline

HOGS = (WorkloadStatus(kind="hogs", tasks=3),)


def frame(
    at: float,
    state: SchedExt = "disabled",
    name: str = "",
    *,
    counts: tuple[int, ...] = (0, 1),
    loads: tuple[WorkloadStatus, ...] = (),
    source: LatencySource = "wakeup-probe",
) -> Frame:
    running = name or ("interactive" if state == "enabled" else "EEVDF")
    return Frame(
        sequence=int(at),
        time=at,
        interval_s=1,
        cpus=(),
        scheduler=Scheduler(sched_ext=state, name=running, owner="kernel"),
        latency=Latency(source=source, histogram=counts, count=sum(counts)),
        workloads=loads,
    )


def fed(frames: list[Frame]) -> Baseline:
    baseline = Baseline()
    for each in frames:
        baseline.add(each)
    return baseline


def test_there_is_no_ghost_while_the_default_scheduler_runs() -> None:
    baseline = fed([frame(1), frame(2)])
    assert baseline.add(frame(3)) is None


def test_the_ghost_is_the_sum_of_the_default_schedulers_last_ten_seconds() -> None:
    baseline = fed([frame(at) for at in range(1, 31)])
    assert baseline.add(frame(31, "enabled")) == (0, 10)


def test_a_frame_in_which_the_scheduler_changed_belongs_to_neither() -> None:
    baseline = fed([frame(1), frame(2), frame(3, "enabled"), frame(4, counts=(0, 100)), frame(5)])
    assert baseline.add(frame(6, "enabled")) == (0, 1)


def test_the_ghost_goes_when_other_loads_run_and_comes_back_with_them() -> None:
    baseline = fed([frame(1, loads=HOGS), frame(2, loads=HOGS), frame(3, loads=HOGS)])
    assert baseline.add(frame(4, "enabled", loads=HOGS)) is not None
    assert baseline.add(frame(5, "enabled")) is None
    assert baseline.add(frame(6, "enabled", loads=HOGS)) is not None


def test_loads_that_were_started_afterwards_leave_nothing_to_compare_with() -> None:
    baseline = fed([frame(1), frame(2), frame(3), frame(4, "enabled")])
    assert baseline.add(frame(5, "enabled", loads=HOGS)) is None


def test_another_source_is_never_compared() -> None:
    baseline = fed([frame(1, source="run-delay"), frame(2, source="run-delay"), frame(3, source="run-delay")])
    assert baseline.add(frame(4, "enabled")) is None


def test_after_the_default_scheduler_came_back_its_new_frames_count() -> None:
    old = [frame(1), frame(2), frame(3), frame(4, "enabled")]
    baseline = fed([*old, frame(5), frame(6, counts=(0, 0, 7))])
    assert baseline.add(frame(7, "enabled")) == (0, 0, 7)
