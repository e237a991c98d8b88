"""This computer as a machine: watched by anybody, changed by nobody but panic."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import pytest

from schedtui.backend.errors import NotPermitted
from schedtui.backend.host import HostMachine
from schedtui.backend.machine import open_machine
from tests.conftest import quiet, until
from tests.probes.trees import STAT, write, write_sched_ext


def other_host(root: Path, **sched_ext: str) -> HostMachine:
    write(root, {"proc/stat": STAT, "proc/loadavg": "0 0 0 1/2 3\n", "proc/self/schedstat": "1 1 1\n"})
    write(root, {"proc/sys/kernel/osrelease": "6.18.15\n", "proc/41/comm": "scx_lavd\n"})
    write(root, {"proc/41/cmdline": "/usr/bin/scx_lavd\0--autopower\0"})
    write_sched_ext(root, **sched_ext)
    return HostMachine(root)


def test_it_is_alive_at_once_and_says_why_nothing_can_be_loaded() -> None:
    machine = open_machine("host")
    stages: list[str] = []
    info = machine.open(lambda stage, _seconds: stages.append(stage))
    frames = machine.frames(30)
    frame = next(frames)
    machine.close()
    assert stages
    assert (info.kind, info.can_load, info.kernel) == ("host", False, os.uname().release)
    assert info.reason.endswith("lab can." if not info.sched_ext else "everything.")
    assert len(frame.cpus) == len(info.cpus)
    assert next(frames, None) is None


def test_opening_it_again_gives_the_same() -> None:
    machine = HostMachine()
    assert machine.open(quiet) is machine.open(quiet)
    machine.close()
    machine.close()


def test_closing_it_wakes_whoever_waits_for_a_frame() -> None:
    machine = HostMachine()
    machine.open(quiet)
    frames = machine.frames(600)
    next(frames)
    ended = threading.Event()

    def wait_for_more() -> None:
        for _ in frames:
            pass
        ended.set()

    threading.Thread(target=wait_for_more, daemon=True).start()
    time.sleep(0.05)
    machine.close()
    assert ended.wait(60)


def test_every_act_on_it_is_refused_with_a_remedy() -> None:
    machine = HostMachine()
    info = machine.open(quiet)
    acts = (
        lambda: machine.load("fair", b"", {}),
        lambda: machine.start_workload("hogs"),
    )
    for act in acts:
        with pytest.raises(NotPermitted) as refusal:
            act()
        assert "lab" in refusal.value.remedy
    with pytest.raises(NotPermitted, match=info.reason[:20].replace("(", r"\(")):
        machine.load("fair", b"", {})
    machine.close()


def test_panic_with_nothing_loaded_finds_nothing_to_do(tmp_path: Path) -> None:
    machine = other_host(tmp_path, state="disabled\n")
    panic = machine.panic()
    assert (panic.path, panic.before, panic.scheduler.name) == ("nothing-to-do", "EEVDF", "EEVDF")
    assert machine.unload().name == "EEVDF"


def test_panic_asks_the_kernel_and_reads_back_what_runs(tmp_path: Path) -> None:
    """The made-up kernel obeys as a real one does: it reads an S from the trigger and disables."""
    machine = other_host(tmp_path)
    trigger = tmp_path / "proc/sysrq-trigger"
    os.mkfifo(trigger)

    def obey() -> None:
        assert trigger.read_text() == "S"
        write_sched_ext(tmp_path, state="disabled\n")

    kernel = threading.Thread(target=obey)
    kernel.start()
    panic = machine.panic()
    kernel.join()
    assert (panic.path, panic.before, panic.scheduler.name) == ("sysrq", "lavd_1.0.18", "EEVDF")
    assert panic.scheduler.sched_ext == "disabled"


def test_panic_without_the_right_names_the_one_command_that_does_it(tmp_path: Path) -> None:
    machine = other_host(tmp_path)
    (tmp_path / "proc/sysrq-trigger").mkdir()
    with pytest.raises(NotPermitted) as refusal:
        machine.panic()
    assert "lavd_1.0.18 still runs" in refusal.value.message
    assert "echo S | sudo tee /proc/sysrq-trigger" in refusal.value.remedy


def test_a_scheduler_of_another_program_becomes_an_event_that_names_it(tmp_path: Path) -> None:
    machine = other_host(tmp_path, state="disabled\n")
    machine.open(quiet)
    frames = machine.frames(0.05)
    assert next(frames).events == ()
    write_sched_ext(tmp_path, enable_seq="4\n")
    frame = next(frames)
    assert [event.text for event in frame.events] == ["lavd_1.0.18 was loaded by scx_lavd"]
    assert (frame.scheduler.owner, frame.scheduler.since) == ("scx_lavd", frame.time)
    assert next(frames).events == ()
    assert machine.scheduler().owner == "scx_lavd"
    with pytest.raises(NotPermitted, match="scx_lavd"):
        machine.unload()
    write_sched_ext(tmp_path, state="disabled\n", enable_seq="4\n")
    assert [event.text for event in next(frames).events] == ["lavd_1.0.18 is gone: EEVDF schedules again"]
    machine.close()


def test_a_sched_ext_kernel_says_that_the_helper_is_still_to_come(tmp_path: Path) -> None:
    info = other_host(tmp_path).open(quiet)
    assert info.sched_ext
    assert not info.can_load
    assert "helper" in info.reason


def test_closing_it_leaves_no_descriptor() -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    machine = HostMachine()
    machine.open(quiet)
    next(machine.frames(1))
    machine.close()
    assert until(lambda: len(list(Path("/proc/self/fd").iterdir())) <= before)
