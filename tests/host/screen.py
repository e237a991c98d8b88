"""The terminal program in the desktop's guest as a person has it: a real terminal, keys, and what stands on the screen.

screen = GuestScreen(desktop, 80, 24)
assert screen.shows("F12 PANIC")
screen.press("p")
assert screen.shows("Smooth desktop"), screen.text
"""

from __future__ import annotations

import re

import pyte

from tests.conftest import until
from tests.host.desktop import DesktopGuest

PATIENCE_S = 120.0
KEYS = {"enter": "\r", "escape": "\x1b", "up": "\x1b[A", "down": "\x1b[B", "f12": "\x1b[24~", "ctrl+p": "\x10"}
_FOREIGN = re.compile(rb"\x1b\[[<>=][0-9;]*u")
"""What sets the keyboard's protocol; pyte prints the letter."""


class GuestScreen:
    """``schedtui`` as uid 1000, started anew, in a terminal of so many columns and lines."""

    def __init__(self, desktop: DesktopGuest, columns: int, lines: int, *, program: str = "schedtui") -> None:
        self.job = desktop.start([program], terminal=(columns, lines), env={"COLORTERM": "truecolor"})
        self._screen = pyte.Screen(columns, lines)
        self._stream = pyte.ByteStream(self._screen)
        self._seen = 0

    @property
    def text(self) -> str:
        """What stands on it now; also after the program's end, whatever it left there."""
        printed = self.job.printed
        new, self._seen = printed[self._seen :], len(printed)
        self._stream.feed(_FOREIGN.sub(b"", new))
        return "\n".join(line.rstrip() for line in self._screen.display)

    def holds(self, *words: str) -> bool:
        """Whether all of these stand there now; a line's end counts as a space."""
        text = _words(self.text)
        return all(each in text for each in words)

    def shows(self, *words: str, limit_s: float = PATIENCE_S) -> bool:
        """Wait until all of these stand there at once."""
        return until(lambda: self.holds(*words), limit_s)

    def shows_one_of(self, *words: str, limit_s: float = PATIENCE_S) -> bool:
        """Wait until one of these stands there."""
        return until(lambda: any(self.holds(each) for each in words), limit_s)

    def gone(self, words: str, limit_s: float = PATIENCE_S) -> bool:
        """Wait until these stand there no more."""
        return until(lambda: not self.holds(words), limit_s)

    def press(self, *keys: str) -> None:
        """Names of KEYS, or what is typed."""
        for each in keys:
            self.job.press(KEYS.get(each, each).encode())


def _words(text: str) -> str:
    return " ".join(text.replace("│", " ").split())
