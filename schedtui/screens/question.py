"""A list of policies with a line above it in which the user says what is wanted.

What is done with the words is said by the screens that build on this.
"""

from __future__ import annotations

from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.widgets import Input

from schedtui.screens.policies import PolicyChooser
from schedtui.widgets.footer import KeyBar

LONGEST_WORDS = 300


class QuestionChooser(PolicyChooser):
    """``/`` goes to the line, ``enter`` or ``down`` from there to the list."""

    CSS_PATH: ClassVar[list[str]] = ["chooser.tcss", "question.tcss"]  # type: ignore[assignment]
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("slash", "ask", "To the line"),
        Binding("down", "to_list", "To the list", show=False),
    ]
    hint = ""
    """Stands in the line while it is empty."""
    asking_keys: tuple[tuple[str, str], ...] = ()
    """The keys while words are typed."""

    def compose_question(self) -> ComposeResult:
        """The line."""
        line = Input(placeholder=self.hint, id="question", compact=True, max_length=LONGEST_WORDS)
        line.cursor_blink = False
        yield line

    @property
    def question(self) -> Input:
        """The line."""
        return self.query_one("#question", Input)

    @property
    def words(self) -> str:
        """What stands in it."""
        return self.question.value.strip()

    def action_ask(self) -> None:
        """Go to the line."""
        if self._step != "act":
            self._go("list")
            self.question.focus()

    def action_to_list(self) -> None:
        """From the line into the list."""
        if self.question.has_focus:
            self._go("list")

    @on(Input.Submitted, "#question")
    def _submitted(self) -> None:
        self.asked()

    def asked(self) -> None:
        """``enter`` in the line."""
        self.action_to_list()

    def on_descendant_focus(self) -> None:
        """Other keys mean something while words are typed."""
        self._draw_preview()

    def _draw_keys(self, verb: str) -> None:
        if self.question.has_focus:
            self.query_one(KeyBar).show(self.asking_keys)
        else:
            super()._draw_keys(verb)
