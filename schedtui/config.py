"""The user's few lasting choices, in ``config.toml`` of the configuration folder."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from schedtui.backend.errors import BadFile
from schedtui.paths import config_dir

_THEME_LINE = re.compile(r"^theme\s*=.*$", re.MULTILINE)
_FIRST_TABLE = re.compile(r"^\s*\[", re.MULTILINE)


def config_file() -> Path:
    """Where the choices are kept."""
    return config_dir() / "config.toml"


def chosen_theme() -> str | None:
    """The theme that the user chose last; None when none was. Raises BadFile when the file is damaged."""
    path = config_file()
    try:
        value = tomllib.loads(path.read_text(encoding="utf-8")).get("theme")
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise BadFile(f"The settings in {path} cannot be read: {error}", "Mend the file, or delete it.") from error
    if value is not None and not isinstance(value, str):
        raise BadFile(f"In {path}, theme must be a name in quotes.", "Mend the file, or delete it.")
    return value


def remember_theme(name: str) -> None:
    """Keep ``name`` as the choice and leave everything else in the file as it is. Raises BadFile when it cannot."""
    path = config_file()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        text = path.read_text(encoding="utf-8") if path.exists() else ""
        fresh = path.with_suffix(".new")
        fresh.write_text(_with_theme(text, name), encoding="utf-8")
        fresh.replace(path)
    except (OSError, UnicodeDecodeError) as error:
        raise BadFile(f"The theme could not be kept in {path}: {error}", "It lasts until you quit.") from error


def _with_theme(text: str, name: str) -> str:
    line = f'theme = "{name}"'
    table = _FIRST_TABLE.search(text)
    head, tail = (text[: table.start()], text[table.start() :]) if table else (text, "")
    if _THEME_LINE.search(head):
        return _THEME_LINE.sub(line, head, count=1) + tail
    return f"{line}\n{head}{tail}"
