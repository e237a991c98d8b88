"""Command of a machine: what was left is told, what is kept is watched, and nothing undecided stays at the end."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace
from textual.message import Message

from schedtui import messages as news
from schedtui.agent.bench import Request
from schedtui.agent.events import Answered
from schedtui.agent.trust import Standing, TrustFile, TrustLevel
from schedtui.backend import breaker
from schedtui.backend.deploy import Proposal
from schedtui.backend.model import Deployment, Metric
from schedtui.backend.replay import ReplayMachine
from schedtui.backend.store import Store
from schedtui.config import remember_table
from schedtui.control import Control
from tests.conftest import quiet
from tests.deploy.computer import OBJECT, Computer
from tests.deploy.conftest import POLICY, _hurried, report

pytestmark = pytest.mark.slow
METRIC = Metric(name="wakeup_p99_us")
PATIENCE_S = 60.0
RECORDING = Path(__file__).parents[1] / "recordings" / "busy-4-eevdf.jsonl.gz"
__all__ = ["_hurried"]


class Commanded:
    """A computer in memory, and command of it."""

    def __init__(self) -> None:
        self.computer = Computer(wait_us=(400.0, 100.0))
        self.told: list[Message] = []
        self.control = Control(self.computer, self.computer.open(quiet), self.told.append)

    def measured(self, asked_by: str = "person") -> Deployment:
        """A better policy runs, and waits for a decision."""
        deployer = self.control.deployer()
        proposal = Proposal(policy=POLICY, settings={}, preset=None, reason="")
        verified = deployer.verified(deployer.propose(proposal, asked_by=asked_by), report(), OBJECT)
        return deployer.canary(verified, METRIC, seconds=0.3)

    def is_watched(self) -> None:
        """Wait until whoever watches what was kept has seen how it began."""
        before = self.computer.samples
        until(lambda: self.computer.samples > before + 5)

    def states(self) -> list[str]:
        """What was told of deployments."""
        return [each.deployment.state for each in self.told if isinstance(each, news.DeploymentChanged)]


@pytest.fixture
def commanded() -> Iterator[Commanded]:
    it = Commanded()
    yield it
    it.control.close()


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        threading.Event().wait(0.01)


def test_what_a_crash_left_is_resolved_and_told(commanded: Commanded) -> None:
    left = commanded.measured()
    Store().update_deployment(replace(left, watcher="1:1"))
    again = Commanded()
    again.computer.put("fifo", left.digest, {})
    again.control.recover()
    until(lambda: any(isinstance(each, news.DeploymentRecovered) for each in again.told))
    assert again.computer.scheduler().name == "EEVDF"
    again.control.close()


def test_what_nobody_decided_on_does_not_stay_at_the_end(commanded: Commanded) -> None:
    deployment = commanded.measured()
    assert deployment.state == "canary"
    commanded.control.close()
    assert commanded.computer.scheduler().name == "EEVDF"
    (kept,) = Store().deployments()
    assert kept.state == "reverted" and "before it was decided" in kept.reason


def test_what_was_kept_is_watched_and_taken_back_by_a_person(commanded: Commanded) -> None:
    commanded.control.deployer().keep(commanded.measured())
    assert commanded.control.kept is not None
    until(lambda: any(thread.name == "circuit-breaker" for thread in threading.enumerate()))
    assert commanded.control.take_back().name == "EEVDF"
    assert commanded.control.kept is None
    assert Store().deployments()[0].reason.startswith("You took it back.")
    assert commanded.states()[-2:] == ["kept", "reverted"]


def test_what_an_earlier_program_kept_is_watched_again_and_what_was_updated_is_told(commanded: Commanded) -> None:
    kept = commanded.control.deployer().keep(commanded.measured())
    again = Commanded()
    again.computer.put("fifo", kept.digest, {})
    again.control.recover()
    until(lambda: any(isinstance(each, news.KeptWasUpdated) for each in again.told))
    assert again.control.kept == kept
    (told,) = (each.text for each in again.told if isinstance(each, news.KeptWasUpdated))
    assert told == "fifo was updated: it is measured again before it is kept."
    again.control.close()


def test_what_a_panic_takes_away_is_seen_to_be_gone(commanded: Commanded) -> None:
    commanded.control.deployer().keep(commanded.measured())
    commanded.control.panicked()
    commanded.computer.panic()
    until(lambda: commanded.states()[-1] == "reverted")
    assert "Panic was pressed" in Store().deployments()[0].reason


def trusted() -> None:
    """A model that may choose from the library."""
    with TrustFile().changing() as minds:
        minds["some/model"] = Standing(kept={"tune": 3, "library": 3})
    assert TrustFile().standing("some/model").level == TrustLevel.LIBRARY


def test_a_mind_whose_choice_is_taken_back_is_trusted_less_once(commanded: Commanded) -> None:
    trusted()
    commanded.control.deployer().keep(commanded.measured("some/model"))
    commanded.control.take_back()
    assert TrustFile().standing("some/model").level == TrustLevel.TUNE
    assert TrustFile().standing("some/model").reverts == 1


def test_a_mind_whose_choice_the_circuit_breaker_takes_away_is_trusted_less(
    commanded: Commanded, monkeypatch: pytest.MonkeyPatch
) -> None:
    trusted()
    monkeypatch.setattr(breaker, "INTERVAL_S", 0.05)
    commanded.control.deployer().keep(commanded.measured("some/model"))
    commanded.is_watched()
    commanded.computer.reject(3)
    until(lambda: commanded.states()[-1] == "reverted")
    until(lambda: TrustFile().standing("some/model").level == TrustLevel.TUNE)


def test_a_mind_whose_choice_makes_room_for_another_is_not_blamed(
    commanded: Commanded, monkeypatch: pytest.MonkeyPatch
) -> None:
    trusted()
    monkeypatch.setattr(breaker, "INTERVAL_S", 0.05)
    commanded.control.deployer().keep(commanded.measured("some/model"))
    commanded.is_watched()
    commanded.computer.put("scx_other", "", {}, owner="another program")
    until(lambda: commanded.states()[-1] == "reverted")
    assert TrustFile().standing("some/model").level == TrustLevel.LIBRARY


def test_who_wants_never_to_be_asked_is_not_asked_by_a_request_either() -> None:
    remember_table("trust", {"automatic": True})
    machine, told = ReplayMachine(RECORDING, speed=20), list[Message]()
    control = Control(machine, machine.open(quiet), told.append)
    thread = threading.Thread(target=lambda: [control.see(frame) for frame in machine.frames(0.5)], daemon=True)
    thread.start()
    try:
        control.ask(Request(words="what is the weather like"))
        until(lambda: any(isinstance(each, news.AskingEnded) for each in told))
        (ended,) = [each for each in told if isinstance(each, news.AskingEnded)]
        assert ended.story is not None and ended.story.state == "unknown"
        answers = [each.event for each in told if isinstance(each, news.AskingTold)]
        assert [each.by for each in answers if isinstance(each, Answered)] == ["setting"]
    finally:
        control.close()
        machine.close()
        thread.join(10)
