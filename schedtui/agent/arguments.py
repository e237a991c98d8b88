"""What the concrete tools take, and the facts that each role is given as data: what minds are written against.

toolset.py does what the tools say; roles.py writes the prompts from the facts.
"""

from __future__ import annotations

from typing import Annotated, Literal, TypedDict

from msgspec import Meta, Struct, field

from schedtui.agent.summary import Summary
from schedtui.agent.tools import Arguments
from schedtui.backend.model import Choice, Comparison, Finding, Plan, Policy, Setting, Verdict, Workload
from schedtui.backend.store import NoteRow, Outcome

Sentence = Annotated[str, Meta(max_length=600)]
Words = Annotated[str, Meta(max_length=300)]
Name = Annotated[str, Meta(max_length=60)]
Prose = Annotated[str, Meta(max_length=2000)]
Source = Annotated[str, Meta(max_length=60_000)]


# ---- observe ----
class MachineSummary(Arguments, frozen=True, kw_only=True):
    """``machine_summary``: look at the machine again, now."""

    more: bool = False
    """More programs, and what cannot be seen."""


class Processes(Arguments, frozen=True, kw_only=True):
    """``processes``: the process trees that compute most, with command lines."""

    name: Name = ""
    """Only trees in which a program has this in its name; empty: all."""


class ProjectFiles(Arguments, frozen=True, kw_only=True):
    """``project_files``: what lies in the folder that the user named."""

    path: Words = ""
    """A build file or README below it, to read more of; empty: an overview."""


class SubmitWorkload(Arguments, frozen=True, kw_only=True):
    """``submit_workload``: ends observe."""

    sentence: Sentence
    """What the person runs and wants, in one plain sentence."""
    class_id: Name
    """One of the classes, or unknown."""
    confidence: Annotated[float, Meta(ge=0, le=1)]
    evidence: Annotated[tuple[Sentence, ...], Meta(min_length=1, max_length=8)]
    """Words of the request, and figures that were seen."""
    metric: Literal["wakeup_p99_us", "wakeup_p50_us", "work_per_s", "command_s"]
    """The number that says better: wake-up latency, work done each second, or a command's time to its end."""
    focus: Annotated[tuple[Name, ...], Meta(max_length=4)] = ()
    """Programs that the latency is measured on, with their descendants; empty: all tasks."""
    work: Name = ""
    """For work_per_s: the load of schedtui's own whose work is counted."""


# ---- plan ----
class SearchLibrary(Arguments, frozen=True, kw_only=True):
    """``search_library``: policies for such words, best first."""

    words: Words


class ShowPolicy(Arguments, frozen=True, kw_only=True):
    """``show_policy``: what a policy is for, its tunables with ranges, its limits, and what it did here."""

    name: Name


class History(Arguments, frozen=True, kw_only=True):
    """``history``: what was measured and learned on this computer."""

    policy: Name = ""
    class_id: Name = ""


class SubmitPlan(Arguments, frozen=True, kw_only=True):
    """``submit_plan``: ends plan."""

    mode: Literal["configure", "modify", "create"]
    policy: Name
    """Configure, modify: one of the library. Create: the new one's name (a-z, 0-9, -)."""
    reason: Sentence
    expected: Sentence
    """What should get better, and by how much."""
    settings: dict[str, Setting] = field(default_factory=dict)
    """Only what differs from the defaults."""
    risk: Sentence = ""
    change: Prose = ""
    """Modify, create: what the source is to do."""
    fallback: Name = ""
    """A policy of the library that is configured when this fails; empty: the kernel's own scheduler."""


class StopHere(Arguments, frozen=True, kw_only=True):
    """``stop_here``: ends plan without another round: what was found is good enough, or nothing here can help."""

    reason: Sentence


# ---- execute ----
class PolicySource(Arguments, frozen=True, kw_only=True):
    """``policy_source``: a library policy's source, or the draft (empty name)."""

    name: Name = ""


class HeaderReference(Arguments, frozen=True, kw_only=True):
    """``header_reference``: more on one topic or name of the header."""

    topic: Name


class WritePolicy(Arguments, frozen=True, kw_only=True):
    """``write_policy``: the whole source of the draft; it is compiled, and its logic checked, at once."""

    source: Source


class Edit(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One replacement."""

    search: Prose
    """Must stand in the draft exactly once."""
    replace: Prose


class PatchPolicy(Arguments, frozen=True, kw_only=True):
    """``patch_policy``: replace some lines of the draft; it is compiled, and its logic checked, at once."""

    edits: Annotated[tuple[Edit, ...], Meta(min_length=1, max_length=20)]


class SetSettings(Arguments, frozen=True, kw_only=True):
    """``set_settings``: other settings than the plan's, before verifying."""

    settings: dict[str, Setting]


class Verify(Arguments, frozen=True, kw_only=True):
    """``verify``: the whole verifier, with a real kernel in the lab, for the draft or policy with its settings."""


class Canary(Arguments, frozen=True, kw_only=True):
    """``canary``: try what was verified on the machine, measured against what runs; ends execute."""


class GiveUp(Arguments, frozen=True, kw_only=True):
    """``give_up``: ends execute without a canary."""

    reason: Sentence


# ---- learn ----
class KeepNote(Arguments, frozen=True, kw_only=True):
    """``keep_note``: what is worth knowing next time, found by plan for such workloads."""

    text: Sentence
    kind: Literal["pattern", "failure"] = "pattern"
    policy: Name = ""


class Promote(Arguments, frozen=True, kw_only=True):
    """``promote``: a policy written in this request stays in the library; only one that was better in its canary."""

    policy: Name
    reason: Sentence


class Retire(Arguments, frozen=True, kw_only=True):
    """``retire``: a policy written in this request is offered no more; its versions stay."""

    policy: Name
    reason: Sentence


class Finish(Arguments, frozen=True, kw_only=True):
    """``finish``: ends learn, and the request."""

    text: Sentence
    """What came of it, for the person."""


# ---- facts ----
class Tried(Struct, frozen=True, kw_only=True):
    """One round: what was tried, and what came of it."""

    number: int
    """From 1."""
    plan: Plan
    verdict: Verdict | None = None
    """The verifier's, when it judged."""
    findings: tuple[Finding, ...] = ()
    """Errors and warnings of the last verification."""
    comparison: Comparison | None = None
    """The canary's, when there was one."""
    ended: str = ""
    """What came of it, in a sentence."""
    kept: bool = False
    policy: str = ""
    """What was tried in the end: of ``modify``, the changed policy's own name."""
    settings: dict[str, Setting] = field(default_factory=dict)


class Match(Struct, frozen=True, kw_only=True):
    """A policy that the library's search found."""

    policy: str
    score: float
    why: str
    measured: str = ""
    can_load: bool = True
    """False for a program of others that cannot be started here."""


class ObserveFacts(TypedDict):
    """``Turn.facts`` of observe. The loop adds ``results`` and ``steering`` to those of every role."""

    words: str
    steered: tuple[str, ...]
    """What the person said besides, in the meantime."""
    command: str
    folder: bool
    """Whether a project folder was named."""
    machine: str
    """``host`` or ``lab``."""
    classes: dict[str, str]
    summary: Summary
    loads: tuple[str, ...]
    """Loads that schedtui runs there itself."""


class PlanFacts(TypedDict):
    """``Turn.facts`` of plan."""

    words: str
    steered: tuple[str, ...]
    workload: Workload
    summary: Summary
    matches: tuple[Match, ...]
    """The library's search for the words and the class."""
    choices: tuple[Choice, ...]
    """What the library's preset for the class offers, best first, as far as it can be loaded."""
    policies: dict[str, Policy]
    """All that can be loaded."""
    outcomes: tuple[Outcome, ...]
    """Measured here for this class, newest first."""
    notes: tuple[NoteRow, ...]
    rounds: tuple[Tried, ...]
    allowed: str
    """How far this mind is trusted, in words."""


class ExecuteFacts(TypedDict):
    """``Turn.facts`` of execute."""

    workload: Workload
    plan: Plan
    rounds: tuple[Tried, ...]
    repairs_left: int


class LearnFacts(TypedDict):
    """``Turn.facts`` of learn."""

    words: str
    workload: Workload
    rounds: tuple[Tried, ...]
    runs_now: str
    """The scheduler that runs at the end."""
