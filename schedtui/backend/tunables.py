"""What a policy's tunables may be set to. Imported by code that runs as root: the standard library and msgspec only."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from schedtui.backend.errors import BadTunable
from schedtui.backend.model import Policy, Setting, Tunable


def check_setting(tunable: Tunable, value: Setting) -> Setting:
    """``value`` as the tunable's own type; text such as ``3000`` or ``off`` is understood.

    Raises BadTunable, which names the tunable and its range.
    """
    if isinstance(tunable.default, bool):
        return _checked_flag(tunable, value)
    if isinstance(tunable.default, int):
        return _checked_number(tunable, value)
    return _checked_text(tunable, value)


def check_settings(policy: Policy, settings: dict[str, Setting]) -> dict[str, Setting]:
    """Each setting checked; raises BadTunable for one that the policy does not have, or that is out of range."""
    tunables = {each.name: each for each in policy.tunables}
    for name in settings:
        if name not in tunables:
            raise BadTunable(f"“{policy.name}” has no tunable called “{name}”.", suggestion(name, tunables))
    return {name: check_setting(tunables[name], value) for name, value in settings.items()}


def range_of(tunable: Tunable) -> str:
    """What may be set, in words: ``100 to 100000 µs``, ``on or off``, ``at most 15 bytes of text``."""
    if isinstance(tunable.default, bool):
        return "on or off"
    if isinstance(tunable.default, int):
        unit = f" {tunable.unit}" if tunable.unit else ""
        return f"{tunable.minimum} to {tunable.maximum}{unit}"
    return f"at most {tunable.max_length} bytes of text"


def _checked_flag(tunable: Tunable, value: Setting) -> bool:
    words = {"on": True, "true": True, "yes": True, "1": True, "off": False, "false": False, "no": False, "0": False}
    known = words.get(str(value).lower())
    if known is None:
        raise _out_of_range(tunable, value)
    return known


def _checked_number(tunable: Tunable, value: Setting) -> int:
    try:
        number = int(value, 0) if isinstance(value, str) else value
    except ValueError:
        raise _out_of_range(tunable, value) from None
    low, high = tunable.minimum, tunable.maximum
    if isinstance(number, bool) or (low is not None and number < low) or (high is not None and number > high):
        raise _out_of_range(tunable, value)
    return number


def _checked_text(tunable: Tunable, value: Setting) -> str:
    if not isinstance(value, str) or "\0" in value:
        raise _out_of_range(tunable, value)
    try:
        length = len(value.encode())
    except UnicodeEncodeError:  # bytes of a command line that are not UTF-8
        raise _out_of_range(tunable, value) from None
    if length > (tunable.max_length or 0):
        raise _out_of_range(tunable, value)
    return value


def _out_of_range(tunable: Tunable, value: Setting) -> BadTunable:
    shown = str(value) if len(str(value)) <= 60 else f"{str(value)[:60]}…"
    return BadTunable(f"{tunable.name} cannot be “{shown}”.", f"It takes {range_of(tunable)}.")


def suggestion(name: str, known: Iterable[str]) -> str:
    """The near name, when there is one, and all that there are."""
    names = list(known)
    near = difflib.get_close_matches(name, names, n=1)
    listed = f"There are: {', '.join(names)}." if names else "It has none."
    return f"Did you mean “{near[0]}”? {listed}" if near else listed
