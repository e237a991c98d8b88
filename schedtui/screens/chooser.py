"""The shape that choosing a preset and choosing a machine share: a list, a preview in plain words, and the stages of
what was started from it.

``enter`` goes one step further, ``escape`` one step back; where a choice is easily taken back, ``enter`` in the list
is the choice already. What is in the list and what a choice means is said by the Choices it is given; the app does
what was chosen.
"""

from __future__ import annotations

from typing import ClassVar, Literal, Protocol

from msgspec import Struct
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, VerticalScroll
from textual.content import Content
from textual.message import Message
from textual.screen import Screen
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from schedtui.act import Act
from schedtui.screens.live import Live
from schedtui.widgets.footer import KeyBar
from schedtui.widgets.stages import StageList

STAGE_REDRAW_S = 0.5
ROOM_FOR_REMARKS, MUCH_ROOM = 100, 160
"""Columns of a terminal in which the list has room for a remark below each title, or for many of them."""
Step = Literal["list", "preview", "act"]


class Entry(Struct, frozen=True):
    """A line of the list. ``remark`` stands below the title: what it is for, or why it cannot be had."""

    id: str
    title: str
    remark: str = ""
    available: bool = True
    group: str = ""
    """The heading that it stands below; entries of a group follow each other."""
    sign: str = ""
    """One cell before the title, drawn in ``sign_style``."""
    sign_style: str = ""


class Choices(Protocol):
    """What can be chosen."""

    heading: str
    asks: bool
    """Whether ``enter`` in the list leads into the preview, which asks for another; else it chooses at once."""
    act_title: str
    """How the titles of acts begin that belong here."""
    empty: str | Content
    """What to say when there is nothing to choose from."""
    leaving: str
    """What ``escape`` does while an act runs."""

    @property
    def remarks_from(self) -> int:
        """Columns of a terminal from which on remarks are shown."""
        ...

    def entries(self) -> list[Entry]:
        """The list, in order."""
        ...

    def preview(self, entry_id: str) -> Content:
        """What choosing it means, in plain words."""
        ...

    def verb(self, entry_id: str) -> str:
        """What choosing it does; empty when it can do nothing."""
        ...

    def chosen(self, entry_id: str) -> Message | None:
        """What to tell the app when it is chosen; None when one more ``enter`` is wanted."""
        ...

    def more_keys(self, entry_id: str) -> list[tuple[str, str]]:
        """Keys that only these choices have; ``entry_id`` is empty while nothing is chosen."""
        ...

    def left(self) -> Message | None:
        """What to tell the app when the user turns away while the act runs."""
        ...


class Chooser(Live, Screen[None]):
    """List, preview, stages."""

    CSS_PATH = "chooser.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "further", "Further"),
        Binding("escape,q", "back", "Back"),
    ]

    def __init__(self, choices: Choices, *, act: Act | None = None, selected: str = "") -> None:
        super().__init__()
        self.choices = choices
        self._act = act
        self._start_at = selected
        self._step: Step = "act" if act else "preview" if selected and choices.asks else "list"

    def compose(self) -> ComposeResult:
        """The heading, the two halves and the keys."""
        yield Static(self.choices.heading, id="heading")
        yield from self.compose_question()
        with Horizontal(id="halves"):
            yield OptionList(*self._options(), id="choices")
            with VerticalScroll(id="preview"):
                yield Static(id="text")
            with VerticalScroll(id="act"):
                yield StageList(id="stages")
        yield KeyBar()

    def compose_question(self) -> ComposeResult:
        """What stands above the list: here nothing."""
        yield from ()

    def on_mount(self) -> None:
        """Stages show seconds that pass, so they are drawn again while an act runs; nothing else here ticks."""
        self.set_interval(STAGE_REDRAW_S, self._draw_act)
        self._highlight(self._start_at)
        self._go(self._step)
        if self._act is not None:
            self.show_act(self._act)

    def on_screen_resume(self) -> None:
        """What ended while something lay above this screen closes it now."""
        if self._act is not None and self.is_mounted:
            self.show_act(self._act)

    def on_resize(self) -> None:
        """Remarks need room."""
        self.refresh_choices()

    def follows(self, act: Act) -> bool:
        """This screen shows the acts that are started from it."""
        return act.title.startswith(self.choices.act_title)

    def show_act(self, act: Act) -> None:
        """Follow the act that was started here; a finished one closes the screen."""
        if not self.follows(act):
            return
        self._act = act
        if act.state == "done" and self._step == "act" and self.app.screen is self:
            self._act = None
            self.dismiss()
            return
        if act.state == "cancelled" and self._step == "act":
            self._go("list")
            return
        if self._step != "act" and act.state == "running":
            self._go("act")
        self._draw_act(always=True)
        self._draw_preview()

    def refresh_choices(self) -> None:
        """The circumstances changed: draw the list and the preview again."""
        kept = self._entry_id() or ""
        self.query_one("#choices", OptionList).set_options(self._options())
        self._highlight(kept)
        self._draw_preview()

    def _highlight(self, entry_id: str) -> None:
        """Go to this entry, or to the first where it is not in the list."""
        choices = self.query_one("#choices", OptionList)
        ids = [option.id for option in choices.options]
        first = next((index for index, option in enumerate(choices.options) if not option.disabled), None)
        choices.highlighted = ids.index(entry_id) if entry_id in ids else first

    @on(OptionList.OptionHighlighted)
    def _option_highlighted(self) -> None:
        self._draw_preview()

    @on(OptionList.OptionSelected)
    def _option_selected(self) -> None:
        if self.choices.asks:
            self._go("preview")
        else:
            self._choose()

    def action_further(self) -> None:
        """In the preview: choose it."""
        if self._step == "preview":
            self._choose()

    def _choose(self) -> None:
        entry = self._entry_id()
        if entry is None or not self.choices.verb(entry):
            return
        message = self.choices.chosen(entry)
        if message is None:
            self._go("preview")
        else:
            self.post_message(message)

    def action_back(self) -> None:
        """One step back; out of the screen from the list."""
        running = self._act is not None and self._act.state == "running"
        if self._step == "list":
            self.dismiss()
        elif self._step == "preview":
            self._go("list")
        elif running:
            message = self.choices.left()
            if message is None:
                self.dismiss()
            else:
                self.post_message(message)
        else:
            self._act = None
            self._go("list")

    def _entry_id(self) -> str | None:
        choices = self.query_one("#choices", OptionList)
        option = choices.highlighted_option
        return option.id if option else None

    def _options(self) -> list[Option]:
        with_remark = self.app.size.width >= self.choices.remarks_from
        options: list[Option] = []
        group = ""
        for entry in self.choices.entries():
            if entry.group != group:
                group = entry.group
                options.append(Option(Content.styled(group, "bold $text-primary"), disabled=True))
            options.append(Option(_line(entry, with_remark), id=entry.id))
        return options

    def _go(self, step: Step) -> None:
        self._step = step
        self.query_one("#preview").display = step != "act"
        self.query_one("#act").display = step == "act"
        self.query_one({"list": "#choices", "preview": "#preview", "act": "#act"}[step]).focus()
        self._draw_preview()
        self._draw_act(always=True)

    def _draw_preview(self) -> None:
        entry = self._entry_id()
        self.query_one("#text", Static).update(self.choices.preview(entry) if entry else self.choices.empty)
        self._draw_keys(self.choices.verb(entry) if entry else "")

    def _draw_act(self, always: bool = False) -> None:
        if self._step == "act" and self._act is not None and (always or self._act.state == "running"):
            self.query_one(StageList).show(self._act)

    def _draw_keys(self, verb: str) -> None:
        running = self._act is not None and self._act.state == "running"
        choose = [("enter", verb)] if verb else []
        keys = {
            "list": [*([("enter", "Preview")] if self.choices.asks else choose), ("esc", "Back")],
            "preview": [*choose, ("esc", "Back to the list")],
            "act": [("esc", self.choices.leaving if running else "Back to the list")],
        }[self._step]
        more = [] if self._step == "act" else self.choices.more_keys(self._entry_id() or "")
        self.query_one(KeyBar).show([*keys, *more])


def _line(entry: Entry, with_remark: bool) -> Content:
    title = Content.styled(entry.title, "bold" if entry.available else "$foreground 45%")
    if not entry.available:
        title = Content.assemble(("– ", "$foreground 45%"), title)
    if entry.sign:
        title = Content.assemble((f"{entry.sign} ", entry.sign_style), title)
    return Content.assemble(title, "\n", (entry.remark, "$foreground 65%")) if entry.remark and with_remark else title
