"""A dialog with an event in full: its time, its sentence, and the lines behind it."""

from __future__ import annotations

import time
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static

from schedtui.backend.model import Event
from schedtui.screens.live import Live


class DetailsScreen(Live, ModalScreen[None]):
    """Shows one event."""

    CSS_PATH = "details.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,enter,q", "dismiss", "Close")]

    def __init__(self, event: Event) -> None:
        super().__init__()
        self._event = event

    def compose(self) -> ComposeResult:
        """The sentence, then the details as they came."""
        with VerticalScroll(id="dialog") as dialog:
            dialog.border_title = time.strftime("%H:%M:%S", time.localtime(self._event.time))
            dialog.border_subtitle = "enter closes · F12 panic"
            details = ("\n\n" + self._event.details, "$foreground 65%") if self._event.details else ""
            yield Static(Content.assemble((self._event.text, "bold"), details))
