"""A program in a terminal of its own, for tests that must see it as a person does."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import select
import signal
import struct
import termios
import time

_ESCAPES = re.compile(rb"\x1b(\[[0-9;:?<>=]*[ -/]*[@-~]|\][^\x07\x1b]*(\x07|\x1b\\)|[()][A-Z0-9]|[=>PX^_])")


def plain_text(output: bytes) -> str:
    """What was printed, without the escape sequences."""
    return _ESCAPES.sub(b"", output).decode(errors="replace")


class Terminal:
    """A program in a terminal of its own, whose output is read as a terminal would."""

    def __init__(self, command: list[str], columns: int = 160, lines: int = 45) -> None:
        self.began = time.monotonic()
        self.pid, self.descriptor = pty.fork()
        if not self.pid:
            os.environ.update(TERM="xterm-256color", COLORTERM="truecolor", LANG="C.UTF-8")
            os.execvp(command[0], command)
        fcntl.ioctl(self.descriptor, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        self.output = b""

    @property
    def text(self) -> str:
        """Everything printed so far, without the escape sequences: not a screen, but enough to look for words."""
        return plain_text(self.output)

    def read(self, seconds: float) -> bool:
        """Take what comes within this time; False when the program ended."""
        if select.select([self.descriptor], [], [], seconds)[0]:
            try:
                self.output += os.read(self.descriptor, 1 << 16)
            except OSError:
                return False
        return True

    def shows(self, word: str, limit_s: float) -> bool:
        """Wait until a word has been printed."""
        end = time.monotonic() + limit_s
        while word not in self.text:
            if time.monotonic() > end or not self.read(0.1):
                return word in self.text
        return True

    def press(self, keys: bytes) -> None:
        """Type."""
        os.write(self.descriptor, keys)

    def drain(self, seconds: float) -> None:
        """Keep reading for this long."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0 and self.read(left):
            pass

    def close(self) -> None:
        """Press q, and make sure."""
        with contextlib.suppress(OSError):
            self.press(b"q")
        self.drain(1)
        with contextlib.suppress(ProcessLookupError, ChildProcessError):
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        os.close(self.descriptor)
