"""A policy that is being written in a request: its source, and the entry that the library will have of it.

It lies in a folder of its own until the verifier passed it. What a mind wrote is data: it is compiled only in the
sandbox, by the verifier.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from msgspec import Struct

from schedtui.backend.library.catalogue import read_policy
from schedtui.backend.model import Policy, Setting, Tunable, Workload

_TUNABLE = re.compile(
    r"(?:/\*(?P<comment>(?:(?!\*/).)*)\*/\s*|//(?P<line>[^\n]*)\n\s*)?"
    r"^[ \t]*(?P<kind>const )?volatile (?P<type>u8|u16|u32|u64|s8|s16|s32|s64|int|bool) (?P<name>[a-zA-Z_]\w*)"
    r"(?P<live> LIVE)? = (?P<value>\d+|true|false)[uUlL]*;",
    re.MULTILINE | re.DOTALL,
)
NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
"""Of a new policy."""
_NOT_A_NAME = re.compile(r"[^a-z0-9]+")
_WIDEST = 10
"""A number of a new policy may be set to a tenth of its default, or ten times as much."""
_LONGEST = 400


class Draft(Struct, frozen=True, kw_only=True):
    """One version of it."""

    name: str
    source: str
    parent: Policy | None
    """What it was made from; None when it was written anew."""
    summary: str
    for_whom: str


def name_for(parent: str, workload: Workload, taken: list[str]) -> str:
    """A free name for a changed policy: ``interactive-gaming``, ``interactive-gaming-2``, …"""
    base = _NOT_A_NAME.sub("-", f"{parent}-{workload.class_id}".lower()).strip("-")[:40].strip("-")
    number = 2
    name = base
    while name in taken:
        name = f"{base}-{number}"
        number += 1
    return name


def write(draft: Draft, folder: Path) -> Policy:
    """Put source and entry into ``folder``/NAME, and read them as the library does. Raises BadFile, OSError."""
    import tomlkit

    place = folder / draft.name
    place.mkdir(parents=True, exist_ok=True)
    (place / f"{draft.name}.bpf.c").write_text(draft.source, encoding="utf-8")
    (place / "policy.toml").write_text(tomlkit.dumps(_entry(draft)), encoding="utf-8")
    return read_policy(place / "policy.toml", "generated")


def kept_settings(policy: Policy, settings: dict[str, Setting]) -> dict[str, Setting]:
    """Those of ``settings`` that the policy, as it is now, has tunables for."""
    known = {each.name for each in policy.tunables}
    return {name: value for name, value in settings.items() if name in known}


def _entry(draft: Draft) -> dict[str, object]:
    parent = draft.parent
    begun = f" Made from {parent.name}." if parent else ""
    return {
        "name": draft.name,
        "title": draft.name.replace("-", " ").capitalize(),
        "summary": _plain(draft.summary) or f"A policy for {draft.for_whom}.",
        "description": f"{_plain(draft.summary)}{begun} Written by a model, and verified before it ran.",
        "source": f"{draft.name}.bpf.c",
        "for_whom": [_plain(draft.for_whom)],
        "not_for": list(parent.not_for) if parent else [],
        "limits": [*(parent.limits if parent else ()), "Written for one computer and one kind of work."],
        "tunable": [_as_entry(each) for each in _tunables(draft)],
        "statistic": [
            {"name": each.name, "description": each.description}
            for each in (parent.statistics if parent else ())
            if re.search(rf"\b{each.name}\b", draft.source)
        ],
    }


def _tunables(draft: Draft) -> Iterator[Tunable]:
    """The parent's that are still there, with the source's defaults; and new ones, by their comments."""
    known = {each.name: each for each in draft.parent.tunables} if draft.parent else {}
    seen = set()
    for match in _TUNABLE.finditer(draft.source):
        found = _read(match)
        old = known.get(found.name)
        seen.add(found.name)
        if old is None or type(old.default) is not type(found.default):
            yield found
        elif isinstance(found.default, bool) or _within(old, found.default):
            yield Tunable(**{**_fields(old), "default": found.default, "live": found.live})
        else:
            yield Tunable(**{**_fields(found), "description": old.description, "cost": old.cost, "unit": old.unit})
    for name, tunable in known.items():  # text and arrays, which are not read from a source
        if name not in seen and isinstance(tunable.default, str) and re.search(rf"\b{name}\b", draft.source):
            yield tunable


def _read(match: re.Match[str]) -> Tunable:
    text = _plain(re.sub(r"\n\s*\*", " ", match["comment"] or match["line"] or ""))
    description, _, cost = text.partition("Cost:")
    flag = match["type"] == "bool" or match["value"] in ("true", "false")
    value = match["value"] in ("true", "1") if flag else int(match["value"])
    return Tunable(
        name=match["name"],
        description=description.strip() or match["name"],
        cost=cost.strip() or "Not told by its author.",
        default=value,
        minimum=None if flag else value // _WIDEST,
        maximum=None if flag else min(max(value * _WIDEST, 1), _largest(match["type"])),
        live=match["kind"] is None,
    )


def _largest(type: str) -> int:
    """The largest value of a C type."""
    bits = 32 if type == "int" else int(type[1:])
    return (1 << (bits if type.startswith("u") else bits - 1)) - 1


def _within(tunable: Tunable, value: Setting) -> bool:
    low, high = tunable.minimum, tunable.maximum
    return isinstance(value, int) and low is not None and high is not None and low <= value <= high


def _fields(tunable: Tunable) -> dict[str, Any]:
    return {name: getattr(tunable, name) for name in tunable.__struct_fields__}


def _as_entry(tunable: Tunable) -> dict[str, Any]:
    return {name: value for name, value in _fields(tunable).items() if value is not None}


def _plain(text: str) -> str:
    return "".join(each if each.isprintable() else " " for each in " ".join(text.split()))[:_LONGEST]
