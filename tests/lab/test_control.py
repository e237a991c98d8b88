"""Loading, refusing, throwing out and taking back, on a real kernel."""

from __future__ import annotations

import re
import threading

import pytest

from schedtui.backend.bpf.compiler import compile_bpf
from schedtui.backend.deploy import apply, resolve
from schedtui.backend.errors import (
    BadFile,
    BadTunable,
    HelperGone,
    Interrupted,
    LoadRejected,
    PanicLatched,
    SchedtuiError,
)
from schedtui.backend.helper.protocol import Body, DoPanic, Load, Request, Run, Unlatch, encode
from schedtui.backend.lab import LabMachine
from schedtui.backend.library.catalogue import load_library
from schedtui.backend.model import Scheduler
from tests.conftest import SOURCES, quiet, until, wait_for_event

pytestmark = pytest.mark.lab


def load(machine: LabMachine, name: str) -> Scheduler:
    return apply(machine, resolve(load_library(), name, {}), quiet)


def test_a_stalling_policy_is_thrown_out_by_the_kernel_and_the_reason_is_told(lab: LabMachine) -> None:
    frames = lab.frames(0.3)
    next(frames)
    lab.start_workload("hogs")
    lab.load("stall", compile_bpf(SOURCES / "stall.bpf.c"), {})

    event = wait_for_event(frames, "threw stall out", 100)

    assert event.kind == "bad"
    assert "stall" in event.text and "EEVDF runs" in event.text
    assert re.search(r"failed to (run|check in)", event.text + event.details), event
    assert event.details, "the kernel's dump belongs to it"
    assert lab.scheduler().sched_ext == "disabled"
    assert load(lab, "fair").sched_ext == "enabled", "the next load works"


def test_a_program_that_the_kernel_rejects_is_explained_by_its_decisive_lines(lab: LabMachine) -> None:
    with pytest.raises(LoadRejected) as caught:
        lab.load("rejected", compile_bpf(SOURCES / "rejected.bpf.c"), {})
    assert "rejected.bpf.c" in caught.value.details, "the source line is named"
    assert len(caught.value.details.splitlines()) <= 20
    assert lab.scheduler().sched_ext == "disabled"


def test_garbage_as_an_object_is_refused(lab: LabMachine) -> None:
    with pytest.raises((BadFile, LoadRejected)):
        lab.load("garbage", b"\x7fELF" + b"nonsense" * 100, {})
    assert lab.scheduler().sched_ext == "disabled"


def test_a_misspelt_tunable_is_refused_by_the_helper_itself(lab: LabMachine) -> None:
    with pytest.raises(BadTunable) as caught:
        lab.load("fair", compile_bpf(SOURCES.parent.parent / "library/fair/fair.bpf.c"), {"slice_nanos": 1})
    assert "slice_nanos" in caught.value.message
    assert lab.scheduler().sched_ext == "disabled"


def test_one_policy_replaces_another(lab: LabMachine) -> None:
    load(lab, "fair")
    assert load(lab, "interactive").policy == "interactive"
    assert lab.unload().name == "EEVDF"


def test_panic_brings_eevdf_back_and_latches_until_it_is_released(lab: LabMachine) -> None:
    load(lab, "fair")
    outcome = lab.panic()
    assert outcome.path == "helper"
    assert (outcome.scheduler.sched_ext, outcome.scheduler.name) == ("disabled", "EEVDF")
    assert outcome.before.startswith("fair")

    with pytest.raises(PanicLatched):
        load(lab, "fair")
    lab.unlatch()
    assert load(lab, "fair").sched_ext == "enabled"


def test_panic_without_a_scheduler_says_that_there_is_nothing_to_do(lab: LabMachine) -> None:
    assert lab.panic().path == "nothing-to-do"


@pytest.mark.parametrize("pause_s", [0.0, 0.15, 0.4, 0.8, 1.2])
def test_panic_wins_over_a_load_in_flight_while_a_stream_runs(lab: LabMachine, pause_s: float) -> None:
    frames = lab.frames(0.2)
    next(frames)
    lab.start_workload("hogs")
    ended: list[object] = []

    def try_to_load() -> None:
        try:
            ended.append(load(lab, "interactive"))
        except SchedtuiError as error:
            ended.append(error)

    loading = threading.Thread(target=try_to_load)
    loading.start()
    loading.join(pause_s)
    assert lab.panic().scheduler.sched_ext in ("disabled", "enabling", "enabled")
    loading.join(60)

    assert ended and isinstance(ended[0], Interrupted | PanicLatched | Scheduler)
    assert until(lambda: lab.scheduler().sched_ext == "disabled")
    assert lab.scheduler().latched


def test_a_load_asked_for_before_a_panic_is_not_done_after_the_release(lab: LabMachine) -> None:
    obj = compile_bpf(SOURCES.parent.parent / "library/fair/fair.bpf.c")
    bodies: tuple[Body, ...] = (Load("fair", obj), Load("fair", obj), DoPanic(), Unlatch())
    lab.guest.qemu.agent.sendall(b"".join(encode(Request(-number, body)) for number, body in enumerate(bodies, 1)))

    lab.stop_workloads()  # its turn comes after both loads
    lab.unlatch()  # and that of this one after the panic and its release

    assert not lab.scheduler().latched
    assert lab.scheduler().sched_ext == "disabled"
    assert load(lab, "fair").sched_ext == "enabled", "what is asked for later is done"


def test_sysrq_from_outside_is_noticed_and_told(lab: LabMachine) -> None:
    frames = lab.frames(0.3)
    next(frames)
    load(lab, "fair")
    lab.run(["sh", "-c", "echo S > /proc/sysrq-trigger"], 10)
    event = wait_for_event(frames, "ended from outside")
    assert "sysrq" in event.text
    assert lab.scheduler().sched_ext == "disabled"


def test_kill_9_of_the_helper_is_followed_by_disabled(lab: LabMachine) -> None:
    load(lab, "fair")
    lab.start_workload("hogs")
    helper = lab.run(["sh", "-c", "echo $PPID"], 10).output.strip()
    assert helper != "1"

    with pytest.raises(HelperGone):
        lab.run(["sh", "-c", f"kill -9 {helper}; sleep 5"], 10)

    state = until(lambda: _state(lab) == "disabled")
    assert state, _state(lab)
    workers = lab.run(["sh", "-c", "grep -l hog /proc/[0-9]*/comm | wc -l"], 10).output.strip()
    assert workers == "0", "its workloads die with it"


def test_the_latch_of_a_panic_outlives_the_helper(lab: LabMachine) -> None:
    load(lab, "fair")
    lab.panic()
    helper = lab.run(["sh", "-c", "echo $PPID"], 10).output.strip()
    with pytest.raises(HelperGone):
        lab.run(["sh", "-c", f"kill -9 {helper}; sleep 5"], 10)
    assert until(lambda: lab.scheduler().latched)
    with pytest.raises(PanicLatched):
        load(lab, "fair")
    lab.unlatch()
    assert load(lab, "fair").name == "fair"


def test_panic_reaches_the_kernel_when_the_helper_is_stopped(lab: LabMachine) -> None:
    load(lab, "fair")
    helper = lab.run(["sh", "-c", "echo $PPID"], 10).output.strip()
    stopper = "import os, signal, sys, time; os.kill(int(sys.argv[1]), signal.SIGSTOP); time.sleep(8)"
    stopper += "; os.kill(int(sys.argv[1]), signal.SIGCONT)"
    command = f"setsid python3 -c '{stopper}' {helper} >/dev/null 2>&1 &"
    with pytest.raises(HelperGone):
        lab.guest.client.call(Run(["sh", "-c", f"{command} sleep 3"], 3), timeout_s=2)
    outcome = lab.panic()
    assert outcome.scheduler.sched_ext == "disabled"
    assert lab.scheduler().latched


def _state(machine: LabMachine) -> str:
    try:
        return machine.scheduler().sched_ext
    except SchedtuiError:
        return ""
