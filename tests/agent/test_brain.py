"""A model behind litellm, asked over real HTTP: what it says comes through, and nothing that it does harms."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from schedtui.agent.brain import Brain, check_model
from schedtui.agent.budget import FREE
from schedtui.agent.mind import Message, MindFailed, Reply, Stopped, ToolSpec, Turn
from schedtui.agent.models import ModelChoice
from tests.agent.server import (
    Answer,
    Floods,
    Hangs,
    ModelServer,
    Refuses,
    Says,
    Script,
    Sends,
    in_turn,
    recorded,
)

pytestmark = pytest.mark.slow
SCHEMA = {"type": "object", "properties": {"words": {"type": "string"}}, "required": ["words"]}
LOOK = ToolSpec(name="look", description="Looks something up.", schema=SCHEMA)
PRICED, UNPRICED = "openai/gpt-4o-mini", "openai/made-by-hand"


class Asked:
    """One process that talks to models, and a server whose script changes from test to test."""

    def __init__(self) -> None:
        self.script: Script = in_turn(Says("hello"))
        self.server = ModelServer(lambda request: self.script(request))
        self.brain = Brain(ModelChoice(model=UNPRICED, address=self.server.address))

    def ask(self, script: Script, *, model: str = UNPRICED, calls: Any = "auto", seconds: float = 20) -> Reply:
        """Let the server answer so, and ask."""
        self.script = script
        self.server.requests.clear()
        self.brain.choice = ModelChoice(model=model, address=self.server.address, calls=calls)
        self.heard = ""
        return self.brain.answer(turn(seconds), self._hear, threading.Event())

    def _hear(self, text: str) -> None:
        self.heard += text


@pytest.fixture(scope="module")
def asked() -> Iterator[Asked]:
    found = Asked()
    found.brain.warm()
    yield found
    found.brain.close()
    found.server.close()


def turn(seconds: float = 20, *messages: Message) -> Turn:
    told = messages or (Message(role="system", text="Be brief."), Message(role="user", text="What do you see?"))
    return Turn(role="observe", messages=told, tools=(LOOK,), max_output_tokens=300, timeout_s=seconds)


def test_words_and_calls_come_through_as_they_were_said(asked: Asked) -> None:
    reply = asked.ask(in_turn(Says("I look at it first, to be sure.", (("look", {"words": "stütter"}),))))
    assert reply.message.text == asked.heard == "I look at it first, to be sure."
    (call,) = reply.message.calls
    assert (call.tool, json.loads(call.arguments)) == ("look", {"words": "stütter"})
    assert asked.server.requests[0]["tools"][0]["function"]["parameters"] == SCHEMA


def test_tokens_and_dollars_are_the_servers_own(asked: Asked) -> None:
    usage = asked.ask(in_turn(Says("yes", input_tokens=2_000_000, output_tokens=1_000_000)), model=PRICED).usage
    assert (usage.calls, usage.input_tokens, usage.output_tokens) == (1, 2_000_000, 1_000_000)
    assert usage.dollars == pytest.approx(2 * 0.15 + 0.60)


def test_a_price_that_is_not_known_is_said_to_be_unknown(asked: Asked) -> None:
    assert asked.ask(in_turn(Says("yes"))).usage.dollars is None


def test_tokens_are_counted_here_when_the_server_is_silent_about_them(asked: Asked) -> None:
    usage = asked.ask(in_turn(Says("one two three four five", input_tokens=None))).usage
    assert usage.input_tokens > 5 and usage.output_tokens >= 5


def test_results_of_tools_reach_the_model(asked: Asked) -> None:
    first = asked.ask(in_turn(Says(calls=(("look", {"words": "a"}),)))).message
    result = Message(role="tool", text="It stutters.", call_id=first.calls[0].id)
    asked.script = in_turn(Says("I see."))
    asked.brain.answer(turn(20, Message(role="user", text="Look."), first, result), lambda _: None, threading.Event())
    sent = asked.server.requests[-1]["messages"]
    assert sent[1]["tool_calls"][0]["function"] == {"name": "look", "arguments": '{"words": "a"}'}
    assert sent[2] == {"role": "tool", "tool_call_id": first.calls[0].id, "content": "It stutters."}


def test_a_model_without_tool_calls_is_told_of_them_in_words(asked: Asked) -> None:
    said = 'I look.\n\n```tool\n{"tool": "look", "arguments": {"words": "a game"}}\n```'
    reply = asked.ask(in_turn(Says(said)), calls="text")
    request = asked.server.requests[0]
    assert "tools" not in request and "`look`: Looks something up." in request["messages"][0]["content"]
    assert reply.message.text == "I look."
    assert [(each.tool, json.loads(each.arguments)) for each in reply.message.calls] == [("look", {"words": "a game"})]


def test_a_server_that_refuses_tools_is_asked_again_in_words(asked: Asked) -> None:
    def script(request: dict[str, Any]) -> Answer:
        if "tools" in request:
            return Refuses(400, "this model does not support tools")
        return Says('```tool\n{"tool": "look", "arguments": {"words": "b"}}\n```')

    assert asked.ask(script).message.calls[0].tool == "look"
    assert len(asked.server.requests) == 2


@pytest.mark.parametrize(
    "trouble",
    [
        pytest.param(Refuses(429, "slow down", {"retry-after": "0"}), id="too-many-questions"),
        pytest.param(Refuses(500), id="server-error"),
        pytest.param(Sends(b"data: {not json\n\n"), id="malformed-json"),
        pytest.param(
            Sends(b'data: {"id": "one", "object": "chat.completion.chunk", "created": 1, "model": "m"', cut=True),
            id="cut-mid-stream",
        ),
    ],
)
def test_trouble_that_passes_is_waited_out(asked: Asked, trouble: Answer) -> None:
    reply = asked.ask(in_turn(trouble, Says("There you are.")))
    assert reply.message.text == "There you are."
    assert len(asked.server.requests) == 2 and asked.brain.last_notes


@pytest.mark.parametrize(
    ("trouble", "words"),
    [
        pytest.param(Refuses(401), "does not accept the key", id="wrong-key"),
        pytest.param(Refuses(404), "has no model called", id="no-such-model"),
        pytest.param(Refuses(400, "nonsense"), "did not understand", id="bad-request"),
        pytest.param(Floods(10_000_000), "did not end", id="ten-megabytes"),
    ],
)
def test_trouble_that_stays_is_told_in_plain_words_at_once(asked: Asked, trouble: Answer, words: str) -> None:
    with pytest.raises(MindFailed, match=words) as failure:
        asked.ask(in_turn(trouble))
    assert failure.value.remedy and len(asked.server.requests) == 1


def test_it_gives_up_after_a_few_tries(asked: Asked) -> None:
    with pytest.raises(MindFailed, match="It was asked 4 times"):
        asked.ask(in_turn(Refuses(503, headers={"retry-after": "0"})))
    assert len(asked.server.requests) == 4


def test_a_server_that_says_nothing_is_left_after_the_time_limit(asked: Asked) -> None:
    with pytest.raises(MindFailed):
        asked.ask(in_turn(Hangs()), seconds=2)
    assert asked.ask(in_turn(Says("Well again."))).message.text == "Well again."


def test_it_stops_in_the_middle_of_an_answer(asked: Asked) -> None:
    asked.script = in_turn(Hangs())
    stop = threading.Event()
    timer = threading.Timer(0.5, stop.set)
    timer.start()
    began = time.monotonic()
    with pytest.raises(Stopped):
        asked.brain.answer(turn(60), lambda _: None, stop)
    assert time.monotonic() - began < 30
    timer.join()


def test_a_key_goes_to_the_server_and_nowhere_else(monkeypatch: pytest.MonkeyPatch, asked: Asked) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-very-secret-0123456789")
    with pytest.raises(MindFailed) as failure:
        asked.ask(in_turn(Refuses(401, "key sk-very-secret-0123456789 is wrong")))
    assert asked.server.keys[-1] == "Bearer sk-very-secret-0123456789"
    assert "very-secret" not in f"{failure.value.message} {failure.value.remedy} {failure.value.details}"


def test_a_process_that_was_killed_is_replaced(asked: Asked) -> None:
    assert asked.ask(in_turn(Says("one"))).message.text == "one"
    assert asked.brain._child
    asked.brain._child._process.kill()
    asked.brain._child._process.wait()
    assert asked.ask(in_turn(Says("two"))).message.text == "two"


def test_what_a_server_said_is_recorded_and_can_be_said_again(asked: Asked, tmp_path: Path) -> None:
    script = in_turn(Says("Looking.", (("look", {"words": "x"}),)), Says("Done."))
    asked.brain.record = tmp_path
    first = [asked.ask(script, model=PRICED) for _ in range(2)]
    asked.brain.record = None
    script = recorded(tmp_path)
    again = [asked.ask(script, model=PRICED) for _ in range(2)]
    assert [each.message for each in again] == [each.message for each in first]
    assert [each.usage.dollars for each in again] == [each.usage.dollars for each in first]


def test_testing_a_model_says_whether_it_answers_and_calls_tools(asked: Asked) -> None:
    asked.brain.choice = ModelChoice(model=UNPRICED, address=asked.server.address)
    asked.script = in_turn(Says(calls=(("ready", {"word": "yes"}),)), Says("I am ready!"), Refuses(401))
    good, talker, locked = (check_model(asked.brain) for _ in range(3))
    assert good.ok and good.calls_tools and "not known" in good.text
    assert not talker.ok and "did not call the tool" in talker.text and talker.remedy
    assert not locked.ok and "does not accept the key" in locked.text and locked.remedy


def test_what_a_token_costs_is_known_before_the_first_question(asked: Asked) -> None:
    asked.brain.choice = ModelChoice(model=PRICED, address=asked.server.address)
    price = asked.brain.price(threading.Event())
    assert (price.input_dollars, price.output_dollars) == pytest.approx((0.15e-6, 0.60e-6))
    asked.brain.choice = ModelChoice(model=UNPRICED, address=asked.server.address)
    assert asked.brain.price(threading.Event()) == FREE
