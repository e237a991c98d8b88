"""A scheduler's command line as another program writes it, turned into a mode and settings that the catalogue checks.

Nothing of it is ever passed on: a flag that is neither a tunable of the policy nor one of its modes is refused, with
those that are known.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence

from msgspec import Struct
from msgspec.structs import replace

from schedtui.backend.errors import BadTunable
from schedtui.backend.library.external import fit
from schedtui.backend.model import Mode, Policy, Setting, Tunable
from schedtui.backend.programs import arguments_of, flag_of
from schedtui.backend.tunables import check_setting

_FLAG = re.compile(r"--?([A-Za-z][\w-]*)(?:=(.*))?", re.DOTALL)
_YES_NO = ("on", "off", "true", "false", "yes", "no", "1", "0")
_MOST_NAMED = 60


class _Known(Struct, frozen=True, kw_only=True):
    """What the flags of a policy are."""

    tunables: dict[str, Tunable]
    """By the flag's name, as ``_key`` makes it; also under a short form that the installed program has."""
    modes: tuple[Mode, ...]
    with_values: dict[str, bool]
    """Flags that are in modes only; whether each takes a value."""
    lacking: tuple[str, ...]
    """Flags that the installed version does not have."""


def settings_from(policy: Policy, words: Sequence[str]) -> tuple[Policy, dict[str, Setting]]:
    """The policy, in the mode that the words name, and its settings; raises BadTunable.

    ``--slice-us 5000``, ``--slice_us=5000`` and, for what is on or off, the flag alone are understood.
    """
    known = _known(policy)
    settings: dict[str, Setting] = {}
    of_mode: dict[str, str] = {}
    whole = _whole_mode(known.modes, words)
    left = [each for each in words[len(whole.flags) if whole else 0 :] if each != "--"]
    while left:
        word = left.pop(0)
        match = _FLAG.fullmatch(word)
        if match is None:
            raise BadTunable(f"“{word[:60]}” is no flag of {policy.name}.", _suggestion("", policy, known))
        name, value = _key(match[1]), match[2]
        tunable = known.tunables.get(name)
        if tunable is not None:
            settings[tunable.name] = check_setting(tunable, _value(tunable, value, word, left))
        elif name in known.with_values:
            if known.with_values[name] and value is None:
                value = _next(word, left)
            of_mode[name] = value or ""
        else:
            raise _unknown(word, name, policy, known)
    for name in settings:
        if flag_of(name) in known.lacking:
            raise BadTunable(
                f"The installed {policy.name} has no {flag_of(name)}.", "Leave it out, or install a newer version."
            )
    policy = replace(policy, goal=whole.goal if whole and not of_mode else _goal(policy, known, of_mode))
    if policy.binary:
        arguments_of(known.modes, policy.tunables, policy.goal, settings)  # text that is no plain word is refused
    return policy, settings


def written(policy: Policy, tunable: Tunable) -> str:
    """How a tunable is written on a command line: ``--slice-us``."""
    return flag_of(tunable.name) if policy.binary else f"--{tunable.name.replace('_', '-')}"


def _known(policy: Policy) -> _Known:
    found = fit(policy) if policy.binary else None
    tunables = {_key(each.name): each for each in policy.tunables}
    if found is not None:
        for flag in found.installed.flags.values():
            if flag.short and _key(flag.name) in tunables:
                tunables.setdefault(flag.short, tunables[_key(flag.name)])
    modes = found.modes if found is not None else policy.modes
    with_values = {
        name: value is not None for mode in modes for name, value in _flags(mode).items() if name not in tunables
    }
    return _Known(
        tunables=tunables, modes=modes, with_values=with_values, lacking=found.lacking if found is not None else ()
    )


def _whole_mode(modes: Sequence[Mode], words: Sequence[str]) -> Mode | None:
    """The mode that the words begin with, of those that hold more than flags and their values: a list of rules."""
    for mode in modes:
        if mode.flags and not _FLAG.fullmatch(mode.flags[0]) and tuple(words[: len(mode.flags)]) == mode.flags:
            return mode
    return None


def _value(tunable: Tunable, value: str | None, word: str, left: list[str]) -> str:
    if value is not None:
        return value
    if isinstance(tunable.default, bool):
        return left.pop(0) if left and left[0].lower() in _YES_NO else "on"
    return _next(word, left)


def _next(word: str, left: list[str]) -> str:
    if not left or _FLAG.fullmatch(left[0]):
        raise BadTunable(f"{word} wants a value after it.", f"Such as {word}=VALUE.")
    return left.pop(0)


def _goal(policy: Policy, known: _Known, of_mode: dict[str, str]) -> str:
    """The goal of the mode that has exactly these flags, beside those that are tunables."""
    if not of_mode:
        return policy.default_mode
    for mode in known.modes:
        own = {name: value or "" for name, value in _flags(mode).items() if name not in known.tunables}
        if own == of_mode:
            return mode.goal
    given = " ".join(f"{_dashed(name)} {value}".strip() for name, value in of_mode.items())
    modes = "; ".join(dict.fromkeys(" ".join(each.flags) for each in known.modes if each.flags))
    raise BadTunable(f"{policy.name} is not started with {given} here.", f"Its modes are: {modes}.")


def _flags(mode: Mode) -> dict[str, str | None]:
    """A mode's flags with their values; None for one without."""
    flags: dict[str, str | None] = {}
    last = ""
    for word in mode.flags:
        match = _FLAG.fullmatch(word)
        if match is not None:
            last = _key(match[1])
            flags[last] = match[2]
        elif last:
            flags[last] = word
    return flags


def _unknown(word: str, name: str, policy: Policy, known: _Known) -> BadTunable:
    return BadTunable(f"{policy.name} has no flag {word.partition('=')[0][:60]}.", _suggestion(name, policy, known))


def _suggestion(name: str, policy: Policy, known: _Known) -> str:
    everything = _all(policy, known)
    near = difflib.get_close_matches(_dashed(name), everything, n=1) if name else []
    listed = f"It knows: {', '.join(everything[:_MOST_NAMED])}." if everything else "It has nothing to set."
    return f"Did you mean {near[0]}? {listed}" if near else listed


def _all(policy: Policy, known: _Known) -> list[str]:
    unique: Iterable[str] = (written(policy, each) for each in known.tunables.values())
    return list(dict.fromkeys([*unique, *(_dashed(name) for name in known.with_values)]))


def _key(name: str) -> str:
    """Flags are told apart by this: ``slice_us`` is ``slice-us``; a single letter keeps its case."""
    return name if len(name) == 1 else name.lower().replace("_", "-")


def _dashed(name: str) -> str:
    return f"-{name}" if len(name) == 1 else f"--{name}"
