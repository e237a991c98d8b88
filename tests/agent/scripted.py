"""Minds for tests: deterministic, and able to use only what stands in the messages that they were given."""

from __future__ import annotations

import json
import threading
from collections import defaultdict
from collections.abc import Callable
from typing import Any

from schedtui.agent.mind import Call, Message, Reply, RoleName, Turn, Usage

Step = Callable[["Heard"], "list[Call]"]


class Heard:
    """What a mind was told: it finds in there what it needs, or the story fails."""

    def __init__(self, turn: Turn) -> None:
        self.turn = turn
        self.text = "\n".join(each.text for each in turn.messages)
        self.last = turn.messages[-1].text

    def __contains__(self, words: str) -> bool:
        return words in self.text

    def needs(self, *words: str) -> None:
        """Each of them must have been told."""
        missing = [each for each in words if each not in self.text]
        assert not missing, f"{self.turn.role} was not told {missing}, only:\n{self.text}"


def call(tool: str, **arguments: Any) -> Call:
    """A call of a tool."""
    return Call(id=f"call-{tool}", tool=tool, arguments=json.dumps(arguments))


class Scripted:
    """Answers each role's turns one after the other with what its steps make of what was heard.

    Whoever is asked for a further plan after one that was kept has enough, when no step is left: whether the numbers
    of a story come out better is the machine's affair. A step that raises is a failed test: it is kept in ``failed``
    and raised again by ``check``.
    """

    needs_network = True
    name = "scripted/model"

    def __init__(self, **steps: list[Step]) -> None:
        self._steps: dict[str, list[Step]] = {role: list(each) for role, each in steps.items()}
        self.turns: list[Turn] = []
        self.failed: list[BaseException] = []
        self.by_role: dict[RoleName, int] = defaultdict(int)

    def answer(self, turn: Turn, on_text: Callable[[str], None], stop: threading.Event) -> Reply:
        """See Mind."""
        self.turns.append(turn)
        self.by_role[turn.role] += 1
        try:
            left = self._steps.get(turn.role, [])
            if not left and turn.role == "plan" and "was kept" in Heard(turn).text:
                left = [enough]
            assert left, f"{turn.role} was asked once more:\n{Heard(turn).last}"
            calls = left.pop(0)(Heard(turn))
        except BaseException as error:
            self.failed.append(error)
            raise
        tokens = sum(len(each.text) + sum(len(call.arguments) for call in each.calls) for each in turn.messages) // 4
        told = sum(len(json.dumps(each.schema)) + len(each.description) for each in turn.tools) // 4
        written = sum(len(each.arguments) for each in calls) // 4 + 10
        return Reply(
            message=Message(role="assistant", calls=tuple(calls)),
            usage=Usage(calls=1, input_tokens=tokens + told, output_tokens=written, dollars=0.001),
        )

    def check(self) -> None:
        """Raises what went wrong in a step, and when a step was not reached."""
        for each in self.failed:
            raise each
        left = {role: len(steps) for role, steps in self._steps.items() if steps}
        assert not left, f"never asked: {left}"


def workload(class_id: str = "gaming", metric: str = "wakeup_p99_us", **more: Any) -> Step:
    """Observe's answer."""

    def step(heard: Heard) -> list[Call]:
        heard.needs(class_id)
        given = {"sentence": "A game beside busy work.", "class_id": class_id, "confidence": 0.8, "metric": metric}
        return [call("submit_workload", **given, evidence=["their words"], **more)]

    return step


def plan(policy: str, mode: str = "configure", **more: Any) -> Step:
    """Plan's answer; the policy must have been told of."""

    def step(heard: Heard) -> list[Call]:
        if mode != "create":
            heard.needs(policy)
        given = {"mode": mode, "policy": policy, "reason": "It fits.", "expected": "Shorter waits.", **more}
        return [call("submit_plan", **given)]

    return step


def enough(heard: Heard) -> list[Call]:
    """Plan's answer when what was tried was kept."""
    heard.needs("Round 1: ")
    return [call("stop_here", reason="It is better than before.")]


def verify(heard: Heard) -> list[Call]:
    """Execute's first act for a plan that configures."""
    heard.needs("The plan:")
    return [call("verify")]


def canary(heard: Heard) -> list[Call]:
    """After the verifier passed it."""
    assert "Now canary" in heard.last, heard.last
    return [call("canary")]


def finish(heard: Heard) -> list[Call]:
    """Learn's last act."""
    heard.needs("Now runs:")
    return [call("finish", text="It was tried.")]
