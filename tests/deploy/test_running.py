"""What runs unmeasured for a program that measures it itself: watched, not kept by itself, gone when it should be."""

from __future__ import annotations

import pytest

from schedtui.backend import deploy
from schedtui.backend.errors import LoadRejected, NotPermitted
from tests.conftest import until
from tests.deploy.conftest import Desk


def test_what_runs_for_its_own_sake_runs_until_it_is_taken_away(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deploy, "LONGEST_DECISION_S", 0.0)
    monkeypatch.setattr(deploy, "_HOLD_S", 0.01)
    running = desk.deployer.run(desk.verified())
    samples = desk.computer.samples
    assert until(lambda: desk.computer.samples > samples + 3)
    assert (running.state, running.comparison) == ("canary", None)
    assert desk.deployer.current(running).state == "canary"
    assert desk.computer.scheduler().name == "fifo"

    reverted = desk.deployer.revert(running, "The program that ran it is gone.")
    assert reverted.reason == "The program that ran it is gone. EEVDF runs."
    assert not desk.deployer.is_trying()


def test_a_long_wait_is_no_fault_where_nothing_was_measured_before_and_the_watchdogs_half_is(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deploy, "_HOLD_S", 0.01)
    desk.computer.longest_wait_ms = 14_000
    running = desk.deployer.run(desk.verified())
    samples = desk.computer.samples
    assert until(lambda: desk.computer.samples > samples + 3)
    assert desk.deployer.current(running).state == "canary"

    desk.computer.longest_wait_ms = 16_000
    assert until(lambda: desk.deployer.current(running).state == "reverted")
    assert "has waited 16.0 s" in desk.deployer.current(running).reason


def test_what_cannot_be_loaded_to_run_is_reverted_and_told(desk: Desk) -> None:
    desk.computer.refusal = LoadRejected("The kernel refused it.", "Mend it.")
    verified = desk.verified()
    with pytest.raises(LoadRejected, match="refused"):
        desk.deployer.run(verified)
    assert desk.deployer.current(verified).reason == "The kernel refused it. EEVDF runs."
    assert not desk.deployer.is_trying()


def test_what_the_kernel_throws_out_at_once_never_counts_as_running(desk: Desk) -> None:
    desk.computer.script[1] = lambda: desk.computer.end("The kernel threw fifo out")
    verified = desk.verified()
    with pytest.raises(NotPermitted, match="does not run any more"):
        desk.deployer.run(verified)
    assert desk.deployer.current(verified).state == "reverted"
