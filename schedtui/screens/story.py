"""A request as a story: what was said and done, word by word, exactly as it was sent and as it came back."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.message import Message
from textual.screen import Screen
from textual.widgets import Static

from schedtui.backend.errors import SchedtuiError
from schedtui.feed import unexpected
from schedtui.screens.live import Live
from schedtui.widgets.footer import KeyBar
from schedtui.widgets.stages import error_lines


class StoryScreen(Live, Screen[None]):
    """Shows one trajectory."""

    CSS_PATH = "story.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,enter,q,o", "dismiss", "Back")]

    @dataclass
    class Read(Message):
        """The file was read, or could not be."""

        text: str = ""
        error: SchedtuiError | None = None

    def __init__(self, title: str, path: Path) -> None:
        super().__init__()
        self._title = title
        self._path = path

    def compose(self) -> ComposeResult:
        """The heading, the text and the keys."""
        yield Static(Content(f"Story: {self._title}"), id="heading")
        with VerticalScroll(id="story"):
            yield Static("Reading …", id="text")
        yield KeyBar([("↑↓", "Scroll"), ("esc", "Back")])

    def on_mount(self) -> None:
        """Read it meanwhile."""
        self.query_one("#story").focus()
        threading.Thread(target=self._read, name="story", daemon=True).start()

    def on_story_screen_read(self, message: Read) -> None:
        """Show it."""
        error = message.error
        shown = error_lines(error.message, error.remedy, error.details) if error else Content(message.text)
        self.query_one("#text", Static).update(shown)

    def _read(self) -> None:
        try:
            from schedtui.agent.trajectory import story

            found = self.Read(story(self._path))
        except SchedtuiError as error:
            found = self.Read(error=error)
        except Exception as error:  # noqa: BLE001  a fault of ours in a thread must reach the user too
            found = self.Read(error=unexpected(error))
        if self.is_running:
            self.post_message(found)
