"""Reinforcement in context: what was tried in this request and what similar work taught, for the prompt of a round.

The most useful comes first, and what does not fit into the budget of tokens is left out whole. Notes were written by
minds that read process names and sources: they are quoted as data.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence

from msgspec import Struct

from schedtui.agent.arguments import Tried
from schedtui.backend.library import history
from schedtui.backend.model import Comparison, Setting
from schedtui.backend.store import NoteRow, Outcome

TOKENS = 900
_CHARACTERS_PER_TOKEN = 3.5
"""Of English with names and numbers; a little low, so that the budget holds for any model's tokens."""
_LONGEST_NOTE = 300
_MOST_FINDINGS = 3


class Lesson(Struct, frozen=True, kw_only=True):
    """One thing worth telling. ``worth`` is only good for comparing."""

    text: str
    worth: float


def tokens_of(text: str) -> int:
    """About as many as a model counts."""
    return math.ceil(len(text) / _CHARACTERS_PER_TOKEN)


def lessons(
    rounds: Sequence[Tried] = (),
    outcomes: Sequence[Outcome] = (),
    notes: Sequence[NoteRow] = (),
    *,
    class_id: str = "",
    most_tokens: int = TOKENS,
) -> str:
    """What to tell before a round, the most useful first; empty when nothing is known."""
    found = [*_of_rounds(rounds), *_of_outcomes(outcomes, class_id), *_of_notes(notes, class_id)]
    lines: list[str] = []
    left = most_tokens
    for each in sorted(found, key=lambda lesson: -lesson.worth):
        cost = tokens_of(each.text) + 1
        if cost <= left:
            lines.append(each.text)
            left -= cost
    return "\n".join(lines)


def told_of(tried: Tried) -> str:
    """A round in a line or a few."""
    plan = tried.plan
    what = (
        f"Round {tried.number}: {plan.mode} {tried.policy or plan.policy}{_settings(tried.settings or plan.settings)}"
    )
    parts = [what, tried.ended]
    if tried.verdict == "fail":
        parts += [f"the verifier found {each.rule}: {each.meaning}" for each in tried.findings[:_MOST_FINDINGS]]
    if tried.comparison:
        parts.append(compared(tried.comparison))
    if plan.change:
        parts.append(f"(it was to {plan.change[:_LONGEST_NOTE]})")
    return " — ".join(filter(None, parts))


def compared(comparison: Comparison) -> str:
    """``wakeup_p99_us 812 → 301, −63 % (−70 to −51): better``."""
    if comparison.before is None or comparison.after is None:
        return f"measured {comparison.metric.name}: {comparison.verdict}. {comparison.reason}".strip()
    change = "" if comparison.change_percent is None else f", {comparison.change_percent:+.0f} %"
    spread = ""
    if comparison.low_percent is not None and comparison.high_percent is not None:
        spread = f" ({comparison.low_percent:+.0f} to {comparison.high_percent:+.0f})"
    return (
        f"{comparison.metric.name} {_figure(comparison.before)} → {_figure(comparison.after)}{change}{spread}: "
        f"{comparison.verdict}. {comparison.reason}"
    ).strip()


def _figure(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _of_rounds(rounds: Sequence[Tried]) -> Iterator[Lesson]:
    """All of them, before anything else: the best, then the last, then those before."""
    best = max(rounds, key=_gain, default=None)
    for each in rounds:
        worth = 100.0 + each.number + (50.0 if each is best and _gain(each) > 0 else 0.0)
        yield Lesson(text=told_of(each), worth=worth)


def _gain(tried: Tried) -> float:
    """How much better, in per cent; nothing for what was not clearly better."""
    comparison = tried.comparison
    if comparison is None or comparison.verdict != "better" or comparison.change_percent is None:
        return 0.0
    return abs(comparison.change_percent)


def _of_outcomes(outcomes: Iterable[Outcome], class_id: str) -> Iterator[Lesson]:
    """The last of each policy with the same settings; what was compared is worth more than what was seen."""
    seen: set[str] = set()
    for each in sorted(outcomes, key=lambda outcome: -outcome.time):
        what = f"{each.policy}{_settings(each.settings)}"
        if what in seen:
            continue
        seen.add(what)
        worth = min(abs(each.change_percent), 50.0) / 5.0
        worth += (20.0 if each.how == "tested" else 0.0) + (10.0 if each.workload == class_id else 0.0)
        workload = f" with {each.workload}" if each.workload else ""
        yield Lesson(text=f"Before{workload}: {what}: {history.in_words(each)}.", worth=worth)


def _of_notes(notes: Iterable[NoteRow], class_id: str) -> Iterator[Lesson]:
    for age, each in enumerate(sorted(notes, key=lambda note: -note.time)):
        about = " ".join(filter(None, [each.class_id, each.policy])) or "in general"
        worth = 15.0 + (12.0 if each.class_id == class_id else 0.0) - age
        yield Lesson(text=f"Note ({each.kind}, {about}): «{_quoted(each.text)}»", worth=worth)


def _quoted(text: str) -> str:
    """On one line, short, and unable to end its own quotation."""
    return " ".join(text.replace("»", "'").split())[:_LONGEST_NOTE]


def _settings(settings: dict[str, Setting]) -> str:
    told = ", ".join(f"{name}={value}" for name, value in settings.items())
    return f" ({told})" if told else ""
