"""The circuit breaker: what it takes away, what it asks about, and what it lets pass."""

from __future__ import annotations

from pathlib import Path

import pytest

from schedtui.backend.breaker import PAST, Breaker
from schedtui.backend.model import Deployment, Metric
from tests.deploy.conftest import Desk

pytestmark = pytest.mark.slow


class Watched:
    """A kept deployment under a breaker, second by second."""

    def __init__(self, folder: Path) -> None:
        self.desk = Desk(folder)
        deployer = self.desk.deployer
        waiting = deployer.canary(self.desk.verified(), Metric(name="wakeup_p99_us"), seconds=0.1)
        self.kept = deployer.keep(waiting)
        self.asked: list[str] = []
        self.breaker = Breaker(deployer, self.kept, ask=lambda _, text: self.asked.append(text))

    def seconds(self, count: int) -> bool:
        """So many go by; whether it still watches."""
        return all(self.breaker.step(self.desk.computer.sample()) for _ in range(count))

    @property
    def now(self) -> Deployment:
        """What became of it."""
        return self.desk.deployer.current(self.kept)


@pytest.fixture
def watched(tmp_path: Path) -> Watched:
    """That ran well for its past."""
    watched = Watched(tmp_path)
    assert watched.seconds(PAST + 20)
    return watched


def test_what_runs_as_ever_is_let_alone(watched: Watched) -> None:
    assert watched.seconds(300)
    assert watched.now.state == "kept"
    assert not watched.asked


def test_a_lasting_degradation_takes_it_away_with_the_numbers(watched: Watched) -> None:
    watched.desk.computer.wait_us = (100.0, 400.0)
    assert not watched.seconds(60)
    assert watched.now.state == "reverted"
    assert "times worse than it was" in watched.now.reason
    assert watched.desk.computer.scheduler().name == "EEVDF"


def test_a_bad_moment_is_let_pass(watched: Watched) -> None:
    watched.desk.computer.wait_us = (100.0, 400.0)
    watched.seconds(2)
    watched.desk.computer.wait_us = (100.0, 100.0)
    assert watched.seconds(100)
    assert watched.now.state == "kept"


def test_when_the_load_changed_as_well_a_person_is_asked(watched: Watched) -> None:
    watched.desk.computer.wait_us = (100.0, 400.0)
    watched.desk.computer.wake_ups = 300
    assert watched.seconds(60)
    assert watched.now.state == "kept"
    (question,) = watched.asked
    assert "changed as well" in question
    assert question.endswith("Keep fifo?")


def test_a_starved_task_takes_it_away_at_once(watched: Watched) -> None:
    watched.desk.computer.longest_wait_ms = 1500.0
    assert not watched.seconds(2)
    assert "has waited 1.5 s" in watched.now.reason


def test_a_helper_that_was_killed_is_told_and_nothing_is_loaded_again(watched: Watched) -> None:
    watched.desk.computer.end("The helper that held it ended, and another took its place")
    assert not watched.seconds(1)
    assert watched.now.state == "reverted"
    assert "EEVDF runs" in watched.now.reason
    assert watched.desk.computer.calls.count("load") == 1
