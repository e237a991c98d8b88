"""A recording as a machine."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from schedtui.backend.errors import BadFile, NotPermitted
from schedtui.backend.machine import open_machine
from schedtui.backend.model import Frame
from schedtui.backend.replay import ReplayMachine
from tests.conftest import quiet
from tests.recording.test_recording import record


def says_no_more_until_closed(machine: ReplayMachine, stream: Iterator[Frame]) -> bool:
    """Whether the stream is silent while the machine is open, and ends when it is closed."""
    closing = threading.Event()

    def close() -> None:
        closing.set()
        machine.close()

    closer = threading.Timer(0.1, close)
    closer.start()
    silent = next(stream, None) is None and closing.is_set()
    closer.join()
    return silent


def test_it_says_what_it_is_and_what_was_recorded(tmp_path: Path) -> None:
    record(tmp_path / "a")
    machine = open_machine(f"replay:{tmp_path / 'a'}")
    info = machine.open(quiet)
    machine.close()
    assert (info.kind, info.can_load, info.kernel) == ("replay", False, "6.18.15")
    assert info.note == f"recorded {time.strftime('%Y-%m-%d')} on lab · Linux 6.18.15"
    assert info.reason


def test_frames_come_in_their_order_and_then_it_stays_open_until_closed(tmp_path: Path) -> None:
    frames = record(tmp_path / "a")
    machine = ReplayMachine(tmp_path / "a", speed=1000)
    machine.open(quiet)
    stream = machine.frames()
    assert [next(stream) for _ in frames] == frames
    assert says_no_more_until_closed(machine, stream)


def test_until_jumps_to_a_frame_and_stops_there(tmp_path: Path) -> None:
    frames = record(tmp_path / "a")
    machine = ReplayMachine(tmp_path / "a", until=3)
    stream = machine.frames()
    assert [next(stream) for _ in range(3)] == frames[:3]
    assert says_no_more_until_closed(machine, stream)


def test_its_scheduler_is_that_of_the_frame_shown(tmp_path: Path) -> None:
    frames = record(tmp_path / "a")
    machine = ReplayMachine(tmp_path / "a", until=3)
    assert machine.scheduler() == frames[0].scheduler
    stream = machine.frames()
    for _ in range(3):
        next(stream)
    assert machine.scheduler() == frames[2].scheduler
    machine.close()


def test_a_sample_holds_what_the_frames_shown_so_far_have_counted(tmp_path: Path) -> None:
    frames = record(tmp_path / "a")
    machine = ReplayMachine(tmp_path / "a", until=3)
    assert machine.sample().wakeups == ()
    stream = machine.frames()
    for _ in range(3):
        next(stream)
    sample = machine.sample()
    machine.close()
    counted = [frame.latency.count for frame in frames[:3] if frame.latency]
    assert sum(sample.wakeups) == sum(counted) > 0
    assert sample.time_s == frames[2].time


def test_a_recording_that_breaks_off_says_so_at_its_end(tmp_path: Path) -> None:
    record(tmp_path / "a")
    (tmp_path / "a").write_bytes((tmp_path / "a").read_bytes()[:-20])
    machine = ReplayMachine(tmp_path / "a", until=10)
    stream = machine.frames()
    last = [next(stream) for _ in range(4)][-1]
    machine.close()
    assert [event.text for event in last.events][-1].startswith("The recording breaks off here")
    assert last.events[-1].kind == "warning"


def test_nothing_can_be_changed_in_it(tmp_path: Path) -> None:
    record(tmp_path / "a")
    machine = ReplayMachine(tmp_path / "a")
    machine.open(quiet)
    acts = (
        lambda: machine.load("fair", b"", {}),
        machine.unload,
        lambda: machine.start_workload("hogs"),
        machine.stop_workloads,
        lambda: machine.run(["true"], 1),
    )
    for act in acts:
        with pytest.raises(NotPermitted, match="recording"):
            act()
    panic = machine.panic()
    assert (panic.path, panic.scheduler.name) == ("nothing-to-do", "EEVDF")
    machine.close()
    machine.close()


def test_a_damaged_one_is_refused_when_it_is_opened(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("{}\n")
    with pytest.raises(BadFile):
        ReplayMachine(tmp_path / "a").open(quiet)
