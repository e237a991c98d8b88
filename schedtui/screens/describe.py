"""Describe: one line of plain words, answered with a preset and the reason; its policy is proven before it is applied.

What the words mean is the backend's judgement. Where it is unsure, the screen says so and offers the two nearest.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from textual.content import Content
from textual.message import Message

from schedtui.backend.errors import SchedtuiError
from schedtui.backend.library.catalogue import Library
from schedtui.backend.model import MachineInfo, Scheduler
from schedtui.feed import unexpected
from schedtui.screens.chooser import Entry
from schedtui.screens.presets import PresetChoices
from schedtui.screens.question import QuestionChooser
from schedtui.widgets.policy import MUTED, labelled, paragraphs
from schedtui.widgets.stages import error_lines

if TYPE_CHECKING:
    from schedtui.backend.answer import Answer

EXAMPLES = (
    "my game stutters when the browser is open",
    "the desktop freezes while something compiles",
    "the sound crackles when a page loads",
    "one of my forty jobs takes much longer than the others",
    "the battery should last longer",
)


class DescribeChoices(PresetChoices):
    """The presets that the words may mean."""

    heading = "Describe"

    def __init__(self, library: Library, info: MachineInfo, scheduler: Scheduler | None) -> None:
        super().__init__(library, info, scheduler)
        self.empty = _invitation()
        self._answer: Answer | None = None

    def show_thinking(self) -> None:
        """Until there is an answer."""
        self._answer, self.empty = None, Content("Looking for what that means …")

    def show_answer(self, answer: Answer) -> None:
        """What the words were taken for."""
        self._answer = answer

    def show_failure(self, error: SchedtuiError) -> None:
        """The words could not be judged."""
        self._answer, self.empty = None, error_lines(error.message, error.remedy, error.details)

    def entries(self) -> list[Entry]:
        """The preset that they mean, or the two that are nearest."""
        if self._answer is None:
            return []
        group = "This is what you mean" if self._answer.sure else "Not sure: which is nearer?"
        found = [self.entry(self._presets[each.preset]) for each in self._answer.readings]
        return [Entry(each.id, each.title, each.remark, each.available, group) for each in found]

    def preview(self, entry_id: str) -> Content:
        """Why this one; then the preset itself."""
        assert self._answer is not None
        example = next(each.example for each in self._answer.readings if each.preset == entry_id)
        clear = "It sounds like" if self._answer.sure else "It could mean this, because it sounds a little like"
        return paragraphs([labelled("Why", f"{clear} “{example}”.", "$text-accent"), super().preview(entry_id)])

    def verb(self, entry_id: str) -> str:
        """First proven, then applied."""
        verb = super().verb(entry_id)
        return "Verify, then apply" if verb == "Apply" else verb


class DescribeScreen(QuestionChooser):
    """The line, and the answer below it."""

    hint = "Say what you do and what bothers you, then enter"
    asking_keys = (("enter", "Answer"), ("esc", "Back"))

    @dataclass
    class Answered(Message):
        """What the words mean, or why that cannot be said."""

        words: str
        answer: Answer | None = None
        error: SchedtuiError | None = None

    def __init__(
        self, library: Library, info: MachineInfo, scheduler: Scheduler | None, *, kernel: Path | None = None
    ) -> None:
        self._library = library
        self._meant = DescribeChoices(library, info, scheduler)
        super().__init__(self._meant, kernel=kernel)
        self._proven = ""

    def on_mount(self) -> None:
        """It begins with the question."""
        self.call_after_refresh(self.question.focus)

    def asked(self) -> None:
        """``enter`` in the line: find out, in a thread."""
        if self.words:
            self._meant.show_thinking()
            self.refresh_choices()
            threading.Thread(target=self._find_out, args=(self.words,), name="answer", daemon=True).start()

    def on_describe_screen_answered(self, message: Answered) -> None:
        """Show the answer, if it is still what was asked."""
        if message.words != self.words:
            return
        if message.answer is not None:
            self._meant.show_answer(message.answer)
        elif message.error is not None:
            self._meant.show_failure(message.error)
        self.refresh_choices()
        if message.answer is not None:
            self._go("preview" if message.answer.sure else "list")

    def action_back(self) -> None:
        """One step back; from the list to the line, from the line out of the screen."""
        if self._step == "list" and not self.question.has_focus and self._entry_id():
            self.action_ask()
        else:
            super().action_back()

    def _choose(self) -> None:
        """What was not proven yet is proven first; its report asks whether to go on."""
        entry = self._entry_id() or ""
        if self._chosen_policy() and self.choices.verb(entry) and self._proven != entry:
            self.action_verify()
        else:
            super()._choose()

    def _verified(self, go_on: bool | None) -> None:
        if go_on:
            self._proven = self._entry_id() or ""
            super()._choose()

    def _find_out(self, words: str) -> None:
        try:
            from schedtui.backend.answer import answer

            self._tell(self.Answered(words, answer(self._library, words)))
        except SchedtuiError as error:
            self._tell(self.Answered(words, error=error))
        except Exception as error:  # noqa: BLE001  a fault of ours in a thread must reach the user too
            self._tell(self.Answered(words, error=unexpected(error)))

    def _tell(self, message: Answered) -> None:
        if self.is_running:
            self.post_message(message)


def _invitation() -> Content:
    lines = [Content("Say it as you would to a friend who knows computers. For example:"), Content("")]
    lines += [Content.assemble("  ", (f"“{each}”", MUTED)) for each in EXAMPLES]
    lines += [Content(""), Content("You see what it is taken for, and why, before anything happens.")]
    return Content("\n").join(lines)
