"""Minds that say what a test tells them to, and a small toolbox: everything else in the loop's tests is real."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from schedtui.agent.budget import Budget
from schedtui.agent.events import AnyEvent
from schedtui.agent.loop import Loop
from schedtui.agent.masking import Masker
from schedtui.agent.mind import Call, Message, OverBudget, Reply, Turn, Usage
from schedtui.agent.tools import Arguments, Result, Tool, Toolbox
from schedtui.agent.trajectory import Trajectory
from schedtui.backend.errors import NotPermitted

USAGE = Usage(calls=1, input_tokens=100, output_tokens=20, dollars=0.001, seconds=0.1)


def calling(tool: str, arguments: str | dict[str, object] = "{}", call_id: str = "c1") -> Message:
    """An answer that calls one tool."""
    text = arguments if isinstance(arguments, str) else msgspec.json.encode(arguments).decode()
    return Message(role="assistant", calls=(Call(id=call_id, tool=tool, arguments=text),))


def saying(text: str) -> Message:
    """An answer in prose alone."""
    return Message(role="assistant", text=text)


class ScriptedMind:
    """Gives these answers in turn, the last one for ever, and keeps what it was asked."""

    def __init__(self, answers: Iterable[Message], *, needs_network: bool = True, usage: Usage = USAGE) -> None:
        self.name = "scripted"
        self.needs_network = needs_network
        self.turns: list[Turn] = []
        self._answers = list(answers)
        self._usage = usage

    def answer(self, turn: Turn, on_text: Callable[[str], None], stop: threading.Event) -> Reply:
        """The next one."""
        self.turns.append(turn)
        message = self._answers[min(len(self.turns), len(self._answers)) - 1]
        if message.text:
            on_text(message.text)
        return Reply(message=message, usage=self._usage)


class Bench:
    """What the tools of these tests touch."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self.allowed = True
        self.says = "nothing"
        self.over: OverBudget | None = None
        """What looking uses up."""


class Nothing(Arguments, frozen=True, kw_only=True):
    """No arguments."""


class Load(Arguments, frozen=True, kw_only=True):
    """Which policy, and how."""

    policy: Annotated[str, Meta(description="Its name.", max_length=40)]
    slice_us: Annotated[int, Meta(ge=100, le=10_000)] = 1000


class Place(Struct, frozen=True, kw_only=True):
    """A part of a machine."""

    cpu: int


class Finish(Arguments, frozen=True, kw_only=True):
    """What came out."""

    words: str
    places: tuple[Place, ...] = ()


def _look(bench: Bench, _arguments: Nothing) -> Result:
    if bench.over is not None:
        raise bench.over
    bench.done.append("look")
    return Result(text=bench.says, facts={"says": bench.says})


def _load(bench: Bench, arguments: Load) -> Result:
    bench.done.append(f"load {arguments.policy}")
    return Result(text=f"{arguments.policy} runs")


def _may_load(bench: Bench, _arguments: Load) -> None:
    if not bench.allowed:
        raise NotPermitted("The person says no.")


def _finish(bench: Bench, arguments: Finish) -> Result:
    bench.done.append("finish")
    return Result(text=arguments.words)


def tools() -> list[Tool[Bench, Nothing] | Tool[Bench, Load] | Tool[Bench, Finish]]:
    """Look (every role), load (execute), finish (observe and execute)."""
    from schedtui.agent.trust import TrustLevel

    every = frozenset(("observe", "plan", "execute", "learn"))
    return [
        Tool(
            name="look",
            description="Looks at the machine.",
            arguments=Nothing,
            run=_look,
            title=lambda _: "Looks at the machine",
            roles=every,
        ),
        Tool(
            name="load",
            description="Loads a policy.",
            arguments=Load,
            run=_load,
            title=lambda arguments: f"Loads {arguments.policy}",
            roles=frozenset(("execute",)),
            cost_s=20,
            needs=TrustLevel.LIBRARY,
            permit=_may_load,
            read_only=False,
            destructive=True,
        ),
        Tool(
            name="finish",
            description="Ends the work.",
            arguments=Finish,
            run=_finish,
            title=lambda _: "Is done",
            roles=every,
            ends=True,
        ),
    ]


class Setting:
    """A loop with a scripted mind, in a folder of its own."""

    def __init__(
        self,
        folder: Path,
        answers: Iterable[Message] = (),
        *,
        mind: ScriptedMind | None = None,
        budget: Budget | None = None,
        masker: Masker | None = None,
        more: Callable[[OverBudget], bool] = lambda _over: False,
    ) -> None:
        self.mind = mind or ScriptedMind(answers)
        self.bench = Bench()
        self.events: list[AnyEvent] = []
        self.stop = threading.Event()
        self.steering: queue.SimpleQueue[str] = queue.SimpleQueue()
        self.budget = budget or Budget()
        masker = masker or Masker(identity=True)
        self.trajectory = Trajectory(
            "make it smooth", self.mind.name, masker, leaves_computer=True, path=folder / "trajectory.json"
        )
        self.loop = Loop(
            mind=self.mind,
            toolbox=Toolbox(tools()),
            bench=self.bench,
            budget=self.budget,
            trajectory=self.trajectory,
            masker=masker,
            listen=self.trajectory.listening(self.events.append),
            stop=self.stop,
            steering=self.steering,
            more=more,
        )

    def told(self) -> list[str]:
        """The texts of the last question."""
        return [each.text for each in self.mind.turns[-1].messages]


OPENING = (Message(role="system", text="You look after a scheduler."), Message(role="user", text="Make it smooth."))
DONE = calling("finish", {"words": "smooth"})
