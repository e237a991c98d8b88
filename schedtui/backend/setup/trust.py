"""Whether only root can change what will run as root: a path, or everything in a folder."""

from __future__ import annotations

import os
from pathlib import Path

from schedtui.backend.setup import launch


def changeable(path: Path) -> str:
    """Why somebody but root could change what ``path`` leads to, as a sentence; empty when only root can."""
    why = launch.changeable(str(path))
    return f"{why}." if why else ""


def changeable_tree(folder: Path) -> str:
    """The same for everything in a folder."""
    why = changeable(folder)
    for parent, folders, files in os.walk(folder):
        for name in (*folders, *files):
            if why:
                return why
            why = changeable(Path(parent, name))
    return why
