"""A deep dive in a real guest: bcc compiles there, and what it counts follows the load."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from schedtui.backend.dive import dive
from schedtui.backend.histogram import lower_bound_ns
from schedtui.backend.lab import LabMachine
from schedtui.backend.model import ProbeResult
from tests.conftest import quiet

# It builds a guest of its own, with LLVM in it: 40 s the first time.
pytestmark = [pytest.mark.lab, pytest.mark.soak, pytest.mark.matrix]
LONG_NS = 1_000_000


@pytest.fixture
def lab() -> Iterator[LabMachine]:
    machine = LabMachine(cpus=2, deep=True)
    machine.open(quiet)
    yield machine
    machine.close()


def looked(lab: LabMachine, name: str) -> ProbeResult:
    return dive(lab, name, seconds=3.0, progress=quiet)


def long_share(result: ProbeResult) -> float:
    """Of what was counted, the part that took longer than a millisecond."""
    long = sum(number for slot, number in enumerate(result.slots) if lower_bound_ns(slot) >= LONG_NS)
    return long / sum(result.slots)


def test_run_queue_waits_move_to_milliseconds_when_more_tasks_than_cpus_want_to_run(lab: LabMachine) -> None:
    idle = looked(lab, "runqlat")
    lab.start_workload("hogs")
    busy = looked(lab, "runqlat")
    assert long_share(idle) < 0.2
    assert long_share(busy) > 0.5
    assert "load-hog" in {each.name for each in busy.rows[:3]}
    assert busy.kernel == lab.open(quiet).kernel
