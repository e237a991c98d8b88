"""External schedulers for tests: those that ``make scx`` builds with cargo."""

from __future__ import annotations

import os
from pathlib import Path

FOLDER = Path(os.environ.get("SCHEDTUI_SCX") or Path.home() / ".cache" / "scx" / "bin")
NAMES = ("scx_bpfland", "scx_lavd", "scx_rusty", "scx_layered", "scx_flash", "scx_p2dq")


def built(name: str) -> Path:
    """The scheduler's program."""
    path = FOLDER / name
    assert path.is_file(), f"{path} is missing: make scx builds it"
    return path
