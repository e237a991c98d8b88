"""The states of a deployment: the only ways between them, and who and what may take them."""

from __future__ import annotations

import itertools
import queue
import threading
from pathlib import Path

import pytest
from msgspec.structs import replace

from schedtui.backend import canary_run, deploy
from schedtui.backend.deploy import WAYS, Proposal
from schedtui.backend.errors import BadFile, NotPermitted
from schedtui.backend.model import Deployment, KernelId, Metric, Report
from tests.conftest import until
from tests.deploy.computer import OBJECT, Computer
from tests.deploy.conftest import POLICY, Desk, report

pytestmark = pytest.mark.slow

METRIC = Metric(name="wakeup_p99_us")


def measured(desk: Desk, seconds: float = 0.1) -> Deployment:
    """One that waits for a decision."""
    return desk.deployer.canary(desk.verified(), METRIC, seconds=seconds)


def test_a_deployment_goes_from_proposed_to_kept_and_every_step_is_in_the_store(desk: Desk) -> None:
    kept = desk.deployer.keep(measured(desk))

    assert [each.state for each in desk.told] == ["proposed", "verified", "canary", "kept"]
    assert desk.store.deployments() == [kept]
    assert desk.computer.scheduler().policy == "fifo"
    assert desk.computer.lease_s is None, "it stays without being watched"


def test_from_each_state_only_its_own_ways_lead_on(desk: Desk) -> None:
    for state, target in itertools.product(WAYS, WAYS):
        deployment = replace(desk.propose(), state=state)
        desk.deployer._known[deployment.id] = deployment
        if target in WAYS[state]:
            assert desk.deployer._move(deployment, target, "because").state == target
        else:
            with pytest.raises(NotPermitted, match="cannot become"):
                desk.deployer._move(deployment, target, "because")


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        (report(verdict="fail"), "found it wrong"),
        (report(digest="00" * 32), "another object"),
        (report(digest=""), "another object"),
        (report(settings={"slice_us": 1}), "other settings"),
        (report(rules="of old"), "another version"),
        (report(kernel=None), "real kernel"),
        (report(kernel=KernelId(release="6.17", build_id="00", btf_hash="00")), "another kernel"),
    ],
    ids=["failed", "object", "none", "settings", "rules", "no-kernel", "kernel"],
)
def test_a_failed_or_foreign_report_verifies_nothing(desk: Desk, changed: Report, why: str) -> None:
    deployment = desk.propose()
    with pytest.raises(NotPermitted, match=why):
        desk.deployer.verified(deployment, changed, OBJECT)
    assert desk.store.deployments()[0].state == "proposed"


def test_nothing_is_tried_that_was_not_verified(desk: Desk) -> None:
    with pytest.raises(NotPermitted, match="not verified"):
        desk.deployer.canary(desk.propose(), METRIC)
    assert desk.computer.calls == []


def test_nothing_is_kept_that_was_not_tried(desk: Desk) -> None:
    with pytest.raises(NotPermitted, match="not waiting"):
        desk.deployer.keep(desk.verified())


def test_the_kernels_own_scheduler_is_not_deployed(desk: Desk) -> None:
    with pytest.raises(NotPermitted):
        desk.deployer.propose(Proposal(policy=None, settings={}, preset=None, reason=""), asked_by="person")


def test_a_revert_gives_the_machine_back_and_says_what_runs(desk: Desk) -> None:
    reverted = desk.deployer.revert(measured(desk), "It was not wanted.")

    assert reverted.reason == "It was not wanted. EEVDF runs."
    assert desk.computer.scheduler().name == "EEVDF"
    assert desk.deployer.revert(reverted, "Again.") == reverted, "a second one changes nothing"
    with pytest.raises(NotPermitted):
        desk.deployer.keep(reverted)


def test_what_is_unchanged_waits_for_a_person(desk: Desk) -> None:
    waiting = measured(desk)
    assert waiting.state == "canary"
    assert waiting.comparison is not None
    assert waiting.comparison.samples_after > 0
    desk.deployer.revert(waiting, "Enough.")


def test_a_person_who_says_yes_keeps_it(desk: Desk) -> None:
    answer: queue.Queue[bool] = queue.Queue()
    answer.put(True)
    assert desk.deployer.decide(measured(desk), 5, answer).state == "kept"


def test_without_an_answer_the_countdown_takes_it_away(desk: Desk) -> None:
    reverted = desk.deployer.decide(measured(desk), 0.05, queue.Queue())
    assert reverted.state == "reverted"
    assert "Nobody kept it" in reverted.reason
    assert desk.computer.scheduler().name == "EEVDF"


def test_what_nobody_decides_on_is_taken_away(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deploy, "LONGEST_DECISION_S", 0.05)
    waiting = measured(desk)
    assert until(lambda: desk.deployer.current(waiting).state == "reverted")
    assert desk.computer.scheduler().name == "EEVDF"


def test_what_ends_while_a_person_thinks_is_reverted_with_the_reason(desk: Desk) -> None:
    waiting = measured(desk)
    desk.computer.end("The kernel threw fifo out (runnable task stall); EEVDF runs")

    assert until(lambda: desk.deployer.current(waiting).state == "reverted")
    assert "threw fifo out" in desk.deployer.current(waiting).reason
    assert desk.deployer.decide(waiting, 5, queue.Queue()).state == "reverted"


def test_what_ended_just_before_it_was_kept_is_reverted(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deploy, "_HOLD_S", 60)
    waiting = measured(desk)
    desk.computer.end("The kernel threw fifo out")
    assert desk.deployer.keep(waiting).state == "reverted"


def test_unattended_a_better_one_is_kept_and_any_other_reverted(tmp_path: Path) -> None:
    better = Desk(tmp_path / "better", Computer(wait_us=(1000.0, 100.0)))
    kept = better.deployer.canary(better.verified(), METRIC, seconds=1, unattended=True)
    assert (kept.state, kept.comparison and kept.comparison.verdict) == ("kept", "better")

    same = Desk(tmp_path / "same")
    reverted = same.deployer.canary(same.verified(), METRIC, seconds=0.1, unattended=True)
    assert reverted.state == "reverted"
    assert same.computer.scheduler().name == "EEVDF"


def test_only_one_thing_is_tried_at_a_time(desk: Desk) -> None:
    waiting = measured(desk)
    with pytest.raises(NotPermitted, match="being tried"):
        measured(desk)
    desk.deployer.revert(waiting, "Enough.")


def test_what_was_kept_is_reverted_when_something_else_is_tried_in_its_place(desk: Desk) -> None:
    kept = desk.deployer.keep(measured(desk))
    other = desk.deployer.propose(
        Proposal(policy=POLICY, settings={"slice_us": 300}, preset=None, reason=""), asked_by="person"
    )
    other = desk.deployer.verified(other, report(settings={"slice_us": 300}), OBJECT)
    desk.deployer.keep(desk.deployer.canary(other, METRIC, seconds=0.1))
    assert desk.deployer.current(kept).state == "reverted"
    assert "in its place" in desk.deployer.current(kept).reason


def test_reverting_from_another_thread_ends_a_canary(desk: Desk) -> None:
    deployment = desk.verified()
    ended: list[Deployment] = []
    trying = threading.Thread(
        target=lambda: ended.append(desk.deployer.canary(deployment, METRIC, seconds=60)), daemon=True
    )
    desk.computer.script[3] = lambda: None
    trying.start()
    assert until(lambda: "load" in desk.computer.calls)
    reverted = desk.deployer.revert(deployment, "A person took it away.", by="person")
    trying.join(60)
    assert reverted.state == "reverted"
    assert ended[0].state == "reverted"
    assert ended[0].reason.startswith("A person took it away.")
    assert desk.computer.scheduler().name == "EEVDF"


def test_what_cannot_be_written_down_is_not_begun(desk: Desk) -> None:
    deployment = desk.verified()
    desk.store.path.unlink()
    desk.store.path.mkdir()
    with pytest.raises(BadFile):
        desk.deployer.canary(deployment, METRIC)
    assert desk.computer.calls == []


def test_what_cannot_be_written_down_does_not_stay(desk: Desk) -> None:
    waiting = measured(desk)
    for ending in ("", "-wal", "-shm"):
        desk.store.path.with_name(desk.store.path.name + ending).unlink(missing_ok=True)
    desk.store.path.mkdir()
    with pytest.raises(BadFile):
        desk.deployer.keep(waiting)
    assert desk.computer.scheduler().name == "EEVDF"


def test_every_change_is_in_the_audit_with_who_did_it(tmp_path: Path) -> None:
    entries: list[tuple[str, str]] = []

    class Listed:
        def append(self, actor: str, act: str, details: dict[str, object]) -> None:
            entries.append((actor, act))

    desk = Desk(tmp_path)
    desk.deployer._audit = Listed()
    desk.deployer.revert(measured(desk), "Enough.", by="person")
    assert entries == [
        ("person", "deployment proposed"),
        ("person", "deployment verified"),
        ("person", "deployment canary"),
        ("person", "deployment reverted"),
    ]


def test_the_watchdogs_limit_is_read_from_the_object(tmp_path: Path) -> None:
    assert canary_run.watchdog_ms(deploy.compiled(POLICY)) == 5000
    assert canary_run.watchdog_ms(b"nonsense") == canary_run.DEFAULT_TIMEOUT_MS
