"""The model: who answers what you describe, where it is, where its key comes from, whether it works, what it may do.

Asking the model and keeping the choice are the agent's affair; asking happens in a thread. A key is never shown.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal, get_args

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, VerticalScroll
from textual.content import Content
from textual.events import Click
from textual.message import Message
from textual.screen import Screen
from textual.widget import Widget
from textual.widgets import Input, Static

from schedtui.agent.models import (
    Calls,
    ModelChoice,
    checked_choice,
    choose_model,
    chosen_model,
    where_the_key_is,
)
from schedtui.agent.trust import Standing, TrustFile
from schedtui.backend.errors import SchedtuiError
from schedtui.feed import unexpected
from schedtui.screens.live import Live
from schedtui.widgets.footer import KeyBar
from schedtui.widgets.glyphs import choose_glyphs
from schedtui.widgets.policy import MUTED, labelled, paragraphs
from schedtui.widgets.stages import error_lines

if TYPE_CHECKING:
    from schedtui.agent.brain import Tested

LONGEST = 300
PAUSE_S = 0.3
"""After so long without a key it is looked up where the model's key is."""
OFFLINE = "offline adviser"
_OFFLINE_ANSWERS = (
    "The offline adviser answers: it goes by rules, by your history and by what it measures. It needs no key and no "
    "network. A language model can write new schedulers besides; type its name above."
)
_FORMS: dict[Calls, str] = {
    "auto": "finds out whether the model can call tools",
    "native": "the model can call tools",
    "text": "the model cannot call tools: in plain text",
}


class ModelScreen(Live, Screen[None]):
    """A form of three fields; below it what holds now."""

    CSS_PATH = "model.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "keep", "Keep"),
        Binding("ctrl+t", "test", "Test", priority=True),
        Binding("ctrl+r", "forget", "Forget what it earned", priority=True),
        Binding("down", "app.focus_next", "Next", priority=True),
        Binding("up", "app.focus_previous", "Previous", priority=True),
        Binding("escape", "dismiss", "Back"),
    ]

    @dataclass
    class KeyFound(Message):
        """Where a model's key comes from, in words."""

        choice: ModelChoice
        words: str

    @dataclass
    class Answered(Message):
        """The test is done."""

        choice: ModelChoice
        tested: Tested | None = None
        error: SchedtuiError | None = None

    def __init__(self) -> None:
        super().__init__()
        self._problem: SchedtuiError | None = None
        try:
            self._kept = chosen_model()
        except SchedtuiError as error:
            self._kept, self._problem = None, error
        self._key: ModelScreen.KeyFound | None = None
        self._result: ModelScreen.Answered | None = None
        self._testing = False
        self._stop = threading.Event()
        self._asked_to_forget = False
        self._said = ""

    def compose(self) -> ComposeResult:
        """The fields with what each is about, and one text."""
        kept = self._kept
        yield Static("Model · who answers what you describe", id="heading")
        with VerticalScroll(id="page", can_focus=False):
            yield from _field("Name", _line(kept.model if kept else "", "name"), "such as ollama/qwen3")
            yield from _field(
                "Address", _line(kept.address if kept else "", "address"), "only for a server of your own"
            )
            yield from _field("Calls", Form(kept.calls if kept else "auto"), "space: another form")
            yield Static(id="text")
        yield KeyBar()

    def on_mount(self) -> None:
        """Begin in the first field."""
        self.query_one("#name", Input).focus()
        self._changed()

    def on_unmount(self) -> None:
        """Nobody waits for the model any more."""
        self._stop.set()

    @on(Input.Changed)
    def _typed(self) -> None:
        self._changed()

    @on(Input.Submitted)
    def action_keep(self) -> None:
        """From now on this one answers."""
        choice = self._choice()
        if isinstance(choice, SchedtuiError):
            self._problem = choice
        else:
            try:
                choose_model(choice)
                self._kept, self._problem = choice, None
                self._said = f"Kept: {choice.model if choice else 'the ' + OFFLINE} answers from now on."
            except SchedtuiError as error:
                self._problem = error
        self._draw()

    def action_test(self) -> None:
        """Ask the model that stands in the fields one small question."""
        choice = self._choice()
        if isinstance(choice, SchedtuiError):
            self._problem = choice
            self._draw()
        elif choice is not None and not self._testing:
            self._testing, self._result, self._problem = True, None, None
            self._in_thread(lambda: self.Answered(choice, tested=_tested(choice, self._stop)), choice)
            self._draw()

    def action_forget(self) -> None:
        """It may only propose again. The first press only asks."""
        mind = self._mind()
        if mind not in TrustFile().standings():
            return
        if self._asked_to_forget:
            try:
                TrustFile().reset(mind)
                self._said = f"{mind} may only propose again."
            except SchedtuiError as error:
                self._problem = error
        self._asked_to_forget = not self._asked_to_forget
        self._draw()

    def on_form_turned(self) -> None:
        """Another form of calls."""
        self._changed()

    def on_model_screen_key_found(self, message: KeyFound) -> None:
        """Say where the key comes from."""
        self._key = message
        self._draw()

    def on_model_screen_answered(self, message: Answered) -> None:
        """Say what came."""
        self._testing, self._result = False, message
        self._draw()

    def _changed(self) -> None:
        self._said, self._asked_to_forget = "", False
        if self._problem is not None and self.query_one("#name", Input).value:
            self._problem = None
        choice = self._choice()
        if isinstance(choice, ModelChoice):
            self.set_timer(PAUSE_S, lambda: self._look_for_the_key(choice))
        self._draw()

    def _look_for_the_key(self, choice: ModelChoice) -> None:
        """Unless more was typed meanwhile; a keyring may take its time."""
        if choice == self._choice():
            self._in_thread(lambda: self.KeyFound(choice, where_the_key_is(choice)), choice)

    def _choice(self) -> ModelChoice | SchedtuiError | None:
        """What stands in the fields; None: no model. An error says what is wrong with it."""
        name, address = (self.query_one(id, Input).value.strip() for id in ("#name", "#address"))
        if not name:
            return None
        try:
            return checked_choice(name, address, self.query_one(Form).form)
        except SchedtuiError as error:
            return error

    def _mind(self) -> str:
        choice = self._choice()
        return choice.model if isinstance(choice, ModelChoice) else OFFLINE

    def _in_thread(self, work: Callable[[], Message], choice: ModelChoice) -> None:
        def run() -> None:
            try:
                message = work()
            except Exception as error:  # noqa: BLE001  a fault of ours in a thread must reach the user too
                message = self.Answered(choice, error=unexpected(error))
            if self.is_running:
                self.post_message(message)

        threading.Thread(target=run, name="model", daemon=True).start()

    def _draw(self) -> None:
        self.query_one("#text", Static).update(paragraphs(self._parts()))
        test = [("^t", "Test")] if isinstance(self._choice(), ModelChoice) and not self._testing else []
        forget = [("^r", "Forget")] if self._mind() in TrustFile().standings() else []
        self.query_one(KeyBar).show([("enter", "Keep"), *test, ("tab", "Next"), *forget, ("esc", "Back")])

    def _parts(self) -> list[Content]:
        choice, parts = self._choice(), []
        if self._said:
            parts.append(Content.styled(f"{choose_glyphs().good} {self._said}", "bold $text-success"))
        if self._problem is not None:
            parts.append(error_lines(self._problem.message, self._problem.remedy, self._problem.details))
        elif isinstance(choice, SchedtuiError):
            parts.append(Content.styled(f"{choice.message} {choice.remedy}", "$text-warning"))
        elif choice is None:
            parts.append(Content(_OFFLINE_ANSWERS))
        if isinstance(choice, ModelChoice):
            parts.append(self._about(choice))
            parts += self._test_lines()
            if choice != self._kept:
                parts.append(Content.styled("Not kept yet: enter keeps it.", "$text-warning"))
        file = TrustFile()
        parts.append(_trust(file.standings(), self._mind()))
        parts += [Content.styled(each, "$text-warning") for each in file.problems]
        if self._asked_to_forget:
            words = f"Press ^r once more: {self._mind()} loses what it earned, and asks you each time again."
            parts.append(Content.styled(words, "bold $text-warning"))
        return parts

    def _about(self, choice: ModelChoice) -> Content:
        found = self._key
        key = found.words if found and found.choice == choice else "looking …"
        where = f"at {choice.address}" if choice.address else f"at {choice.provider}'s own address"
        return Content.assemble(
            ("Key      ", MUTED),
            key,
            "\n",
            ("Asked    ", MUTED),
            where,
            "\n",
            ("Calls    ", MUTED),
            _FORMS[choice.calls],
        )

    def _test_lines(self) -> list[Content]:
        """What asking came to; what it is about before anybody asked."""
        result = self._result
        if self._testing:
            return [Content.styled("Asking it one small question …", "bold $text-accent")]
        if result is None:
            text = "^t asks it one small question, to see that it answers and calls tools. Of some it costs a little."
            return [labelled("Test", text)]
        if result.choice != self._choice():
            return []
        if result.error is not None:
            return [error_lines(result.error.message, result.error.remedy, result.error.details)]
        tested = result.tested
        assert tested is not None
        glyphs = choose_glyphs()
        sign, style = (glyphs.good, "$text-success") if tested.ok else (glyphs.bad, "$text-error")
        words = Content.assemble((f"{sign} {tested.text}", f"bold {style}"))
        return [Content.assemble(words, f"\nWhat to do: {tested.remedy}") if tested.remedy else words]


class Form(Widget, can_focus=True):
    """How tools are called, one of three."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("space,right", "turn(1)", "Another"),
        Binding("left", "turn(-1)", "The one before"),
    ]

    @dataclass
    class Turned(Message):
        """Another one was chosen."""

    def __init__(self, form: Calls) -> None:
        super().__init__(id="calls")
        self.form: Calls = form

    def render(self) -> Content:
        """The one that is chosen."""
        return Content(self.form)

    def action_turn(self, steps: Literal[1, -1]) -> None:
        """To the next, or the one before."""
        forms: tuple[Calls, ...] = get_args(Calls)
        self.form = forms[(forms.index(self.form) + steps) % len(forms)]
        self.refresh()
        self.post_message(self.Turned())

    def on_click(self, event: Click) -> None:
        """As ``space``."""
        event.stop()
        self.action_turn(1)


def _line(value: str, id: str) -> Input:
    line = Input(value, id=id, compact=True, max_length=LONGEST)
    line.cursor_blink = False
    return line


def _field(name: str, control: Widget, hint: str) -> ComposeResult:
    with Horizontal(classes="field"):
        yield Static(Content(name), classes="name")
        yield control
        yield Static(Content.styled(hint, MUTED), classes="hint")


def _trust(standings: dict[str, Standing], mind: str) -> Content:
    """What each may do by itself; whoever is not known may only propose."""
    lines = []
    for name in dict.fromkeys([mind, *standings]):
        each = standings.get(name, Standing())
        further = f"; {each.missing} more that you keep, and it may do more" if each.missing else ""
        reverts = f"; {each.reverts} taken back" if each.reverts else ""
        lines.append(Content.assemble((f"· {name}", "bold"), f" may {each.level.words} by itself{further}{reverts}."))
    title = Content.styled("What it may do without asking you", f"bold {MUTED}")
    return Content("\n").join([title, *lines])


def _tested(choice: ModelChoice, stop: threading.Event) -> Tested:
    from schedtui.agent.brain import Brain, check_model

    brain = Brain(choice)
    try:
        return check_model(brain, stop)
    finally:
        brain.close()
