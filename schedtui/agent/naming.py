"""What a sentence names besides its words: a project's folder, and a command in `backticks` that should end sooner.

``my builds in ~/code/game are slow`` · ``make `make -j8` end sooner``. Only a folder that is there is one; nothing is
run or opened here.
"""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from msgspec import Struct

_QUOTED = re.compile(r"`([^`]+)`")
_PATH = re.compile(r"(?:^|(?<=\s))(?:~?/|\./)\S*")
_AFTER_A_PATH = ".,;:!?)\"'”’"


class Named(Struct, frozen=True, kw_only=True):
    """What was found in a sentence."""

    folder: Path | None = None
    command: tuple[str, ...] = ()


def named_in(words: str) -> Named:
    """The first folder, and the first command. A folder whose name holds blanks stands in backticks too."""
    folder: Path | None = None
    command: tuple[str, ...] = ()
    for quoted in _QUOTED.findall(words):
        if (path := _folder(quoted)) is not None:
            folder = folder or path
        else:
            command = command or _command(quoted)
    for word in _PATH.findall(_QUOTED.sub(" ", words)):
        folder = folder or _folder(word) or _folder(word.rstrip(_AFTER_A_PATH))
    return Named(folder=folder, command=command)


def _folder(text: str) -> Path | None:
    if not text.strip().startswith(("/", "~", "./")):
        return None
    try:
        path = Path(text.strip()).expanduser()
        return path.resolve() if path.is_dir() else None
    except (OSError, RuntimeError, ValueError):  # too long, nobody's home, a NUL
        return None


def _command(text: str) -> tuple[str, ...]:
    try:
        return tuple(shlex.split(text))
    except ValueError:  # a quote that does not end
        return ()
