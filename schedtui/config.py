"""The user's few lasting choices, in ``config.toml`` of the configuration folder.

Whatever a user wrote there besides, comments too, stays as it is.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from schedtui.backend.errors import BadFile
from schedtui.paths import config_dir

if TYPE_CHECKING:
    from tomlkit import TOMLDocument


def config_file() -> Path:
    """Where the choices are kept."""
    return config_dir() / "config.toml"


def read_config() -> dict[str, Any]:
    """All of it; empty when there is no file yet. Raises BadFile when it is damaged."""
    path = config_file()
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise BadFile(f"The settings in {path} cannot be read: {error}", "Mend the file, or delete it.") from error


def read_table(name: str) -> dict[str, Any]:
    """One table of it; empty when it is not there. Raises BadFile."""
    table = read_config().get(name, {})
    if not isinstance(table, dict):
        raise BadFile(f"In {config_file()}, {name} must be a table.", "Mend the file, or delete it.")
    return table


def remember_table(name: str, values: Mapping[str, Any] | None) -> None:
    """Keep these values in the table, or take the table out (None). Raises BadFile when it cannot be written."""

    def change(document: TOMLDocument) -> None:
        if values is None:
            document.pop(name, None)
            return
        if name not in document:
            document[name] = {}
        document[name].update(values)

    _rewrite(change, "Nothing was changed.")


def chosen_theme() -> str | None:
    """The theme that the user chose last; None when none was. Raises BadFile when the file is damaged."""
    value = read_config().get("theme")
    if value is not None and not isinstance(value, str):
        raise BadFile(f"In {config_file()}, theme must be a name in quotes.", "Mend the file, or delete it.")
    return value


def remember_theme(name: str) -> None:
    """Keep ``name`` as the choice and leave everything else in the file as it is. Raises BadFile when it cannot."""

    def change(document: TOMLDocument) -> None:
        document["theme"] = name

    _rewrite(change, "It lasts until you quit.")


def asks_never() -> bool:
    """Whether the user wants models to act without asking (``[trust] automatic``). Raises BadFile for a wrong value."""
    value = read_table("trust").get("automatic", False)
    if not isinstance(value, bool):
        raise BadFile(f"In {config_file()}, automatic must be true or false.", "Mend the file, or delete that line.")
    return value


def _rewrite(change: Callable[[TOMLDocument], None], remedy: str) -> None:
    import tomlkit
    from tomlkit.exceptions import TOMLKitError

    path = config_file()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        document = tomlkit.parse(path.read_text(encoding="utf-8")) if path.exists() else tomlkit.document()
        change(document)
        fresh = path.with_suffix(".new")
        with fresh.open("w", encoding="utf-8") as file:
            file.write(tomlkit.dumps(document))
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
    except (OSError, UnicodeDecodeError, TOMLKitError, TypeError, AttributeError) as error:
        raise BadFile(f"The settings could not be kept in {path}: {error}", remedy) from error
