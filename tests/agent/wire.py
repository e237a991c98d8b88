"""A scripted mind behind real HTTP: what came over the wire is what it knows, and its tokens are counted honestly."""

from __future__ import annotations

import functools
import importlib.util
import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from schedtui.agent.mind import Call, Message, ToolSpec, Turn
from schedtui.agent.models import ModelChoice, choose_model
from tests.agent.scripted import Heard, Scripted
from tests.agent.server import Answer, ModelServer, Refuses, Says, Script

MODEL = "openai/made-by-hand"
_END_OF = {"submit_workload": "observe", "submit_plan": "plan", "canary": "execute", "finish": "learn"}
_NAMES = ("class_id", "policy", "fallback", "metric", "work", "name", "topic", "search")
"""Arguments that name something: it has to stand in the request."""


def spoken_by(mind: Scripted) -> Script:
    """The mind's answers, each made from the request alone. One that fails ends the request at once: ``mind.check``."""

    def script(request: dict[str, Any]) -> Answer:
        turn = turn_of(request)
        try:
            reply = mind.answer(turn, lambda _: None, threading.Event())
            stands_in(Heard(turn), json.dumps(request), reply.message.calls)
        except Exception as error:  # noqa: BLE001  the test raises it again
            mind.failed.append(error)
            return Refuses(400, "the script could not answer")
        calls = tuple((each.tool, each.arguments) for each in reply.message.calls)
        written = sum(tokens(f"{each.tool} {each.arguments}") for each in reply.message.calls)
        return Says(calls=calls, input_tokens=tokens_of(request), output_tokens=written)

    return script


def turn_of(request: dict[str, Any]) -> Turn:
    """A request of the OpenAI protocol, as a mind would have been given it."""
    specs = [each["function"] for each in request["tools"]]
    role = next(_END_OF[each["name"]] for each in specs if each["name"] in _END_OF)
    return Turn(
        role=role,  # type: ignore[arg-type]
        messages=tuple(Message(role=each["role"], text=each["content"] or "") for each in request["messages"]),
        tools=tuple(
            ToolSpec(name=each["name"], description=each["description"], schema=each["parameters"]) for each in specs
        ),
        max_output_tokens=request["max_tokens"],
    )


def stands_in(heard: Heard, wire: str, calls: tuple[Call, ...]) -> None:
    """Every tool, name, setting and searched line of the calls must have been told."""
    tools = {each.name for each in heard.turn.tools}
    for each in calls:
        assert each.tool in tools, f"{each.tool} was not offered, only {sorted(tools)}"
        arguments = json.loads(each.arguments)
        own = {arguments.get("policy")} if arguments.get("mode") == "create" else set()
        for word in _names(arguments):
            told = word in heard.text or word in wire
            assert told or word in own, f"{each.tool} says “{word}”, which was not told:\n{heard.text}"


def _names(arguments: dict[str, Any]) -> Iterator[str]:
    for name, value in arguments.items():
        if name in _NAMES and value:
            yield value
        elif name in ("settings", "focus"):
            yield from value
        elif name == "edits":
            yield from (each["search"] for each in value)


def tokens_of(request: dict[str, Any]) -> int:
    """Of a whole request: its messages, with their calls, and its tools."""
    said = [each["content"] or "" for each in request["messages"]]
    called = [json.dumps(each["tool_calls"]) for each in request["messages"] if each.get("tool_calls")]
    return sum(tokens(each) + 4 for each in said) + sum(map(tokens, [*called, json.dumps(request["tools"])]))


def tokens(text: str) -> int:
    """As the encoding o200k of the newer OpenAI models counts; its table comes with litellm, so no network is used."""
    return len(_encoding().encode(text, disallowed_special=()))


@functools.cache
def _encoding() -> Any:
    import tiktoken

    found = importlib.util.find_spec("litellm")
    assert found is not None and found.origin is not None
    os.environ["TIKTOKEN_CACHE_DIR"] = str(Path(found.origin).parent / "litellm_core_utils" / "tokenizers")
    return tiktoken.get_encoding("o200k_base")


def chosen(server: ModelServer) -> None:
    """The test's own settings name the model at this address."""
    choose_model(ModelChoice(model=MODEL, address=server.address))
