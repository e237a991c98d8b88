"""Textual's terminal driver, made to end when the terminal goes away.

When a terminal is closed, the kernel sends SIGHUP and then SIGCONT to what ran in it. Textual takes SIGCONT for the
end of a suspension that never was and starts a second writing thread; a writing thread ends with an error when the
terminal is gone, and whoever waits for room in its queue then waits for ever.
"""

from __future__ import annotations

import contextlib
from typing import Any, TextIO

from textual.drivers.linux_driver import LinuxDriver


class _Terminal:
    """A terminal's file, where what is written after the terminal has gone is dropped."""

    def __init__(self, file: TextIO) -> None:
        self._file = file

    def write(self, text: str) -> int:
        with contextlib.suppress(OSError):
            return self._file.write(text)
        return len(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError):
            self._file.flush()

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
