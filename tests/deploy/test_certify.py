"""Where a machine loads nothing but what it proved itself: what is asked of it, and when."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import replace

from schedtui.backend.deploy import Proposal, apply, compiled
from schedtui.backend.errors import Interrupted, NotPermitted, NotProven
from schedtui.backend.library.catalogue import load_library
from schedtui.backend.model import Finding, Metric, Report, Setting, Stage, digest_of
from schedtui.backend.verifier import reports
from schedtui.backend.verifier.proof import Proof, prove
from schedtui.paths import shipped
from tests.deploy.computer import KERNEL, OBJECT, Computer
from tests.deploy.conftest import Desk, report

LIBRARY = load_library(shipped("library")).policies
FAIR = LIBRARY["fair"]
WRONG = Finding(
    rule="slow-wakeups", severity="error", place="crowd", meaning="Programs wait too long.", remedy="Mend it."
)
STAGES = tuple(Stage(name=name, verdict="pass", seconds=1.0) for name in ("object", "bytecode", "kernel"))


def nothing(_text: str, _seconds: float) -> None:
    """Of the progress."""


def of_fair(**changes: object) -> Report:
    return report(**{"name": "fair", "digest": digest_of(compiled(FAIR)), "stages": STAGES, **changes})


def failed() -> Report:
    stage = Stage(name="kernel", verdict="fail", seconds=1.0, findings=(WRONG,))
    return of_fair(verdict="fail", stages=(*STAGES[:2], stage))


def proven(computer: Computer) -> Proof:
    return prove(FAIR, {}, kernel_id=KERNEL, progress=nothing, kind="host", machine=computer)


@pytest.fixture(autouse=True)
def _own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))


def test_the_machines_own_report_is_the_report_and_is_kept_for_the_library() -> None:
    computer = Computer()
    computer.proof = of_fair()
    proof = proven(computer)
    assert computer.calls == ["certify"]
    assert [each.name for each in proof.report.stages] == ["source", "object", "bytecode", "kernel"]
    assert proof.obj == compiled(FAIR)
    assert reports.of(proof.report.digest) == [proof.report]


def test_what_the_machines_own_proof_failed_is_a_failing_report() -> None:
    computer = Computer()
    computer.proof = failed()
    proof = proven(computer)
    assert (proof.report.verdict, proof.obj) == ("fail", b"")
    assert WRONG in proof.report.findings


def test_a_machine_is_not_asked_for_what_fails_here_already(tmp_path: Path) -> None:
    (tmp_path / "fair.bpf.c").write_text("this is no C")
    computer = Computer()
    computer.proof = of_fair()
    broken = replace(FAIR, source=str(tmp_path / "fair.bpf.c"), origin="generated")
    proof = prove(broken, {}, kernel_id=KERNEL, progress=nothing, kind="host", machine=computer)
    assert proof.report.verdict == "fail"
    assert computer.calls == []


def test_a_refusal_of_the_machine_reaches_whoever_asked() -> None:
    computer = Computer()
    computer.proof = NotPermitted("You did not permit it.")
    with pytest.raises(NotPermitted, match="You did not permit it"):
        proven(computer)


def test_a_deployment_is_verified_by_the_machines_own_report_before_it_is_tried(desk: Desk) -> None:
    desk.computer.proof = report(verdict="warn", rules="those of the helper's own copy")
    deployment = desk.deployer.verified(desk.propose(), report(), OBJECT)
    assert desk.computer.calls == ["certify"]
    assert deployment.state == "verified"
    assert "with warnings" in deployment.reason
    desk.deployer.canary(deployment, Metric(name="wakeup_p99_us"), seconds=0.1)
    assert desk.computer.calls[:2] == ["certify", "load"]


def test_what_the_machine_does_not_pass_is_not_verified(desk: Desk) -> None:
    deployment = desk.propose()
    for proof, refusal in ((report(verdict="fail"), NotPermitted), (Interrupted("Nobody waits."), Interrupted)):
        desk.computer.proof = proof
        with pytest.raises(refusal):
            desk.deployer.verified(deployment, report(), OBJECT)
        assert desk.deployer.current(deployment).state == "proposed"


def test_a_direct_wish_is_proven_before_it_is_loaded() -> None:
    computer = Computer()
    wish = Proposal(policy=FAIR, settings={}, preset=None, reason="")
    computer.proof = failed()
    with pytest.raises(NotProven, match=r"fair did not pass.*Programs wait too long") as refused:
        apply(computer, wish, nothing)
    assert refused.value.remedy == "Mend it."
    assert computer.calls == ["certify"]
    computer.proof = of_fair()
    assert apply(computer, wish, nothing).name == "fair"
    assert computer.calls == ["certify", "certify", "load"]


def test_live_settings_are_proven_before_they_are_changed() -> None:
    computer = Computer()
    computer.proof = failed()
    policy = next(each for each in LIBRARY.values() if each.source and any(it.live for it in each.tunables))
    live = next(each for each in policy.tunables if each.live)
    computer.put(policy.name, digest_of(compiled(policy)), {})
    wish: dict[str, Setting] = {live.name: live.maximum or True}
    with pytest.raises(NotProven):
        apply(computer, Proposal(policy=policy, settings=wish, preset=None, reason=""), nothing)
    assert computer.scheduler().settings == {}
    assert computer.calls == ["certify"]
