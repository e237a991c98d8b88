"""Proving what a request works on: what earlier reports count, and whose time it is while somebody is waited for."""

from __future__ import annotations

import hashlib
import queue
import threading
import time
from pathlib import Path

import pytest

from schedtui.agent.asking import Asking
from schedtui.agent.bench import Bench, Request, Subject, Watch
from schedtui.agent.budget import Budget
from schedtui.agent.events import AnyEvent, Progressed
from schedtui.agent.trust import Trust
from schedtui.agent.trying import prove, stages_told
from schedtui.backend.deploy import Deployer, compiled
from schedtui.backend.lab import LabMachine
from schedtui.backend.library.catalogue import load_library
from schedtui.backend.machine import Machine
from schedtui.backend.model import Finding, Report, Stage
from schedtui.backend.store import Store
from schedtui.backend.verifier import reports
from tests.conftest import quiet
from tests.deploy.computer import Computer

STILL = "31 % of the CPU time was unused while tasks waited."


class Proving:
    """A request that is at its proof, by a clock that only a test turns."""

    def __init__(self, machine: Machine, folder: Path) -> None:
        self.now_s = 0.0
        self.events: list[AnyEvent] = []
        self.budget = Budget(clock=lambda: self.now_s)
        stop, store = threading.Event(), Store()
        self.bench = Bench(
            request=Request(words="a game", quick=True),
            machine=machine,
            info=machine.open(quiet),
            watch=Watch(),
            store=store,
            folder=folder,
            mind_name="offline adviser",
            deployer=Deployer(machine, store),
            person=Asking(
                consent="no",
                kind="lab",
                trust=Trust("offline adviser"),
                budget=self.budget,
                listen=self.events.append,
                stop=stop,
                replies=queue.SimpleQueue(),
                record=lambda _act, **_details: None,
            ),
            stop=stop,
        )

    def told(self) -> list[str]:
        """In words."""
        return [each.text for each in self.events if isinstance(each, Progressed)]


def test_while_another_policy_is_measured_the_time_is_not_the_requests(tmp_path: Path) -> None:
    it = Proving(Computer(kind="lab"), tmp_path)
    with stages_told(it.bench) as progress:
        progress("measuring the kernel's own scheduler", 0)
        it.now_s += 5
        progress("waiting: another policy is being measured", 5)
        it.now_s += 100
        progress("waiting: another policy is being measured", 105)
        it.now_s += 100
        progress("loading fair", 205)
        it.now_s += 5
    it.now_s += 1
    assert it.budget.seconds == 11
    assert it.told().count("waiting: another policy is being measured") == 1


def test_a_wait_that_ends_the_proof_does_not_stop_the_clock_for_good(tmp_path: Path) -> None:
    it = Proving(Computer(kind="lab"), tmp_path)
    with pytest.raises(OSError, match="gone"), stages_told(it.bench) as progress:
        progress("waiting: another policy is being measured", 0)
        it.now_s += 100
        raise OSError("gone")
    it.now_s += 1
    assert it.budget.seconds == 1


@pytest.mark.soak
@pytest.mark.matrix
@pytest.mark.lab
def test_a_failure_that_a_busy_computer_measured_once_is_measured_again_and_no_second_time(tmp_path: Path) -> None:
    machine = LabMachine()
    try:
        it = Proving(machine, tmp_path)
        policy = load_library().policies["fair"]
        it.bench.subject = Subject(policy=policy)
        failed = _failed(it, compiled(policy), made_at=time.time() - 60)
        reports.save(failed)

        assert prove(it.bench).verdict != "fail"
        assert "fair failed on a real kernel before: measured once more" in it.told()

        it.events.clear()
        reports.save(_failed(it, compiled(policy), made_at=time.time()))
        assert prove(it.bench).verdict == "fail", "measured in this request, so it holds"
    finally:
        machine.close()


def _failed(it: Proving, obj: bytes, made_at: float) -> Report:
    finding = Finding(rule="unused", severity="error", place="crowd", meaning=STILL, remedy="")
    return Report(
        name="fair",
        verdict="fail",
        digest=hashlib.sha256(obj).hexdigest(),
        settings={},
        kernel=it.bench.info.kernel_id,
        stages=(Stage(name="kernel", verdict="fail", seconds=9.0, findings=(finding,)),),
        quick=True,
        made_at=made_at,
        rules=reports.rules_version(),
    )
