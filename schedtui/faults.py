"""Where faults of schedtui itself are written, so that none is shown as a traceback."""

from __future__ import annotations

import time
import traceback
from pathlib import Path

from schedtui.paths import cache_dir


def write_log(error: BaseException) -> Path | None:
    """Append the traceback to today's log and say where; None when it cannot be written."""
    path = cache_dir() / "log" / time.strftime("schedtui-%Y-%m-%d.log")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8") as file:
            file.write(time.strftime("%H:%M:%S\n"))
            file.write("".join(traceback.format_exception(error)))
    except OSError:
        return None
    return path
