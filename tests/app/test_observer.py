"""What a policy did while it ran is kept once, when it can be compared with what was before."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest

from schedtui.backend.model import Frame, Latency, LatencySource, MachineInfo, MachineKind, Scheduler, WorkloadStatus
from schedtui.backend.store import Store
from schedtui.observer import Observer

HOGS = (WorkloadStatus(kind="hogs", tasks=4),)
SLOW, FAST = (0,) * 12 + (500,), (0,) * 10 + (500,)


def frames(
    policy: str,
    count: int,
    histogram: tuple[int, ...],
    *,
    loads: tuple[WorkloadStatus, ...] = HOGS,
    source: LatencySource = "wakeup-probe",
    turns: int = 0,
) -> Iterable[Frame]:
    """Seconds under one scheduler; no policy: the kernel's own."""
    scheduler = Scheduler(
        sched_ext="enabled" if policy else "disabled",
        name=policy or "EEVDF",
        owner="schedtui" if policy else "kernel",
        policy=policy,
        settings={"slice_us": turns} if turns else {},
    )
    for second in range(count):
        latency = Latency(source=source, histogram=histogram, count=sum(histogram))
        yield Frame(
            sequence=second,
            time=float(second),
            interval_s=1.0,
            cpus=(),
            scheduler=scheduler,
            latency=latency,
            workloads=loads,
        )


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    """The user's own, in a place of the test's."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    return Store()


def watch(*runs: Iterable[Frame], kind: MachineKind = "lab") -> None:
    """Feed an observer with one run after the other."""
    observer = Observer(
        MachineInfo(kind=kind, name="x", kernel="6.18", sched_ext=True, default_scheduler="EEVDF", can_load=True)
    )
    for run in runs:
        for frame in run:
            observer.add(frame)


def test_a_policy_that_ran_for_a_while_is_kept_once_with_before_and_after(store: Store) -> None:
    watch(frames("", 10, SLOW), frames("fair", 100, FAST, turns=500))
    (kept,) = store.outcomes()
    assert (kept.policy, kept.metric, kept.how, kept.workload) == ("fair", "wakeup_p99_us", "observed", "hogs")
    assert (kept.machine, kept.kernel, kept.settings) == ("lab", "6.18", {"slice_us": 500})
    assert kept.change_percent == pytest.approx(-30, abs=1)


def test_each_run_is_kept_for_itself(store: Store) -> None:
    watch(frames("", 10, SLOW), frames("fair", 40, FAST), frames("", 10, SLOW), frames("fair", 40, FAST))
    assert len(store.outcomes()) == 2


@pytest.mark.parametrize(
    "runs",
    [
        [frames("", 10, SLOW), frames("fair", 20, FAST)],
        [frames("fair", 100, FAST)],
        [frames("", 10, SLOW, loads=()), frames("fair", 100, FAST)],
        [frames("", 10, SLOW, source="run-delay"), frames("fair", 100, FAST, source="run-delay")],
        [frames("", 10, (0, 1)), frames("fair", 100, (0, 1))],
        [frames("", 10, SLOW), frames("fair", 20, FAST), frames("fair", 20, FAST, turns=900)],
        [frames("", 100, SLOW)],
    ],
    ids=["short", "nothing before", "other load", "not every wake-up", "few wake-ups", "changed", "no policy"],
)
def test_what_cannot_be_compared_is_not_kept(store: Store, runs: list[Iterable[Frame]]) -> None:
    watch(*runs)
    assert store.outcomes() == []


def test_a_recording_is_not_observed(store: Store) -> None:
    watch(frames("", 10, SLOW), frames("fair", 100, FAST), kind="replay")
    assert store.outcomes() == []


def test_a_history_that_cannot_be_written_disturbs_nobody(store: Store) -> None:
    store.path.parent.write_text("in the way")
    watch(frames("", 10, SLOW), frames("fair", 100, FAST))
