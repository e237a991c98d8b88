"""A policy in plain words: what it is for and what not, its settings with what each costs, its limits.

Draws the model's structs; whether a policy can run here, and what became of it, is left to others.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from textual.content import Content

from schedtui.backend.model import Mode, Policy, Setting, Tunable
from schedtui.backend.tunables import range_of

MUTED = "$foreground 65%"
_MARKED = re.compile(r"(\*\*.+?\*\*|`[^`]+`)")


def policy_lines(policy: Policy, settings: Mapping[str, Setting]) -> list[Content]:
    """What the policy is for, what can be set (with ``settings`` over its defaults), and how it decides."""
    parts = _listed("Good for", policy.for_whom)
    parts += _listed("Not for", policy.not_for)
    parts += _listed("Limits", policy.limits)
    if policy.modes:
        parts.append(_lines([_label("Its flags for a goal"), *map(_mode, policy.modes)]))
    parts += settings_lines(policy, settings)
    if policy.note:
        parts.append(_note(policy.note))
    return parts


def settings_lines(policy: Policy, settings: Mapping[str, Setting]) -> list[Content]:
    """Every tunable with its value under ``settings``, what it does, what raising it costs, and its range."""
    if not policy.tunables:
        return []
    lines = [_tunable(each, settings.get(each.name, each.default)) for each in policy.tunables]
    return [_lines([_label("Settings"), *lines])]


def labelled(label: str, text: str, style: str = MUTED) -> Content:
    """A paragraph below its label."""
    return Content.assemble((label, f"bold {style}"), "\n", text)


def shown(value: Setting) -> str:
    """A value as a person says it: ``on``, ``3000``, ``none`` for an empty text."""
    return {True: "on", False: "off"}[value] if isinstance(value, bool) else str(value) or "none"


def in_short(policy: Policy, settings: Mapping[str, Setting]) -> str:
    """``slice_us = 500 µs, boost = off``; or that they are the defaults."""
    units = {each.name: each.unit for each in policy.tunables}
    return (
        ", ".join(f"{name} = {shown(value)} {units.get(name, '')}".rstrip() for name, value in settings.items())
        or "its defaults"
    )


def paragraphs(parts: Iterable[Content]) -> Content:
    """Parts with a blank line between."""
    return Content("\n\n").join(parts)


def _note(text: str) -> Content:
    """The Markdown of a note: its headings, paragraphs, items, and what is bold or code."""
    return _lines([_marked(line) for line in _unfolded(text)])


def _unfolded(text: str) -> list[str]:
    """A line for each heading, paragraph and item, whatever the file's line breaks."""
    lines: list[str] = []
    for line in text.strip().splitlines():
        stripped = line.strip()
        begins = not lines or not lines[-1] or not stripped or re.match(r"#|[-*] |\d+\. |\|", line)
        if begins or lines[-1].startswith("#"):
            lines.append(stripped)
        else:
            lines[-1] += " " + stripped
    return lines


def _marked(line: str) -> Content:
    heading = re.fullmatch(r"#+ +(.*)", line)
    if heading:
        return _label(heading[1].replace("`", ""))
    item = re.sub(r"^[-*] ", "· ", line)
    parts = [_span(part) for part in _MARKED.split(item) if part]
    return Content.assemble(*parts) if parts else Content("")


def _span(part: str) -> tuple[str, str]:
    if len(part) > 4 and part.startswith("**"):
        return part[2:-2], "bold"
    if len(part) > 2 and part.startswith("`"):
        return part[1:-1], "$text-accent"
    return part, ""


def _tunable(tunable: Tunable, value: Setting) -> Content:
    changed = "" if value == tunable.default else f" (default {shown(tunable.default)})"
    cost = f" But: {tunable.cost[:1].lower()}{tunable.cost[1:]}" if tunable.cost else ""
    return Content.assemble(
        ("· " + tunable.name, "bold $text-accent"),
        (f"  {shown(value)} {tunable.unit}".rstrip(), "bold"),
        (changed, MUTED),
        f"\n{tunable.description}{cost}",
        (f" ({range_of(tunable)})", MUTED),
    )


def _mode(mode: Mode) -> Content:
    flags = " ".join(mode.flags) or "none"
    return Content.assemble(("· " + mode.goal, "bold $text-accent"), f"  {flags}", (f"\n{mode.reason}", MUTED))


def _listed(label: str, texts: tuple[str, ...]) -> list[Content]:
    return [labelled(label, "\n".join(f"· {text}" for text in texts))] if texts else []


def _label(text: str) -> Content:
    return Content.styled(text, f"bold {MUTED}")


def _lines(lines: list[Content]) -> Content:
    return Content("\n").join(lines)
