"""External schedulers as they are started: which arguments a goal and settings make, read from the library's entry.

Imported by code that runs as root: the standard library and msgspec only. Reading a whole library is left to
``library.catalogue``, what an installed program knows of to ``library.external``.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec
from msgspec import Struct

from schedtui.backend.errors import BadFile, BadTunable, UnknownName
from schedtui.backend.model import Mode, Setting, Tunable
from schedtui.backend.tunables import check_setting, suggestion

NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,63}")
"""Of a program."""
_PLAIN = re.compile(r"[A-Za-z0-9_.,:+-]*")
"""What a setting of text may hold: nothing that a program could take for a path or for a list of its own."""
_LARGEST_BYTES = 1 << 20


class Entry(Struct, frozen=True, kw_only=True):
    """What an external scheduler's ``policy.toml`` says of its command line."""

    name: str
    binary: str
    mode: tuple[Mode, ...] = ()
    tunable: tuple[Tunable, ...] = ()


def read_entry(library: Path, name: str) -> Entry:
    """The entry of an external scheduler in the folder ``library``. Raises UnknownName, BadFile."""
    path = library / name / "policy.toml"
    if not NAME.fullmatch(name) or not path.is_file():
        raise UnknownName(f"The library has no scheduler called “{name}”.", "schedtui library lists them.")
    try:
        with path.open("rb") as file:
            data = tomllib.loads(file.read(_LARGEST_BYTES).decode())
        entry = msgspec.convert(data, Entry)
    except (OSError, ValueError, RecursionError) as error:
        raise BadFile(f"{path} cannot be read: {error}", "Install schedtui's library anew.") from error
    if entry.name != name or not NAME.fullmatch(entry.binary):
        raise BadFile(f"{path} is not the entry of an external scheduler called “{name}”.", "Install it anew.")
    return entry


def arguments_of(
    modes: Sequence[Mode], tunables: Sequence[Tunable], goal: str, settings: dict[str, Setting]
) -> tuple[str, ...]:
    """The command line for a goal (one of the modes', or empty: as the program is by itself) with these settings.

    A setting takes the place of the mode's own flag. Raises BadTunable.
    """
    words = list(next((each.flags for each in modes if each.goal == goal), ()))
    known = {each.name: each for each in tunables}
    for name, value in settings.items():
        if name not in known:
            raise BadTunable(f"It has no setting called “{name}”.", suggestion(name, known))
        words = [*_without(words, flag_of(name)), *_written(known[name], value)]
    return tuple(words)


def flag_of(name: str) -> str:
    """How an external scheduler's tunable is written on its command line: ``--slice-us``, ``-f``."""
    return f"-{name}" if len(name) == 1 else f"--{name}"


def _written(tunable: Tunable, value: Setting) -> list[str]:
    checked = check_setting(tunable, value)
    if isinstance(checked, bool):
        return [flag_of(tunable.name)] if checked else []
    if isinstance(checked, str) and not _PLAIN.fullmatch(checked):
        raise BadTunable(f"{tunable.name} cannot be “{checked}”.", "Letters, digits and . , : + - _ only.")
    if len(tunable.name) == 1:
        return [flag_of(tunable.name), str(checked)]
    return [f"{flag_of(tunable.name)}={checked}"]  # in one word, so that a value is never taken for a flag


def _without(words: Iterable[str], flag: str) -> list[str]:
    """The words but for this flag and its value."""
    kept: list[str] = []
    dropping = False
    for word in words:
        is_flag = re.match(r"--?[A-Za-z]", word) is not None
        dropping = word.partition("=")[0] == flag if is_flag else dropping
        if not dropping:
            kept.append(word)
        if "=" in word or not is_flag:
            dropping = False
    return kept
