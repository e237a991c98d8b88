"""Where faults of schedtui itself are written, so that none is shown as a traceback."""

from __future__ import annotations

import time
import traceback
from pathlib import Path

from schedtui.backend.errors import SchedtuiError
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


def unexpected(error: Exception) -> SchedtuiError:
    """A fault of schedtui itself, written to the log, as an error that a user can read."""
    path = write_log(error)
    return SchedtuiError(
        f"schedtui ran into a fault of its own: {type(error).__name__}: {error}",
        f"The details are in {path}. Please report them." if path else "Please report it.",
    )
