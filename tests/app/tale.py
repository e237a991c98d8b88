"""A request as it was once told, event by event with fixed numbers: what the Describe screen is tried on."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from schedtui.agent import events as happened
from schedtui.agent.budget import Limits
from schedtui.agent.events import AnyEvent, Question
from schedtui.agent.mind import Usage
from schedtui.asking import Asking
from schedtui.backend.model import Comparison, Deployment, Metric, Plan, Workload
from tests.app.shelf import PASSED

WORDS = "my game stutters when obs records"
MIND = "anthropic/claude-sonnet"
METRIC = Metric(name="wakeup_p99_us")
WORKLOAD = Workload(
    sentence="A game beside a recorder that takes every CPU.",
    class_id="gaming",
    confidence=0.9,
    evidence=("“game stutters” in your words", "game.exe wakes 240 times a second and waits up to 12 ms"),
    metric=METRIC,
)
PLAN = Plan(
    mode="configure",
    policy="brisk",
    settings={"slice_us": 500},
    reason="Brisk lets tasks that sleep often go first, and a game does.",
    expected="Frames come on time again: the longest waits fall to about a third.",
    risk="What only computes, such as the recorder, gets its turn a little later.",
    fallback="queue",
)
TRY = Question(
    id="try-1",
    kind="try",
    title="Try brisk?",
    text=f"{PLAN.reason}\nExpected: {PLAN.expected}\nRisk: {PLAN.risk}\n"
    "It passed the verifier. It is measured against what runs now, and F12 takes it away at any moment.",
    choices=(("yes", "Try it"), ("no", "Leave everything as it is")),
    policy="brisk",
    settings={"slice_us": 500},
)
KEEP = Question(
    id="keep-1",
    kind="keep",
    title="Keep brisk?",
    text="The longest waits for a CPU fell by 62 %, and chance makes that in fewer than 1 of 1000 cases.",
    choices=(("keep", "Keep it"), ("revert", "Take it away")),
    countdown_s=30,
    policy="brisk",
)
CLARIFY = Question(
    id="clarify",
    kind="clarify",
    title="What should get better?",
    text="“make it nice” fits nothing that schedtui knows: what they run is not clear.",
    choices=(("desktop", "A smooth desktop"), ("gaming", "Games"), ("none", "None of these")),
)


def compared(verdict: str = "better", *, seconds: float = 9.0) -> Comparison:
    """What the canary measured."""
    return Comparison(
        metric=METRIC,
        verdict=verdict,  # type: ignore[arg-type]
        before=12400.0,
        after=4700.0,
        change_percent=-62.0,
        low_percent=-70.0,
        high_percent=-51.0,
        samples_before=40,
        samples_after=40,
        seconds=seconds,
        reason=KEEP.text,
    )


def deployed(state: str, reason: str) -> Deployment:
    """The deployment in a state."""
    return Deployment(
        id=1,
        state=state,  # type: ignore[arg-type]
        reason=reason,
        policy="brisk",
        settings={"slice_us": 500},
        machine="lab",
        kernel="6.18.15",
        asked_by=MIND,
        digest="d1",
        comparison=compared(),
        created=0.0,
        changed=0.0,
    )


def spent(at_s: float, calls: int) -> happened.Spent:
    """What it has cost after so many calls."""
    usage = Usage(calls=calls, input_tokens=2100 * calls, output_tokens=120 * calls, dollars=0.004 * calls)
    return happened.Spent(at_s=at_s, usage=usage)


def looked() -> list[AnyEvent]:
    """Observe, to its end."""
    return [
        happened.Progressed(at_s=0.1, text="Looking at the machine"),
        happened.RoleBegan(at_s=2.2, role="observe", why="Looking at what runs"),
        happened.Said(at_s=3.0, role="observe", text="Something wakes often and waits long. "),
        happened.Said(at_s=3.1, role="observe", text="Let me see which programs these are."),
        spent(3.5, 1),
        happened.Called(at_s=3.5, role="observe", tool="processes", arguments={}, title="Looks at the programs"),
        happened.Returned(
            at_s=3.6,
            role="observe",
            tool="processes",
            ok=True,
            summary="12 programs; game.exe waits most, 12.4 ms each second",
            details="game.exe  12.4 ms/s\nobs  3.1 ms/s",
        ),
        spent(5.0, 2),
        happened.Observed(at_s=5.0, workload=WORKLOAD),
    ]


def planned() -> list[AnyEvent]:
    """And plan."""
    return [
        *looked(),
        happened.RoleBegan(at_s=5.1, role="plan", why="Choosing what to try"),
        happened.Called(
            at_s=6.0, role="plan", tool="search_library", arguments={}, title="Searches the library for “game stutter”"
        ),
        happened.Returned(
            at_s=6.1, role="plan", tool="search_library", ok=True, summary="5 policies; the nearest is brisk"
        ),
        spent(7.0, 4),
        happened.Planned(at_s=7.0, plan=PLAN),
    ]


def proving() -> list[AnyEvent]:
    """And half of the proof."""
    return [
        *planned(),
        happened.RoleBegan(at_s=7.1, role="execute", why="Proving it, and trying it"),
        happened.Warned(at_s=7.9, text="The answer called “prove”, which is no tool here; it was asked again."),
        happened.Called(at_s=8.0, role="execute", tool="verify", arguments={}, title="Proves brisk in a lab"),
        happened.Progressed(at_s=8.2, text="source: reading it"),
        happened.Progressed(at_s=12.0, text="kernel: under stress, 4 of 11 tests"),
    ]


def proven() -> list[AnyEvent]:
    """And the proof, and the question whether it may be tried."""
    return [
        *proving(),
        happened.Proven(at_s=20.0, report=PASSED),
        happened.Returned(at_s=20.1, role="execute", tool="verify", ok=True, summary="passed"),
        spent(21.0, 6),
        happened.Called(
            at_s=21.0, role="execute", tool="canary", arguments={}, title="Tries brisk, and measures what changes"
        ),
        happened.Asked(at_s=21.0, question=TRY),
    ]


def measuring() -> list[AnyEvent]:
    """And half of the canary."""
    return [
        *proven(),
        happened.Answered(at_s=24.0, question_id="try-1", choice="yes", by="person"),
        happened.Steered(at_s=25.0, words="the recorder must not drop frames either"),
        happened.Measured(at_s=30.0, comparison=compared("inconclusive", seconds=4.0), side="after"),
    ]


def kept_or_not() -> list[AnyEvent]:
    """And the question whether it is kept."""
    return [
        *measuring(),
        happened.Measured(at_s=36.0, comparison=compared(), side="after", final=True),
        happened.Asked(at_s=36.0, question=KEEP),
    ]


def kept() -> list[AnyEvent]:
    """The whole story."""
    return [
        *kept_or_not(),
        happened.Answered(at_s=40.0, question_id="keep-1", choice="keep", by="person"),
        happened.Deployed(at_s=40.0, deployment=deployed("kept", "brisk was kept.")),
        happened.Returned(at_s=40.1, role="execute", tool="canary", ok=True, summary="better by 62 %, and kept"),
        happened.RoleBegan(at_s=40.1, role="learn", why="Keeping what was learned"),
        happened.Learned(at_s=43.0, text="Games beside a recorder: brisk with 500 µs slices takes 62 % off the waits."),
        spent(44.0, 8),
        happened.Ended(at_s=44.0, state="kept", text="Your game waits a third as long as before. brisk runs now."),
    ]


def unknown() -> list[AnyEvent]:
    """Words that fit nothing."""
    return [*looked()[:-1], happened.Asked(at_s=5.0, question=CLARIFY)]


def failed() -> list[AnyEvent]:
    """A model that does not answer."""
    return [
        *planned(),
        happened.Warned(at_s=9.0, text="The model's server is in trouble (503); asked again after 1.1 s."),
        happened.Ended(
            at_s=12.0,
            state="failed",
            text="The model cannot be reached. It was asked 4 times. EEVDF runs now.",
            remedy="Try again later, or use the offline adviser.",
        ),
    ]


class Clock:
    """Stands still until it is told the time."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def asking(events: Iterable[AnyEvent], *, words: str = WORDS, offline: bool = False) -> tuple[Asking, Clock]:
    """A request to which all that happened, each at its time."""
    clock = Clock()
    it = Asking(words, clock=clock)
    it.mind, it.offline, it.limits = ("offline adviser", True, Limits()) if offline else (MIND, False, Limits())
    it.trajectory = Path("request.json")
    for event in events:
        clock.now = event.at_s
        it.add(event)
    return it, clock
