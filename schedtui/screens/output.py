"""What the scheduler's program prints, while it runs and after its end. A policy of schedtui prints nothing."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.message import Message
from textual.screen import Screen
from textual.widgets import Static

from schedtui.backend.errors import SchedtuiError
from schedtui.backend.machine import Machine
from schedtui.screens.live import Live
from schedtui.widgets.footer import KeyBar

EVERY_S = 1.0
NOTHING = "No program runs as the scheduler, so nothing is printed. External schedulers (scx_…) are such programs."


class OutputScreen(Live, Screen[None]):
    """Follows it; the newest line is the last."""

    CSS_PATH = "page.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,q", "dismiss", "Back")]

    @dataclass
    class Read(Message):
        """What was read."""

        text: str

    def __init__(self, machine: Machine) -> None:
        super().__init__()
        self._machine = machine
        self._reading = threading.Lock()
        self._shown = ""

    def compose(self) -> ComposeResult:
        """The heading, the text, the keys."""
        yield Static(Content("The scheduler's output"), id="heading")
        with VerticalScroll(id="page"):
            yield Static(Content(""), id="output")
        yield KeyBar((("esc", "Back"),))

    def on_mount(self) -> None:
        """Read now, and again and again. Arrows scroll."""
        self.query_one("#page").focus()
        self._look()
        self.set_interval(EVERY_S, self._look)

    def _look(self) -> None:
        threading.Thread(target=self._read, name="output", daemon=True).start()

    def _read(self) -> None:
        if not self._reading.acquire(blocking=False):
            return  # the last question is not answered yet
        try:
            text = self._machine.output() or NOTHING
        except SchedtuiError as error:
            text = error.message
        finally:
            self._reading.release()
        self.post_message(self.Read(text))

    def on_output_screen_read(self, message: Read) -> None:
        """Show it; who has scrolled up stays there."""
        if message.text == self._shown:
            return
        self._shown = message.text
        page = self.query_one("#page", VerticalScroll)
        at_end = page.scroll_offset.y >= page.max_scroll_y
        self.query_one("#output", Static).update(Content(message.text))
        if at_end:
            page.scroll_end(animate=False)
