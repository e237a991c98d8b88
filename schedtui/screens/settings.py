"""The settings of a policy, in a form: what each does, what turning it up costs, and what it may be.

Checks what is typed while it is typed; what is then done with the settings is said by whoever opened it.
``dismiss`` gives what differs from the policy's defaults, or None when the user turned away.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.events import Click, DescendantFocus
from textual.message import Message
from textual.screen import Screen
from textual.widget import Widget
from textual.widgets import Input, Static

from schedtui.backend.errors import BadTunable
from schedtui.backend.model import Policy, Setting, Tunable
from schedtui.backend.tunables import check_setting, check_settings, range_of
from schedtui.screens.live import Live
from schedtui.widgets.footer import KeyBar
from schedtui.widgets.glyphs import choose_glyphs
from schedtui.widgets.policy import MUTED, shown

LONGEST_TEXT = 300
AT_ONCE = "Changes at once, while it runs."
WHEN_LOADED = "Takes effect when it is loaded anew."


class SettingsScreen(Live, Screen[dict[str, Setting] | None]):
    """A field for each tunable."""

    CSS_PATH = "settings.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "use", "Use them"),
        Binding("down", "app.focus_next", "Next", priority=True),
        Binding("up", "app.focus_previous", "Previous", priority=True),
        Binding("ctrl+r", "defaults", "Defaults"),
        Binding("escape", "leave", "Cancel"),
    ]

    def __init__(
        self, policy: Policy, settings: Mapping[str, Setting], *, verb: str = "Use these", running: bool = False
    ) -> None:
        """``settings`` are what differs from the defaults so far; ``verb`` is what ``enter`` does with them.

        With ``running`` each field says whether a change takes effect at once.
        """
        super().__init__()
        self._policy, self._verb = policy, verb
        self._fields = [Field(each, settings.get(each.name, each.default), running=running) for each in policy.tunables]

    def compose(self) -> ComposeResult:
        """The policy's name, the fields, the keys."""
        yield Static(Content(f"Settings · {self._policy.title} ({self._policy.name})"), id="heading")
        with VerticalScroll(id="page", can_focus=False):
            if not self._fields:
                yield Static("This policy has nothing to set.")
            yield from self._fields
        yield KeyBar()

    def on_mount(self) -> None:
        """Begin in the first field."""
        use = [("enter", self._verb), ("tab", "Next"), ("^r", "Defaults")] if self._fields else []
        self.query_one(KeyBar).show([*use, ("esc", "Cancel")])
        if self._fields:
            self._fields[0].control.focus()

    def on_descendant_focus(self, event: DescendantFocus) -> None:
        """What is said of a field is seen with it."""
        for field in self._fields:
            if field.control is event.widget:
                self.call_after_refresh(field.scroll_visible, animate=False)

    @on(Input.Submitted)
    def action_use(self) -> None:
        """Hand the settings back; where one is wrong, go there instead."""
        wrong = next((field for field in self._fields if field.problem), None)
        if wrong is not None:
            wrong.control.focus()
            return
        values = check_settings(self._policy, {field.tunable.name: field.typed for field in self._fields})
        defaults = {each.name: each.default for each in self._policy.tunables}
        self.dismiss({name: value for name, value in values.items() if value != defaults[name]})

    def action_defaults(self) -> None:
        """Every field as the policy's author left it."""
        for field in self._fields:
            field.reset()

    def action_leave(self) -> None:
        """Nothing changes."""
        self.dismiss(None)


class Field(Vertical):
    """A tunable: its value, its range or what is wrong with the value, and what it is about."""

    def __init__(self, tunable: Tunable, value: Setting, *, running: bool) -> None:
        super().__init__()
        self.tunable = tunable
        self.problem = ""
        """What is wrong with what was typed; empty when nothing is."""
        self._in_use = running
        self.control: Input | Flag
        if isinstance(tunable.default, bool):
            self.control = Flag(bool(value))
        else:
            kind = "number" if isinstance(tunable.default, int) else "text"
            self.control = Input(str(value), placeholder=shown(""), compact=True, max_length=LONGEST_TEXT, classes=kind)
            self.control.cursor_blink = False

    def compose(self) -> ComposeResult:
        """Name, value and range in a line; below it what it does."""
        with Horizontal():
            yield Static(Content(self.tunable.name), classes="name")
            yield self.control
            yield Static(id="hint")
        yield Static(_about(self.tunable, self._in_use), classes="about")

    def on_mount(self) -> None:
        """Judge the value that it begins with."""
        self._judge()

    @property
    def typed(self) -> str:
        """What stands in it."""
        return self.control.value if isinstance(self.control, Input) else shown(self.control.on)

    def reset(self) -> None:
        """The default."""
        if isinstance(self.control, Input):
            self.control.value = str(self.tunable.default)
        else:
            self.control.turn(bool(self.tunable.default))

    @on(Input.Changed)
    def _judge(self) -> None:
        try:
            value = check_setting(self.tunable, self.typed)
            self.problem = ""
            self._hint(Content.styled(_range_and_default(self.tunable, value), MUTED))
        except BadTunable as bad:
            self.problem = f"{choose_glyphs().bad} {bad.remedy}"
            self._hint(Content.styled(self.problem, "bold $text-error"))

    def on_flag_turned(self, message: Flag.Turned) -> None:
        """Say whether it is the default."""
        message.stop()
        self._judge()

    def _hint(self, text: Content) -> None:
        self.set_class(bool(self.problem), "-wrong")
        self.query_one("#hint", Static).update(text)


class Flag(Widget, can_focus=True):
    """On or off."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("space,left,right", "turn", "On or off")]

    @dataclass
    class Turned(Message):
        """It was turned on or off."""

    def __init__(self, on: bool) -> None:
        super().__init__()
        self.on = on

    def render(self) -> Content:
        """A sign and a word."""
        glyphs = choose_glyphs()
        return Content(f"{glyphs.on if self.on else glyphs.off} {shown(self.on)}")

    def turn(self, on: bool) -> None:
        """Turn it ``on``, or off."""
        self.on = on
        self.refresh()
        self.post_message(self.Turned())

    def action_turn(self) -> None:
        """The other way."""
        self.turn(not self.on)

    def on_click(self, event: Click) -> None:
        """As ``space``."""
        event.stop()
        self.action_turn()


def _range_and_default(tunable: Tunable, value: Setting) -> str:
    hint = "space: on or off" if isinstance(tunable.default, bool) else range_of(tunable)
    return f"{hint} · " + ("the default" if value == tunable.default else f"default {shown(tunable.default)}")


def _about(tunable: Tunable, running: bool) -> Content:
    when = (AT_ONCE if tunable.live else WHEN_LOADED) if running else ""
    cost = Content.assemble(("\nWhat it costs: ", MUTED), tunable.cost) if tunable.cost else Content("")
    return Content.assemble(tunable.description, cost, (f"\n{when}" if when else "", MUTED))
