"""What a mind is: something that reads a conversation and answers with words and calls of tools.

A model behind litellm (brain.py), the offline adviser (offline.py) and a recording (replay of a trajectory) are all
minds; the loop knows only this. Data and one protocol; no mind is implemented here.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Any, Literal, Protocol

from msgspec import Struct, field

from schedtui.backend.errors import SchedtuiError

RoleName = Literal["observe", "plan", "execute", "learn"]


class Call(Struct, frozen=True, kw_only=True):
    """A call of a tool, as the mind wrote it: neither its name nor its arguments are trusted."""

    id: str
    tool: str
    arguments: str
    """JSON, perhaps malformed."""


class Message(Struct, frozen=True, kw_only=True):
    """One message of a conversation."""

    role: Literal["system", "user", "assistant", "tool"]
    text: str = ""
    calls: tuple[Call, ...] = ()
    """Of an assistant."""
    call_id: str = ""
    """Of a tool's result: the call that it answers."""


class Usage(Struct, frozen=True, kw_only=True):
    """What answers cost."""

    calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    dollars: float | None = 0.0
    """None when a price is not known."""
    seconds: float = 0.0

    def __add__(self, other: Usage) -> Usage:
        """Both together; an unknown price makes the sum unknown."""
        unknown = self.dollars is None or other.dollars is None
        return Usage(
            calls=self.calls + other.calls,
            input_tokens=self.input_tokens + other.input_tokens,
            output_tokens=self.output_tokens + other.output_tokens,
            dollars=None if unknown else (self.dollars or 0.0) + (other.dollars or 0.0),
            seconds=self.seconds + other.seconds,
        )


class Reply(Struct, frozen=True, kw_only=True):
    """What a mind answered."""

    message: Message
    usage: Usage


class ToolSpec(Struct, frozen=True, kw_only=True):
    """A tool as a mind is told of it."""

    name: str
    description: str
    schema: dict[str, Any]
    """JSON schema of its arguments."""


class Turn(Struct, frozen=True, kw_only=True):
    """All that a mind is given to answer once."""

    role: RoleName
    messages: tuple[Message, ...]
    tools: tuple[ToolSpec, ...]
    facts: Mapping[str, Any] = field(default_factory=dict)
    """What the first message was written from, and the results of tools so far, as data: for minds that read no
    prose. Holds nothing that the messages do not."""
    max_output_tokens: int = 8000
    timeout_s: float = 120.0


class Mind(Protocol):
    """Whatever can fill a role."""

    @property
    def name(self) -> str:
        """How trust, history and the audit know it: ``offline adviser``, ``openai/gpt-5-mini``, …"""
        ...

    @property
    def needs_network(self) -> bool:
        """Whether what it is told leaves this computer."""
        ...

    def answer(self, turn: Turn, on_text: Callable[[str], None], stop: threading.Event) -> Reply:
        """Answer once; blocks, and may be called from any thread. ``on_text`` gets words as they come.

        Raises Stopped soon after ``stop`` is set, and MindFailed when there is no answer to be had.
        """
        ...


class MindFailed(SchedtuiError):
    """A model could not be reached, refused, or answered with what is no answer."""

    kind = "mind-failed"


class Stopped(SchedtuiError):
    """The user (or the end of the program) ended a request while it was worked on."""

    kind = "stopped"


class OverBudget(SchedtuiError):
    """A limit of the request was reached: steps, calls, tokens, money or time."""

    kind = "over-budget"
