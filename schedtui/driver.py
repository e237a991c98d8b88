"""Textual's terminal driver, made to end when the terminal goes away.

When a terminal is closed, the kernel sends SIGHUP and then SIGCONT to what ran in it. Textual takes SIGCONT for the
end of a suspension that never was and starts a second writing thread; a writing thread ends with an error when the
terminal is gone, and whoever waits for room in its queue then waits for ever.
"""

from __future__ import annotations

import os
import signal
from typing import Any, TextIO

from textual.drivers.linux_driver import LinuxDriver


class _Terminal:
    """A terminal's file. When the terminal has gone, what is written is dropped, and the program is told by SIGHUP."""

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self._gone = False

    def write(self, text: str) -> int:
        try:
            return self._file.write(text)
        except OSError:
            self._tell()
            return len(text)

    def flush(self) -> None:
        try:
            self._file.flush()
        except OSError:
            self._tell()

    def _tell(self) -> None:
        # The kernel tells only the session's leader; without this, a program started by a script would read the
        # terminal's end for ever.
        if not self._gone:
            self._gone = True
            os.kill(os.getpid(), signal.SIGHUP)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


class TerminalDriver(LinuxDriver):
    """Resumes only after a suspension, and outlives its terminal long enough to end in order."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._file: Any = _Terminal(self._file)

    def _sigcont_application(self, *arguments: object) -> None:
        if self._must_signal_resume:
            super()._sigcont_application(*arguments)
