"""Changing a source by replacing pieces of its text, and showing what changed. Compiling is left to others."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

from schedtui.agent.arguments import Edit
from schedtui.backend.errors import SchedtuiError

_NEAR_LINES = 6


class NoSuchText(SchedtuiError):
    """A piece that is to be replaced stands nowhere in the source, or in several places."""

    kind = "no-such-text"


def patched(source: str, edits: Sequence[Edit]) -> str:
    """``source`` with each piece replaced, one after the other; raises NoSuchText, and then nothing is changed."""
    for number, edit in enumerate(edits, 1):
        times = source.count(edit.search) if edit.search.strip() else 0
        if times != 1:
            raise _refusal(source, edit, number, times)
        source = source.replace(edit.search, edit.replace)
    return source


def difference(before: str, after: str, name: str) -> str:
    """A unified diff; empty when nothing changed."""
    lines = difflib.unified_diff(
        before.splitlines(), after.splitlines(), f"{name} before", f"{name} after", lineterm=""
    )
    return "\n".join(lines)


def _refusal(source: str, edit: Edit, number: int, times: int) -> NoSuchText:
    if not edit.search.strip():
        return NoSuchText(f"Edit {number} has no text to search for.", "Give the exact lines that are to be replaced.")
    if times > 1:
        return NoSuchText(f"The text of edit {number} stands there {times} times.", "Give more of the lines around it.")
    return NoSuchText(
        f"The text of edit {number} does not stand in the source.",
        "It must be exact, with its tabs. Nothing was changed.",
        _nearest(source, edit.search),
    )


def _nearest(source: str, search: str) -> str:
    """The lines that are most like the first line that was searched for."""
    wanted = next(line.strip() for line in search.splitlines() if line.strip())
    lines = source.splitlines()
    near = difflib.get_close_matches(wanted, [line.strip() for line in lines], n=1, cutoff=0.5)
    if not near:
        return ""
    at = next(index for index, line in enumerate(lines) if line.strip() == near[0])
    return "The nearest there:\n" + "\n".join(lines[max(0, at - 1) : at + _NEAR_LINES])
