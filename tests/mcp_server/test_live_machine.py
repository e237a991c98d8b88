"""What a person at a screen does to a program at work: answers it, takes the machine back, and gives it back.

The computer is one in memory; the sockets, the client and all that decides are real.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from schedtui import announced
from schedtui.agent.events import Asked, Deployed
from schedtui.announced import Answer, CaughtUp, Done, GiveBack, Happened, Here, Seen, TakeBack, Watched
from schedtui.backend.store import Store
from schedtui.mcp import live as living
from schedtui.mcp.client import Client
from schedtui.mcp.live import Live
from schedtui.mcp.place import Place
from tests.conftest import until
from tests.deploy.computer import Computer
from tests.mcp_server.test_clients import BETTER, called, proven
from tests.mcp_server.test_clients import _own_folders_and_hurry as _own_folders_and_hurry
from tests.mcp_server.test_live import Watcher
from tests.recording.test_recording import a_frame

pytestmark = pytest.mark.slow

PATIENCE_S = 240.0


class At:
    """A server with one client, and somebody who watches."""

    def __init__(self, computer: Computer, place: Place) -> None:
        self.computer = computer
        self.client = Client(place, "claude-code")
        (path,) = announced.announced()
        self.watcher = Watcher(path)
        self.watcher.read(CaughtUp)

    def attend(self) -> None:
        """Somebody can be asked from now on."""
        self.watcher.want(Here())
        assert until(self.client.attended, PATIENCE_S)

    def deployed(self, state: str) -> Deployed:
        """The news that a deployment is in this state, told already or next."""
        while True:
            told = [each.event for each in self.watcher.seen if isinstance(each, Happened)]
            for event in told:
                if isinstance(event, Deployed) and event.deployment.state == state:
                    return event
            self.watcher.read(Happened)

    def done(self, number: int) -> Done:
        """What came of a wish."""
        while True:
            done: Done = self.watcher.read(Done)
            if done.number == number:
                return done

    def asked(self) -> Asked:
        """The next question."""
        while True:
            event = self.watcher.read(Happened).event
            if isinstance(event, Asked):
                return event


@pytest.fixture
def serve(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., At]]:
    """Begins a server on a computer."""
    runtime = tmp_path / "run"
    runtime.mkdir(mode=0o700)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime))
    monkeypatch.setattr(living, "_EACH_S", 0.05)
    ends: list[Callable[[], None]] = []

    def begin(computer: Computer) -> At:
        place = Place(computer.kind, machine=computer)
        live = Live(place)
        live.start()
        ends.extend((place.close, live.close))
        it = At(computer, place)
        ends.append(it.watcher.link.close)
        return it

    yield begin
    for each in ends:
        each()


def kept(at: At) -> None:
    """What it tries is better, and a person keeps it."""
    proven(at.client)
    at.attend()
    job = at.client.submit("canary", "{}")
    for wanted in ("yes", "keep"):
        question = at.asked().question
        at.watcher.want(Answer(number=1, client=1, question=question.id, choice=wanted))
    assert job.future.result(PATIENCE_S).ok
    at.deployed("kept")
    assert at.computer.scheduler().policy == "interactive"


def test_a_person_at_a_screen_is_asked_and_what_they_say_is_done(serve: Callable[..., At]) -> None:
    at = serve(Computer(kind="lab", wait_us=BETTER))
    kept(at)
    answers = [each for each in at.watcher.seen if isinstance(each, Done)]
    assert {each.text for each in answers} <= {"It was told."}
    assert Store().deployments()[0].asked_by == "mcp:claude-code"


def test_a_no_leaves_everything_as_it_is(serve: Callable[..., At]) -> None:
    at = serve(Computer(kind="lab", wait_us=BETTER))
    proven(at.client)
    at.attend()
    job = at.client.submit("canary", "{}")
    at.watcher.want(Answer(number=1, client=1, question=at.asked().question.id, choice="no"))
    assert "as you said" in job.future.result(PATIENCE_S).text
    assert at.computer.scheduler().name == "EEVDF"


def test_what_is_not_asked_or_no_choice_is_no_answer(serve: Callable[..., At]) -> None:
    at = serve(Computer(kind="lab", wait_us=BETTER))
    proven(at.client)
    at.attend()
    job = at.client.submit("canary", "{}")
    question = at.asked().question.id
    at.watcher.want(Answer(number=1, client=1, question="keep-9", choice="keep"))
    assert at.watcher.read(Done).text == "That is not asked any more."
    at.watcher.want(Answer(number=2, client=1, question=question, choice="perhaps"))
    assert at.watcher.read(Done).text == "That is no answer to it."
    at.watcher.want(Answer(number=3, client=99, question=question, choice="yes"))
    assert at.watcher.read(Done).text == "That program is not connected any more."
    at.watcher.want(Answer(number=4, client=1, question=question, choice="no"))
    assert not job.future.result(PATIENCE_S).ok


def test_a_question_that_nobody_answers_is_answered_as_if_nobody_watched(
    serve: Callable[..., At], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(living, "PATIENCE_S", 0.2)
    at = serve(Computer(kind="host", wait_us=BETTER))
    proven(at.client)
    at.attend()
    assert "not tried" in called(at.client, "canary").text
    assert at.computer.scheduler().name == "EEVDF"


def test_taking_back_in_a_lab_is_a_panic_and_giving_back_releases_it(serve: Callable[..., At]) -> None:
    at = serve(Computer(kind="lab", wait_us=BETTER))
    kept(at)
    at.watcher.want(TakeBack(number=5, client=1))
    done = at.done(5)
    assert (done.ok, done.text) == (True, "Taken back from claude-code. EEVDF runs there now.")
    now = at.computer.scheduler()
    assert (now.name, now.latched) == ("EEVDF", True)
    assert [each.state for each in Store().deployments()] == ["reverted"]
    assert any(each.client.taken for each in at.watcher.seen if isinstance(each, Seen))
    assert called(at.client, "new_request", words="my game still stutters").ok
    proven(at.client)
    assert "A person took the machine back" in called(at.client, "canary").text

    at.watcher.want(GiveBack(number=6, client=1))
    assert at.done(6).ok
    assert not at.computer.scheduler().latched
    assert not at.client.taken


def test_taking_back_on_a_computer_ends_what_was_kept_without_a_panic(serve: Callable[..., At]) -> None:
    at = serve(Computer(kind="host", wait_us=BETTER))
    kept(at)
    at.watcher.want(TakeBack(number=5))
    assert at.done(5).ok
    now = at.computer.scheduler()
    assert (now.name, now.latched) == ("EEVDF", False)
    assert at.deployed("reverted").deployment.reason.startswith("A person took the machine back.")


def test_taking_back_in_the_middle_of_a_trial_ends_it(serve: Callable[..., At]) -> None:
    computer = Computer(kind="lab", wait_us=BETTER)
    at = serve(computer)
    proven(at.client)
    computer.script[5] = lambda: at.watcher.want(TakeBack(number=5, client=1))
    job = at.client.submit("canary", "{}")
    assert not job.future.result(PATIENCE_S).ok
    assert at.done(5).ok
    assert computer.scheduler().name == "EEVDF"
    assert [each.state for each in Store().deployments()] == ["reverted"]


def test_f12_on_the_computer_is_noticed_and_told_though_no_call_is_under_way(serve: Callable[..., At]) -> None:
    at = serve(Computer(kind="host", wait_us=BETTER))
    kept(at)
    at.computer.panic()
    gone = at.deployed("reverted").deployment
    assert gone.policy == "interactive"
    assert "reverted" in called(at.client, "status").text


def test_the_machine_is_shown_in_a_few_numbers(serve: Callable[..., At]) -> None:
    at = serve(Computer(kind="lab"))
    called(at.client, "status")
    desk = at.client.place.ready
    assert desk is not None
    desk.watch.add(a_frame(1))
    seen = at.watcher.read(Watched)
    assert (seen.machine.scheduler, seen.kernel) == ("EEVDF", desk.info.kernel)
