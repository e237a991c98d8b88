"""A page that is only read: a heading, text that scrolls, and the way back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.screen import Screen
from textual.widget import Widget
from textual.widgets import Static

from schedtui.screens.live import Live
from schedtui.widgets.footer import KeyBar


class PageScreen(Live, Screen[None]):
    """Shows widgets below each other."""

    CSS_PATH = "page.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,q", "dismiss", "Back")]

    def __init__(self, heading: str, parts: Sequence[Widget | Content]) -> None:
        super().__init__()
        self._heading = heading
        self._parts = parts

    def compose(self) -> ComposeResult:
        """The heading, the parts, the keys."""
        yield Static(Content(self._heading), id="heading")
        with VerticalScroll(id="page"):
            for part in self._parts:
                yield Static(part) if isinstance(part, Content) else part
        yield KeyBar((("esc", "Back"),))

    def on_mount(self) -> None:
        """Arrows scroll it."""
        self.query_one("#page").focus()
