"""The key bar: what can be pressed here, and F12 PANIC, always.

The keys come from the screen; a click on one is as good as a press.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

from textual.events import Click
from textual.keys import KEY_NAME_REPLACEMENTS

from schedtui.widgets.cells import width_of
from schedtui.widgets.panel import Line, Strips, fitting

_SPOKEN = {"esc": "escape", "ins": "insert", "del": "delete", "pgup": "pageup", "pgdn": "pagedown", "bksp": "backspace"}


class KeyBar(Strips):
    """One line: the keys at the left, the most important first; panic at the right."""

    DEFAULT_CSS = """
    KeyBar { height: 1; dock: bottom; }
    """
    filler = "head"

    def __init__(
        self, keys: Sequence[tuple[str, str]] = (), *, id: str | None = None, classes: str | None = None
    ) -> None:
        super().__init__(id=id, classes=classes)
        self._keys = tuple(keys)
        self._home = "EEVDF"
        self._zones: list[tuple[int, int, str]] = []

    def show(self, keys: Sequence[tuple[str, str]], home: str | None = None) -> None:
        """Show ``keys`` (key and word, the most important first); ``home`` is the scheduler that panic leads to."""
        self._keys = tuple(keys)
        if home is not None:
            self._home = home
        self.redraw()

    def reset(self) -> None:
        """Forget the scheduler that panic leads to: the machine changed. The keys are the screen's and stay."""
        self._home = "EEVDF"
        self.redraw()

    def compose_lines(self, width: int, height: int) -> list[Line]:
        arrow = "→"
        panic = fitting(
            [[(f" F12 PANIC {arrow} {self._home} ", "panic")], [(" F12 PANIC ", "panic")], [(" F12 ", "panic")]],
            max(5, width * 2 // 3),
        )
        panic_width = width_of(panic[0][0])
        self._zones = []
        line: Line = []
        x = 0
        for key, word in self._keys:
            length = width_of(key) + width_of(word) + 3
            if x + length > width - panic_width - 1:
                break
            line += [(f" {key} ", "head-brand"), (f"{word} ", "head-muted")]
            self._zones.append((x, x + length, key))
            x += length
        self._zones.append((width - panic_width, width, "F12"))
        return [[*line, (" " * max(0, width - panic_width - x), "head"), *panic]]

    def on_click(self, event: Click) -> None:
        """Press the key that was clicked."""
        for start, end, key in self._zones:
            if start <= event.x < end:
                event.stop()
                self.app.simulate_key(textual_key(key))
                return


def textual_key(key: str) -> str:
    """Textual's name of a key as it is written in the bar: ``^p`` → ``ctrl+p``, ``?`` → ``question_mark``."""
    if len(key) == 1:
        name = key if key.isalnum() else unicodedata.name(key).lower().replace(" ", "_").replace("-", "_")
        return KEY_NAME_REPLACEMENTS.get(name, name)
    if key.startswith("^"):
        return f"ctrl+{key[1:].lower()}"
    return _SPOKEN.get(key.lower(), key.lower())
