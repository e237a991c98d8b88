"""What happened, in a person's words, latest first."""

from __future__ import annotations

import textwrap
import time
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.events import MouseScrollDown, MouseScrollUp
from textual.message import Message

from schedtui.backend.model import Event
from schedtui.widgets.cells import fit
from schedtui.widgets.panel import Line, Panel

HISTORY = 500
_CLOCK = 8
_INDENT = _CLOCK + 3
_NARROW, _NARROW_INDENT = 60, 3
"""In so few cells a sentence goes on nearly at the left side, so that more of it can be read."""


class EventPanel(Panel, can_focus=True):
    """The events of this session. With the focus, one is chosen and ``enter`` opens it."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up", "choose(-1)", "Newer", show=False),
        Binding("down", "choose(1)", "Older", show=False),
        Binding("pageup", "choose(-10)", "Newer", show=False),
        Binding("pagedown", "choose(10)", "Older", show=False),
        Binding("home", "choose(-500)", "Newest", show=False),
        Binding("end", "choose(500)", "Oldest", show=False),
        Binding("enter", "open", "Details", show=False),
    ]

    @dataclass
    class Opened(Message):
        """The user wants to read an event in full."""

        event: Event

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__("What happened", id=id, classes=classes)
        self._events: deque[Event] = deque(maxlen=HISTORY)
        self._chosen = 0
        self._first = 0

    def reset(self) -> None:
        self._events.clear()
        self._chosen = self._first = 0
        self.redraw()

    def add(self, events: Iterable[Event]) -> None:
        """Put ``events`` (oldest first) on top. The chosen one stays chosen."""
        added = 0
        for event in events:
            self._events.appendleft(event)
            added += 1
        if added and (self._chosen or self._first):
            self._chosen = min(self._chosen + added, len(self._events) - 1)
            self._first = min(self._first + added, len(self._events) - 1)
        if added:
            self.redraw()

    def action_choose(self, step: int) -> None:
        """Move to a newer or an older event."""
        self._chosen = max(0, min(self._chosen + step, len(self._events) - 1))
        self.redraw()

    def action_open(self) -> None:
        """Ask for the chosen event in full."""
        if self._events:
            self.post_message(self.Opened(self._events[self._chosen]))

    def on_mouse_scroll_down(self, event: MouseScrollDown) -> None:
        """Older events."""
        event.stop()
        self.action_choose(1)

    def on_mouse_scroll_up(self, event: MouseScrollUp) -> None:
        """Newer events."""
        event.stop()
        self.action_choose(-1)

    def on_blur(self) -> None:
        """Without the focus, the newest are shown."""
        self._chosen = self._first = 0

    def draw(self, width: int, height: int) -> list[Line]:
        self.note = ""
        if not self._events:
            return [[("nothing yet", "faint")]]
        self._first = min(self._first, self._chosen)
        while self._first < self._chosen and self._lines_between(width) > height:
            self._first += 1
        lines: list[Line] = []
        index = self._first
        while index < len(self._events) and len(lines) < height:
            lines += self._event(index, width)
            index += 1
        if self.has_focus and self._events[self._chosen].details:
            self.note = "enter: details"
        elif index < len(self._events):
            self.note = f"{len(self._events) - index} older"
        return lines[:height]

    def _lines_between(self, width: int) -> int:
        return sum(len(self._event(index, width)) for index in range(self._first, self._chosen + 1))

    def _event(self, index: int, width: int) -> list[Line]:
        event = self._events[index]
        chosen = self.has_focus and index == self._chosen
        sign = {
            "info": self.glyphs.info,
            "good": self.glyphs.good,
            "warning": self.glyphs.warning,
            "bad": self.glyphs.bad,
        }[event.kind]
        clock = time.strftime("%H:%M:%S", time.localtime(event.time))
        role = "cursor" if chosen else "bad" if event.kind == "bad" else "text"
        indent = _INDENT if width >= _NARROW else _NARROW_INDENT
        room = max(10, width - indent)
        parts = textwrap.wrap(event.text, room, initial_indent=" " * (_INDENT - indent), break_on_hyphens=False) or [""]
        parts[0] = parts[0][_INDENT - indent :]
        if chosen:
            parts = [fit(part, width - (indent if number else _INDENT)) for number, part in enumerate(parts)]
        first: Line = [(f"{clock} ", "muted"), (f"{sign} ", event.kind), (parts[0], role)]
        more: list[Line] = [[(" " * indent, "text"), (part, role)] for part in parts[1:]]
        return [first, *more]
