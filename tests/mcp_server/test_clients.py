"""One connected program, without a protocol: the order of its calls, who consents, and what must not outlive it.

The computer is one in memory, which counts its time in samples; what the verifier says is given.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from schedtui.agent.bench import Subject
from schedtui.agent.events import Asked, Deployed
from schedtui.agent.tools import Result
from schedtui.agent.trajectory import read
from schedtui.agent.trust import TrustFile
from schedtui.backend.audit import Audit
from schedtui.backend.errors import NotPermitted
from schedtui.backend.model import MachineKind
from schedtui.backend.store import Store
from schedtui.mcp.client import WAITING, Client
from schedtui.mcp.place import Place
from tests.conftest import until
from tests.deploy.computer import OBJECT, Computer
from tests.deploy.conftest import hurry, report

BETTER, WORSE = (1000.0, 100.0), (100.0, 900.0)
WORKLOAD = {
    "sentence": "A game beside a build",
    "class_id": "gaming",
    "confidence": 0.9,
    "evidence": ["they said so"],
    "metric": "wakeup_p99_us",
}
PLAN = {"mode": "configure", "policy": "interactive", "reason": "short turns", "expected": "p99 −40 %", "risk": "none"}


@pytest.fixture(autouse=True)
def _own_folders_and_hurry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    hurry(monkeypatch)


Connect = Callable[..., Client]


@pytest.fixture
def connect() -> Iterator[Connect]:
    """A client of a place on this computer."""
    places: list[Place] = []

    def come(computer: Computer, *, name: str = "tester", yes: bool = False, beside: Client | None = None) -> Client:
        if beside is not None:
            return Client(beside.place, name)
        places.append(Place(computer.kind, consent="yes" if yes else "no", machine=computer))
        return Client(places[-1], name)

    yield come
    for each in places:
        each.close()


def called(client: Client, tool: str, **arguments: object) -> Result:
    return client.call(tool, msgspec.json.encode(arguments).decode())


def planned(client: Client) -> None:
    """As far as a plan."""
    assert called(client, "submit_workload", **WORKLOAD).ok
    result = called(client, "submit_plan", **PLAN)
    assert result.ok, result.text


def proven(client: Client) -> None:
    """As far as a proof, which is given."""
    planned(client)
    bench = client.bench
    assert bench is not None and bench.subject is not None
    passed = report(name=bench.subject.policy.name)
    bench.subject = Subject(policy=bench.subject.policy, report=passed, obj=OBJECT, checked=True)


@pytest.mark.parametrize(
    ("tool", "arguments", "first"),
    [
        ("submit_plan", PLAN, "submit_workload comes first"),
        ("verify", {}, "submit_plan comes first"),
        ("write_policy", {"source": "x"}, "submit_plan comes first"),
        ("canary", {}, "submit_plan comes first"),
        ("give_up", {"reason": "no"}, "submit_plan comes first"),
        ("keep_note", {"text": "a note"}, "come first"),
        ("finish", {"text": "Done."}, "come first"),
        ("promote", {"policy": "x", "reason": "y"}, "come first"),
    ],
    ids=lambda value: value if isinstance(value, str) and "_" in value else None,
)
def test_no_stage_can_be_skipped(connect: Connect, tool: str, arguments: dict[str, object], first: str) -> None:
    refused = called(connect(Computer(kind="lab")), tool, **arguments)
    assert not refused.ok and first in refused.text


def test_a_plan_is_verified_before_it_is_tried_and_ended_before_another(connect: Connect) -> None:
    client = connect(Computer(kind="lab"))
    planned(client)
    assert "verify comes first" in called(client, "canary").text
    assert "is open" in called(client, "submit_plan", **PLAN).text
    assert "is open" in called(client, "finish", text="Done.").text
    assert called(client, "give_up", reason="It is not worth it.").ok
    assert "tried in this request already" in called(client, "submit_plan", **PLAN).text
    assert called(client, "submit_plan", **{**PLAN, "policy": "fair"}).ok


@pytest.mark.parametrize(
    ("given", "started"),
    [
        ({}, ["hogs", "frames"]),
        ({"loads": ["forks"]}, ["forks"]),
        ({"command": "make -j4"}, []),
        ({"loads": ["hogs"], "folder": "/etc"}, []),
    ],
    ids=["what fits the words", "what is named", "a command", "refused"],
)
def test_in_an_idle_lab_something_runs_that_can_be_measured(
    connect: Connect, given: dict[str, object], started: list[str]
) -> None:
    computer = Computer(kind="lab")
    said = called(connect(computer), "new_request", words="my game stutters", **given)
    assert computer.loads == started
    assert ("hogs" in said.text) == ("hogs" in started)


def test_on_a_persons_own_computer_no_load_is_started(connect: Connect) -> None:
    computer = Computer(kind="host")
    assert called(connect(computer), "new_request", words="my game stutters").ok
    assert computer.loads == []


def test_a_request_tries_no_more_plans_than_it_may(connect: Connect) -> None:
    client = connect(Computer(kind="lab"))
    assert called(client, "new_request", words="my game stutters", rounds=1).ok
    planned(client)
    called(client, "give_up", reason="no")
    assert "which is the limit" in called(client, "submit_plan", **{**PLAN, "policy": "fair"}).text


@pytest.mark.slow
def test_what_is_better_is_kept_and_everything_is_written_down(connect: Connect) -> None:
    computer = Computer(kind="lab", wait_us=BETTER)
    client = connect(computer)
    assert called(client, "new_request", words="my game stutters").ok
    proven(client)
    tried = called(client, "canary")
    assert tried.ok and tried.text.startswith("kept")
    assert computer.scheduler().policy == "interactive"
    assert called(client, "keep_note", text="interactive helps", policy="interactive").ok
    assert called(client, "finish", text="It is smoother.").ok
    client.close("It left.")
    assert computer.scheduler().policy == "interactive", "what was kept stays"
    (request,) = Store().requests()
    assert (request.words, request.mind, request.state, request.text) == (
        "my game stutters",
        "mcp:tester",
        "kept",
        "It is smoother.",
    )
    assert {each.actor for each in Audit().entries()} >= {"mcp:tester"}
    assert [each.policy for each in Store().outcomes("interactive")] == ["interactive"]
    events = [each["event"] for each in read(Path(request.trajectory)).events]
    assert events.count("called") == events.count("returned") == 6
    assert events.count("ended") == 1 and events[-1] == "ended"


@pytest.mark.slow
def test_what_is_worse_goes_and_costs_trust(connect: Connect) -> None:
    computer = Computer(kind="lab", wait_us=WORSE)
    client = connect(computer)
    proven(client)
    tried = called(client, "canary")
    assert tried.ok and tried.text.startswith("reverted")
    assert computer.scheduler().name == "EEVDF"
    assert TrustFile().standing("mcp:tester").reverts == 1
    assert called(client, "submit_plan", **{**PLAN, "policy": "fair"}).ok


def at_sample(computer: Computer, act: Callable[[], object], client: Client) -> None:
    """While it is tried: do this elsewhere, and go on once the client was told to stop."""
    stop = client.bench.stop if client.bench else threading.Event()

    def now() -> None:
        threading.Thread(target=act, daemon=True).start()
        assert stop.wait(60)

    computer.script[5] = now


@pytest.mark.slow
def test_a_client_that_vanishes_while_it_tries_leaves_the_kernels_own_scheduler(
    connect: Connect, tmp_path: Path
) -> None:
    computer = Computer(kind="lab", wait_us=BETTER)
    client = connect(computer)
    proven(client)
    at_sample(computer, lambda: client.close("It vanished."), client)
    job = client.submit("canary", "{}")
    assert not job.future.result(60).ok
    assert until(lambda: client not in client.place.clients)
    assert computer.scheduler().name == "EEVDF"
    assert [each.state for each in Store().deployments()] == ["reverted"]
    assert client.place.at_work is None


@pytest.mark.slow
def test_a_cancelled_trial_is_taken_away_and_the_next_call_works(connect: Connect) -> None:
    computer = Computer(kind="lab", wait_us=BETTER)
    client = connect(computer)
    proven(client)
    jobs = []
    at_sample(computer, lambda: jobs[0].cancel(), client)
    jobs.append(client.submit("canary", "{}"))
    assert not jobs[0].future.result(60).ok
    assert computer.scheduler().name == "EEVDF"
    assert "EEVDF" in called(client, "status").text
    assert called(client, "submit_plan", **{**PLAN, "policy": "fair"}).ok


@pytest.mark.slow
def test_only_one_client_at_a_time_tries_something(connect: Connect) -> None:
    computer = Computer(kind="lab", wait_us=BETTER)
    first = connect(computer)
    second = connect(computer, name="other", beside=first)
    proven(first)
    proven(second)
    refused: list[Result] = []
    computer.script[5] = lambda: refused.append(called(second, "canary"))
    assert called(first, "canary").ok
    assert "“tester” is at work on this machine: Tries it, and measures." in refused[0].text
    again = called(second, "canary")
    assert again.ok, again.text


@pytest.mark.slow
def test_a_client_takes_back_what_it_had_kept(connect: Connect) -> None:
    computer = Computer(kind="lab", wait_us=BETTER)
    client = connect(computer)
    proven(client)
    assert called(client, "canary").text.startswith("kept")
    back = called(client, "take_back")
    assert back.ok and "EEVDF runs now" in back.text
    assert called(client, "take_back").ok, "twice is the same as once"
    assert TrustFile().standing("mcp:tester").reverts == 0


@pytest.mark.slow
def test_a_person_takes_the_machine_back_in_the_middle_of_a_trial(connect: Connect) -> None:
    computer = Computer(kind="lab", wait_us=BETTER)
    client = connect(computer)
    proven(client)
    at_sample(computer, lambda: client.take_back("A person took it back."), client)
    assert not called(client, "canary").ok
    assert computer.scheduler().name == "EEVDF"


def test_on_this_computer_nothing_is_tried_where_nobody_can_consent(connect: Connect) -> None:
    computer = Computer()
    client = connect(computer)
    proven(client)
    refused = called(client, "canary")
    assert not refused.ok and "was proven, and not tried" in refused.text and "--yes" in refused.text
    assert "load" not in computer.calls


@pytest.mark.slow
def test_the_setting_of_the_server_consents_in_a_persons_place(connect: Connect) -> None:
    computer = Computer(wait_us=BETTER)
    client = connect(computer, yes=True)
    proven(client)
    assert called(client, "canary").text.startswith("kept")


@pytest.mark.slow
def test_a_person_who_watches_is_asked_and_their_agreement_earns_trust(connect: Connect) -> None:
    computer = Computer(wait_us=BETTER)
    client = connect(computer)
    client.attended = lambda: True
    asked: list[str] = []

    def answer(event: object) -> None:
        if isinstance(event, Asked):
            asked.append(event.question.kind)
            client.reply(event.question.id, event.question.choices[0][0])

    client.listen(answer)
    proven(client)
    assert called(client, "canary").text.startswith("kept")
    assert asked == ["try", "keep"]
    assert TrustFile().standing("mcp:tester").kept


@pytest.mark.parametrize(("kind", "key"), [("host", "F12"), ("lab", "t")])
def test_a_person_who_says_no_is_believed_and_was_told_the_way_back(
    connect: Connect, kind: MachineKind, key: str
) -> None:
    computer = Computer(kind=kind, wait_us=BETTER)
    client = connect(computer)
    client.attended = lambda: True
    texts: list[str] = []

    def answer(event: object) -> None:
        if isinstance(event, Asked):
            texts.append(event.question.text)
            client.reply(event.question.id, "no")

    client.listen(answer)
    proven(client)
    refused = called(client, "canary")
    assert not refused.ok and "as you said" in refused.text
    assert "load" not in computer.calls
    assert f"and {key} takes it away at any moment" in texts[0]


def test_calls_wait_for_their_turn_but_not_without_end_and_the_status_waits_for_none(connect: Connect) -> None:
    client = connect(Computer(kind="lab"))
    assert called(client, "status").ok
    jobs = [client.submit("machine_summary", "{}")]  # this computer shows nothing of itself
    assert until(lambda: client.doing != "")
    jobs += [client.submit("history", "{}") for _ in range(WAITING)]
    with pytest.raises(NotPermitted, match="wait for their turn"):
        client.submit("history", "{}")
    assert called(client, "status").ok
    jobs[0].cancel()
    assert not jobs[0].future.result(60).ok
    assert all(each.future.result(60).ok for each in jobs[1:])


def test_a_machine_that_could_not_be_opened_is_tried_again(tmp_path: Path) -> None:
    from tests.mcp_server.over_stdio import RECORDING

    missing = tmp_path / "later.jsonl.gz"
    place = Place(f"replay:{missing}")
    try:
        client = Client(place, "tester")
        assert not called(client, "status").ok
        missing.write_bytes(RECORDING.read_bytes())
        assert called(client, "status").ok
    finally:
        place.close()


def test_who_listens_hears_what_happens_until_they_forget_it(connect: Connect) -> None:
    client = connect(Computer(kind="lab"))
    heard: list[object] = []
    forget = client.listen(heard.append)
    called(client, "history")
    forget()
    before = len(heard)
    called(client, "history")
    assert before == len(heard) >= 2
    assert not any(isinstance(each, Deployed) for each in heard)
