"""What happens while a request is worked on, as data: the timeline of the screen, the lines of the command.

The engine hands each event to a listener, in the engine's thread; a listener must not block. Every event is also in
the trajectory.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from msgspec import Struct, field

from schedtui.agent.mind import RoleName, Usage
from schedtui.backend.model import Comparison, Deployment, Plan, Report, Setting, Workload


class Event(Struct, frozen=True, kw_only=True, tag_field="event"):
    """Something that happened, ``at_s`` seconds after the request began."""

    at_s: float


class RoleBegan(Event, frozen=True, kw_only=True, tag="role-began"):
    """A role went to work; ``why`` says so to the user: 'Looking at what runs'."""

    role: RoleName
    why: str


class Said(Event, frozen=True, kw_only=True, tag="said"):
    """A piece of what the mind says, as it comes."""

    role: RoleName
    text: str


class Called(Event, frozen=True, kw_only=True, tag="called"):
    """A tool was called."""

    role: RoleName
    tool: str
    arguments: dict[str, object]
    title: str
    """In plain words: 'Searches the library for “game stutter”'."""


class Returned(Event, frozen=True, kw_only=True, tag="returned"):
    """The tool answered, or was refused."""

    role: RoleName
    tool: str
    ok: bool
    summary: str
    """In a line."""
    details: str = ""


class Progressed(Event, frozen=True, kw_only=True, tag="progressed"):
    """Something long reached a stage: verifying, the canary."""

    text: str


class Observed(Event, frozen=True, kw_only=True, tag="observed"):
    """Observe ended."""

    workload: Workload


class Planned(Event, frozen=True, kw_only=True, tag="planned"):
    """Plan ended."""

    plan: Plan


class Proven(Event, frozen=True, kw_only=True, tag="proven"):
    """The verifier judged."""

    report: Report


class Question(Struct, frozen=True, kw_only=True):
    """What a person is asked before something is done."""

    id: str
    kind: Literal["try", "keep", "clarify", "continue"]
    """May it be tried; is it kept; which goal is meant; go on after a limit."""
    title: str
    text: str
    choices: tuple[tuple[str, str], ...]
    """(id, words), the safe one last."""
    countdown_s: float | None = None
    """After which the last choice is taken by itself."""
    policy: str = ""
    settings: dict[str, Setting] = field(default_factory=dict)
    source: str = ""
    """Of a generated policy: the whole source."""
    diff: str = ""
    """Of a changed policy: against its parent."""


class Asked(Event, frozen=True, kw_only=True, tag="asked"):
    """A person is asked; the engine waits."""

    question: Question


class Answered(Event, frozen=True, kw_only=True, tag="answered"):
    """The question was answered, by a person, a setting, or the countdown."""

    question_id: str
    choice: str
    by: Literal["person", "setting", "countdown"]


class Measured(Event, frozen=True, kw_only=True, tag="measured"):
    """The canary, as far as it has come."""

    comparison: Comparison
    side: Literal["before", "after"]
    """Which runs now."""
    final: bool = False


class Deployed(Event, frozen=True, kw_only=True, tag="deployed"):
    """A deployment changed its state."""

    deployment: Deployment


class Learned(Event, frozen=True, kw_only=True, tag="learned"):
    """What is kept for the next time."""

    text: str


class Spent(Event, frozen=True, kw_only=True, tag="spent"):
    """What the request has cost so far."""

    usage: Usage


class Steered(Event, frozen=True, kw_only=True, tag="steered"):
    """The user said something more."""

    words: str


class Warned(Event, frozen=True, kw_only=True, tag="warned"):
    """Something went wrong that does not end the request: a correction, a retry, a refusal."""

    text: str


class Ended(Event, frozen=True, kw_only=True, tag="ended"):
    """The request is over."""

    state: Literal["kept", "reverted", "proposed", "refused", "stopped", "failed", "unknown"]
    """``proposed``: nothing was tried, because trust or the person says so; ``unknown``: the words fit no goal."""
    text: str
    """What came of it, in a sentence or two, with the scheduler that runs now."""
    remedy: str = ""


AnyEvent = (
    RoleBegan
    | Said
    | Called
    | Returned
    | Progressed
    | Observed
    | Planned
    | Proven
    | Asked
    | Answered
    | Measured
    | Deployed
    | Learned
    | Spent
    | Steered
    | Warned
    | Ended
)
Listen = Callable[[AnyEvent], None]
