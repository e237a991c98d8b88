"""How this very schedtui is run as root: the command that asks for a password, and the name that it finds.

Imports next to nothing: the first screen of a computer without the helper names the command.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

_SUDO_LOOKS = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""sudo's own PATH, as distributions set it."""


def setup_command(*arguments: str) -> list[str]:
    """How this very schedtui is run as root: sudo does not look where a user's programs lie."""
    return [*admin_command(), sys.executable, "-I", "-m", "schedtui", "setup", *arguments]


def program() -> str:
    """How sudo finds this very schedtui: by its name where it looks, else by its path."""
    own = Path(shutil.which(sys.argv[0]) or sys.argv[0]).resolve()
    found = shutil.which("schedtui", path=_SUDO_LOOKS)
    named = own.name != "schedtui" or (found is not None and Path(found).resolve() == own)
    return "schedtui" if named else str(own)


def admin_command() -> list[str]:
    """What asks for a password here; empty when nothing does, and for root."""
    if os.geteuid() == 0:
        return []
    for name in ("sudo", "pkexec", "doas"):
        for folder in ("/usr/bin", "/bin", "/usr/local/bin", "/run/wrappers/bin"):
            if os.access(f"{folder}/{name}", os.X_OK):
                return [f"{folder}/{name}"]
    return []
