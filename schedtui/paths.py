"""Where things live: what ships with the program, and the user's own folders."""

from __future__ import annotations

import os
import stat
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent
_SHIPPED = _PACKAGE / "_shipped"
_NO_HOME = Path("/nonexistent")
_PREPARED = "/var/lib/schedtui/lab"


def shipped(name: str) -> Path:
    """A folder that ships with the program: ``bpf``, ``library`` or ``themes``.

    In the wheel they lie inside the package; in a checkout, beside it.
    """
    inside = _SHIPPED / name
    return inside if inside.is_dir() else _PACKAGE.parent / name


def _home(variable: str, fallback: str) -> Path:
    value = os.environ.get(variable, "")
    base = Path(value) if value.startswith("/") else _user_home() / fallback
    return base / "schedtui"


def _user_home() -> Path:
    """For a user who has none, a folder that nobody has: what must be kept says that it cannot be."""
    try:
        home = Path.home()
    except RuntimeError:
        return _NO_HOME
    return home if home.is_absolute() else _NO_HOME


def cache_dir() -> Path:
    """What can be rebuilt: kernels, guest images, snapshots, compiled policies."""
    return _home("XDG_CACHE_HOME", ".cache")


def data_dir() -> Path:
    """What cannot: the user's own policies, history, recordings."""
    return _home("XDG_DATA_HOME", ".local/share")


def prepared_dir() -> Path | None:
    """What setup prepared for every lab of this computer, and only root can change: copies of kernels, snapshots.

    ``SCHEDTUI_PREPARED`` names another folder. None where there is none that only root can change.
    """
    place = Path(os.environ.get("SCHEDTUI_PREPARED") or _PREPARED)
    try:
        found = place.stat()
    except OSError:
        return None
    return place if stat.S_ISDIR(found.st_mode) and found.st_uid == 0 and not found.st_mode & 0o022 else None


def config_dir() -> Path:
    """The user's settings and themes."""
    return _home("XDG_CONFIG_HOME", ".config")
