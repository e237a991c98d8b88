"""Whether the process that began something still lives, so that what a dead one left can be resolved.

What is resolved how is deploy.py's and store.py's.
"""

from __future__ import annotations

import os
from pathlib import Path


def this_process() -> str:
    """Names this process, also when its number is used again: its number, and when it began in clock ticks."""
    return _process(os.getpid())


def lives(named: str) -> bool:
    """Whether the process that ``this_process`` named so still runs."""
    pid = named.partition(":")[0]
    return pid.isdigit() and _process(int(pid)) == named


def _process(pid: int) -> str:
    try:
        state, *fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
        return "" if state == b"Z" else f"{pid}:{fields[18].decode()}"
    except (OSError, ValueError, IndexError):
        return ""
