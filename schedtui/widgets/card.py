"""What a person is asked, as a card: what, why, what to expect, what it risks, and the keys that answer.

Draws Questions; the answer is the screen's affair.
"""

from __future__ import annotations

from collections.abc import Sequence

from textual.content import Content

from schedtui.agent.events import Question
from schedtui.widgets.policy import MUTED
from schedtui.widgets.timeline import settings_words

_LABELS = ("Expected", "Risk")
BAR = 20


def card_lines(question: Question, left_s: float | None) -> Content:
    """The whole card; ``left_s`` until it answers itself."""
    lines = [Content.styled(question.title, "bold $text-warning")]
    if question.kind == "try":
        with_settings = settings_words(question.settings) or " as it comes"
        lines.append(Content.assemble(("What: ", f"bold {MUTED}"), f"{question.policy}{with_settings}"))
    for number, line in enumerate(question.text.splitlines()):
        lines.append(_labelled(line, "Why" if number == 0 and question.kind == "try" else ""))
    if question.kind == "clarify":
        lines += [
            Content.assemble((f" {number} ", "bold $text-accent"), words)
            for number, (_, words) in enumerate(question.choices, 1)
        ]
    if question.diff:
        lines.append(_changed(question.diff))
    if left_s is not None and question.countdown_s:
        lines.append(_countdown(question, left_s))
    return Content("\n").join(lines)


def card_keys(question: Question, *, with_report: bool, with_source: bool) -> list[tuple[str, str]]:
    """The keys that answer, and those that help to decide."""
    first, last = question.choices[0][1], question.choices[-1][1]
    if question.kind == "clarify":
        return [("1", question.choices[0][1]), ("esc", last)]
    more = [("v", "Report")] if with_report else []
    more += [("s", "Changes" if question.diff else "Source")] if with_source else []
    if question.kind == "keep":
        return [("enter", first), ("r", last), *more]
    return [("enter", first), ("esc", last), *more]


def answer_for(question: Question, key: str) -> str:
    """The choice that a key means; empty for none."""
    ids: Sequence[str] = [id for id, _ in question.choices]
    if question.kind == "clarify":
        if key.isdecimal() and 1 <= int(key) <= len(ids):
            return ids[int(key) - 1]
        return ids[-1] if key == "escape" else ""
    if key == "enter":
        return ids[0]
    return ids[-1] if key == ("r" if question.kind == "keep" else "escape") else ""


def _labelled(line: str, label: str) -> Content:
    """A line with its label: the given one, or the one that it begins with."""
    own, colon, rest = line.partition(": ")
    if colon and own in _LABELS:
        label, line = own, rest
    return Content.assemble((f"{label}: ", f"bold {MUTED}"), line) if label else Content(line)


def _changed(diff: str) -> Content:
    added = sum(line.startswith("+") and not line.startswith("+++") for line in diff.splitlines())
    gone = sum(line.startswith("-") and not line.startswith("---") for line in diff.splitlines())
    return Content.styled(f"The source changes by {added} new lines and {gone} that go; s shows them.", MUTED)


def _countdown(question: Question, left_s: float) -> Content:
    assert question.countdown_s
    from schedtui.widgets.glyphs import choose_glyphs

    glyphs = choose_glyphs()
    filled = round(BAR * left_s / question.countdown_s)
    safe = question.choices[-1][1]
    return Content.assemble(
        (glyphs.fills[-1] * filled, "$text-warning"),
        (glyphs.horizontal * (BAR - filled), "$foreground 25%"),
        (f" {left_s:.0f} s", "bold $text-warning"),
        (f", then by itself: {safe[:1].lower()}{safe[1:]}", MUTED),
    )
