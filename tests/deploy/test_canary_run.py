"""What a canary does on a machine: what it measures, and what ends it at once."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from schedtui.backend.model import Comparison, Deployment, Metric
from tests.deploy.computer import Computer
from tests.deploy.conftest import Desk

pytestmark = pytest.mark.slow

METRIC = Metric(name="wakeup_p99_us")


def tried(desk: Desk, metric: Metric = METRIC, seconds: float = 1.0) -> Deployment:
    """Verified and measured."""
    return desk.deployer.canary(desk.verified(), metric, seconds=seconds)


def test_a_clearly_worse_candidate_is_reverted_with_the_numbers(tmp_path: Path) -> None:
    desk = Desk(tmp_path, Computer(wait_us=(100.0, 900.0)))
    reverted = tried(desk)
    assert reverted.state == "reverted"
    assert "clearly worse" in reverted.reason
    assert reverted.comparison is not None
    assert reverted.comparison.verdict == "worse"
    assert (reverted.comparison.change_percent or 0) > 300
    assert desk.computer.scheduler().name == "EEVDF"


def test_a_better_candidate_runs_and_waits_to_be_kept(tmp_path: Path) -> None:
    desk = Desk(tmp_path, Computer(wait_us=(900.0, 100.0)))
    waiting = tried(desk)
    assert waiting.state == "canary"
    assert waiting.comparison is not None
    assert waiting.comparison.verdict == "better"
    assert desk.computer.scheduler().policy == "fifo"
    desk.deployer.revert(waiting, "Enough.")


def test_when_the_load_is_steady_both_sides_take_turns(desk: Desk) -> None:
    sides: list[str] = []

    def note(_seen: Comparison, side: str) -> None:
        if sides[-1:] != [side]:
            sides.append(side)

    waiting = desk.deployer.canary(desk.verified(), METRIC, seconds=30, on_progress=note)
    assert sides[:4] == ["before", "after", "before", "after"]
    assert desk.computer.scheduler().policy == "fifo", "the candidate runs at the end"
    desk.deployer.revert(waiting, "Enough.")


def test_what_cannot_be_brought_back_is_measured_once(desk: Desk) -> None:
    desk.computer.put("scx_other", "", {}, owner="another program")
    waiting = tried(desk)
    assert desk.computer.calls == ["load"]
    desk.deployer.revert(waiting, "Enough.")


def test_the_named_processes_are_in_focus_while_it_is_measured(desk: Desk) -> None:
    waiting = tried(desk, Metric(name="wakeup_p99_us", focus=("game",)))
    assert desk.computer.focused == [("game",), ()]
    desk.deployer.revert(waiting, "Enough.")


def _starve(computer: Computer) -> None:
    computer.longest_wait_ms = 1500.0


def _near_the_watchdog(computer: Computer) -> None:
    computer.longest_wait_ms = 16_000.0


@pytest.mark.parametrize(
    ("happens", "why"),
    [
        (_starve, "somebody (7) has waited 1.5 s"),
        (_near_the_watchdog, "watchdog would have thrown"),
        (lambda it: it.reject(3), "refused to schedule 3 tasks"),
        (lambda it: it.end("The kernel threw fifo out (stall)"), "The kernel threw fifo out (stall)"),
        (lambda it: it.panic(), "Panic was pressed"),
        (lambda it: it.put("scx_other", "", {}, owner="another program"), "scx_other, took the place"),
        (lambda it: setattr(it, "helper_died", True), "The helper that held it ended"),
    ],
    ids=["starved", "watchdog", "rejections", "thrown-out", "panic", "replaced", "helper"],
)
def test_what_must_not_be_ends_it_at_once_and_says_why(
    desk: Desk, happens: Callable[[Computer], None], why: str
) -> None:
    desk.computer.script[5] = lambda: happens(desk.computer)
    reverted = tried(desk, seconds=30)
    assert reverted.state == "reverted"
    assert why in reverted.reason
    assert (desk.computer.scheduler().name in reverted.reason) or why in reverted.reason
    assert desk.computer.scheduler().policy != "fifo"


def test_whoever_still_goes_is_not_said_to_run(desk: Desk) -> None:
    desk.computer.script[5] = desk.computer.leave
    reverted = tried(desk, seconds=30)
    assert reverted.reason == "fifo does not run any more: the kernel ended it, or somebody else did. EEVDF runs."


def test_a_wait_that_was_there_before_is_not_the_candidates(desk: Desk) -> None:
    desk.computer.longest_wait_ms = 1500.0
    assert tried(desk, seconds=0.1).state == "canary"


def test_a_long_wait_that_is_seen_once_is_a_computer_that_stood_still(desk: Desk) -> None:
    desk.computer.script[5] = lambda: _starve(desk.computer)
    desk.computer.script[6] = lambda: setattr(desk.computer, "longest_wait_ms", 5.0)
    assert tried(desk, seconds=0.1).state == "canary"


def test_stopping_a_canary_reverts_it(desk: Desk) -> None:
    stop = threading.Event()
    desk.computer.script[5] = stop.set
    reverted = desk.deployer.canary(desk.verified(), METRIC, seconds=30, stop=stop)
    assert reverted.state == "reverted"
    assert "stopped" in reverted.reason
    assert desk.computer.scheduler().name == "EEVDF"


def test_a_command_is_run_under_each_side_in_turn(tmp_path: Path) -> None:
    desk = Desk(tmp_path, Computer())
    desk.computer.command_s = (10.0, 5.0)
    waiting = tried(desk, Metric(name="command_s", command=("make",)), seconds=60)
    assert waiting.comparison is not None
    assert waiting.comparison.verdict == "better"
    assert waiting.comparison.samples_after >= 3
    assert desk.computer.calls[:3] == ["load", "unload", "load"]
    desk.deployer.revert(waiting, "Enough.")


def test_a_command_that_fails_only_under_the_candidate_reverts_it(desk: Desk) -> None:
    desk.computer.exit_code = 2
    reverted = tried(desk, Metric(name="command_s", command=("make",)), seconds=60)
    assert reverted.state == "reverted"
    assert "make ended with 2 while fifo ran" in reverted.reason
