"""A dialog: what was kept seems to do worse, and the numbers cannot tell whose fault that is. A person decides."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static

from schedtui.backend.model import Deployment
from schedtui.screens.live import Live


class DoubtScreen(Live, ModalScreen[bool]):
    """Dismissed with whether it is to be taken away. ``enter``, which may be typed by chance, changes nothing."""

    CSS_PATH = "doubt.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,enter,k", "dismiss(False)", "Keep it"),
        Binding("r", "dismiss(True)", "Take it away"),
    ]

    def __init__(self, deployment: Deployment, text: str) -> None:
        super().__init__()
        self._deployment = deployment
        self._text = text

    def compose(self) -> ComposeResult:
        """What was seen, and what can be done."""
        policy = self._deployment.policy
        with VerticalScroll(id="dialog") as dialog:
            dialog.border_title = f"Is {policy} still good?"
            dialog.border_subtitle = "enter keeps it · r takes it away · F12 panic"
            yield Static(Content.assemble((self._text, "bold"), "\n\nIt goes on running until you say otherwise."))
