"""Canaries on a real kernel: what is worse, better, or starves; a helper that is killed, and panic, in the middle."""

from __future__ import annotations

import contextlib
import hashlib
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from schedtui.backend.bpf.compiler import compile_bpf
from schedtui.backend.breaker import Breaker
from schedtui.backend.deploy import Deployer, Proposal
from schedtui.backend.errors import SchedtuiError
from schedtui.backend.lab import LabMachine
from schedtui.backend.library.catalogue import load_library
from schedtui.backend.model import Deployment, Metric, Policy, Report, Setting
from schedtui.backend.store import Store
from schedtui.backend.verifier.reports import rules_version
from schedtui.paths import shipped
from tests.conftest import DEFAULT, SOURCES, TRIALS_AT_MOST, kernel_image, quiet, until

pytestmark = pytest.mark.lab

POLICIES = load_library(shipped("library")).policies
HOGGING = replace(POLICIES["fifo"], name="hogging", source=str(SOURCES / "hogging.bpf.c"))
"""Correct, and bad on purpose."""
FRAMES = Metric(name="wakeup_p99_us", focus=("load-frames",))
EVERYBODY = Metric(name="wakeup_p99_us")


class Trying:
    """A deployer on a guest."""

    def __init__(self, machine: LabMachine, folder: Path) -> None:
        self.machine = machine
        self.store = Store(folder / "history.sqlite")
        self.deployer = Deployer(machine, self.store)

    def verified(self, policy: Policy, settings: dict[str, Setting] | None = None) -> Deployment:
        """As if the verifier had passed it, which is not what is tested here."""
        obj, chosen = compile_bpf(Path(policy.source)), settings or {}
        proposal = Proposal(policy=policy, settings=chosen, preset=None, reason="")
        report = Report(
            name=policy.name,
            verdict="pass",
            digest=hashlib.sha256(obj).hexdigest(),
            settings=chosen,
            kernel=self.machine.open(quiet).kernel_id,
            stages=(),
            quick=False,
            made_at=time.time(),
            rules=rules_version(),
        )
        return self.deployer.verified(self.deployer.propose(proposal, asked_by="person"), report, obj)

    def canary_while(self, deployment: Deployment, act: Callable[[], object]) -> Deployment:
        """Try it for long, and do something once it runs."""
        ended: list[Deployment] = []
        trying = threading.Thread(
            target=lambda: ended.append(self.deployer.canary(deployment, EVERYBODY, seconds=60)), daemon=True
        )
        trying.start()
        assert until(lambda: runs(self.machine) == deployment.policy, 60)
        act()
        trying.join(60)
        return ended[0]


def runs(machine: LabMachine) -> str:
    """The policy of ours that runs, or the kernel's own scheduler; empty while nobody answers."""
    try:
        now = machine.scheduler()
    except SchedtuiError:
        return ""
    return now.policy or now.name


@pytest.fixture(scope="module")
def guest() -> Iterator[LabMachine]:
    """One guest for all that leave it as they found it."""
    machine = LabMachine(kernel=kernel_image(DEFAULT), cpus=2)
    machine.open(quiet)
    yield machine
    machine.close()


@pytest.fixture
def trying(guest: LabMachine, tmp_path: Path) -> Iterator[Trying]:
    """With nothing loaded and no loads."""
    yield Trying(guest, tmp_path)
    with contextlib.suppress(SchedtuiError):
        guest.stop_workloads()
        guest.unlatch()
        guest.unload()


def test_a_candidate_that_starves_tasks_is_reverted_and_the_task_is_named(trying: Trying) -> None:
    trying.machine.start_workload("hogs")
    reverted = trying.deployer.canary(trying.verified(HOGGING, {"slice_ms": 4000}), EVERYBODY, seconds=10)
    assert reverted.state == "reverted"
    assert "has waited" in reverted.reason or "threw hogging out" in reverted.reason
    assert "EEVDF runs" in reverted.reason
    assert runs(trying.machine) == "EEVDF"


def test_a_helper_that_is_killed_in_a_canary_leaves_eevdf_and_the_deployment_is_reverted(trying: Trying) -> None:
    def kill_the_helper() -> None:
        helper = trying.machine.run(["sh", "-c", "echo $PPID"], 10).output.strip()
        with contextlib.suppress(SchedtuiError):
            trying.machine.run(["sh", "-c", f"kill -9 {helper}; sleep 5"], 10)

    reverted = trying.canary_while(trying.verified(POLICIES["fair"]), kill_the_helper)

    assert reverted.state == "reverted"
    assert "helper" in reverted.reason
    assert "EEVDF runs" in reverted.reason
    assert until(lambda: runs(trying.machine) == "EEVDF")
    assert trying.store.deployments()[0].state == "reverted"


def test_panic_in_the_middle_of_a_canary_reverts_it(trying: Trying) -> None:
    reverted = trying.canary_while(trying.verified(POLICIES["fair"]), trying.machine.panic)
    assert reverted.state == "reverted"
    assert "Panic was pressed" in reverted.reason
    assert runs(trying.machine) == "EEVDF"


@pytest.mark.soak
@pytest.mark.matrix
def test_where_hardly_anything_happens_nothing_can_be_told(trying: Trying) -> None:
    reverted = trying.deployer.canary(trying.verified(POLICIES["fair"]), FRAMES, seconds=5, unattended=True)
    assert reverted.state == "reverted"
    assert reverted.comparison is not None
    assert reverted.comparison.verdict == "inconclusive"
    assert runs(trying.machine) == "EEVDF"


@pytest.mark.soak
@pytest.mark.matrix
def test_a_clearly_worse_candidate_is_reverted_with_the_numbers(trying: Trying) -> None:
    trying.machine.start_workload("frames")
    trying.machine.start_workload("hogs")
    reverted = trying.deployer.canary(trying.verified(HOGGING, {"slice_ms": 400}), FRAMES, seconds=30)
    assert reverted.state == "reverted", reverted
    assert reverted.comparison is not None
    assert reverted.comparison.verdict == "worse" or "has waited" in reverted.reason, reverted
    assert runs(trying.machine) == "EEVDF"


@pytest.mark.soak
@pytest.mark.matrix
def test_for_a_game_beside_hogs_interactive_is_better_than_long_slices_and_is_kept(trying: Trying) -> None:
    trying.machine.start_workload("frames")
    trying.machine.start_workload("hogs")
    trying.machine.load("hogging", compile_bpf(Path(HOGGING.source)), {"slice_ms": 25})
    kept = trying.deployer.canary(trying.verified(POLICIES["interactive"]), FRAMES, seconds=40, unattended=True)
    assert kept.comparison is not None
    assert kept.comparison.verdict == "better", kept
    assert kept.state == "kept"
    assert runs(trying.machine) == "interactive"


@pytest.mark.soak
@pytest.mark.matrix
def test_a_kept_scheduler_that_is_ended_from_outside_is_told_by_the_breaker(trying: Trying) -> None:
    for _ in range(TRIALS_AT_MOST):
        tried = trying.deployer.canary(trying.verified(POLICIES["fair"]), EVERYBODY, seconds=4)
        if tried.state != "reverted":
            break
    kept = trying.deployer.keep(tried)
    breaker = Breaker(trying.deployer, kept)
    breaker.start()
    trying.machine.run(["sh", "-c", "echo S > /proc/sysrq-trigger"], 10)
    assert until(lambda: trying.deployer.current(kept).state == "reverted", 30)
    assert "EEVDF runs" in trying.deployer.current(kept).reason
    breaker.stop()
