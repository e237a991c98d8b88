"""A dialog for an error: what happened, what to do, and the technical lines for who wants them."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Static

from schedtui.backend.errors import SchedtuiError
from schedtui.screens.live import Live
from schedtui.widgets.stages import error_lines


class ErrorScreen(Live, ModalScreen[None]):
    """Shows one SchedtuiError."""

    CSS_PATH = "error.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,enter,q", "dismiss", "Close")]

    def __init__(self, error: SchedtuiError) -> None:
        super().__init__()
        self._error = error

    def compose(self) -> ComposeResult:
        """The sentence, the remedy, the details."""
        with VerticalScroll(id="dialog") as dialog:
            dialog.border_title = "That did not work"
            dialog.border_subtitle = "enter closes · F12 panic"
            yield Static(error_lines(self._error.message, self._error.remedy, self._error.details))
