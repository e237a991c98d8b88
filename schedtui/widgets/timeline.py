"""What happens in a request, as a timeline that can be read while it grows: headings for the roles, what the mind says,
each step with its result in a line, the canary's numbers as they narrow, and the end.

``items_of`` makes it from events alone, so that the same events give the same timeline; the widget draws what changed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import ClassVar

from textual import on
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.events import Click
from textual.message import Message
from textual.widgets import Static

from schedtui.agent import events as happened
from schedtui.agent.events import AnyEvent
from schedtui.asking import Asking
from schedtui.backend.model import Comparison, Deployment, Plan, Setting, Workload
from schedtui.widgets.comparison import change_words, comparison_lines, metric_words, name_words, value_words
from schedtui.widgets.glyphs import choose_glyphs
from schedtui.widgets.policy import MUTED, shown
from schedtui.widgets.report import badge, verdict_sentence
from schedtui.widgets.stages import error_lines

LONGEST_SAYING = 600
"""Characters of what a mind says that are shown before it is opened."""
_ENDS = {
    "kept": ("Kept", "$text-success"),
    "reverted": ("Taken away again", "$text-warning"),
    "proposed": ("Proven, not tried", "$text-accent"),
    "refused": ("Everything is as it was", "$text-accent"),
    "stopped": ("Stopped", "$text-warning"),
    "failed": ("It did not work out", "$text-error"),
    "unknown": ("Not understood", "$text-warning"),
}
_BY = {"person": "You", "setting": "Your settings", "countdown": "Nobody answered"}


@dataclass(frozen=True)
class Item:
    """One piece of the timeline. ``look`` is its class in the style sheet."""

    look: str
    text: Content
    details: Content | None = None
    """What opening it shows; None: there is nothing more."""


def items_of(asking: Asking) -> list[Item]:
    """The whole timeline as it is now."""
    tale = _Tale(asking.words, asking.speaker)
    for event in asking.events:
        tale.add(event)
    if asking.is_over:
        tale.close()
    elif not asking.events:
        tale.items.append(Item("step", _signed(choose_glyphs().changing, "bold $text-accent", asking.beginning)))
    if asking.error is not None:
        error = asking.error
        tale.items.append(Item("end", error_lines(error.message, error.remedy, error.details)))
    elif asking.stopping and not asking.is_over:
        tale.items.append(_warning(f"{asking.stopping} It is being ended …"))
    return tale.items


class Timeline(VerticalScroll, can_focus=True):
    """The items below each other. One is chosen; ``space`` or a click opens what is behind it."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up", "choose(-1)", "Up", show=False),
        Binding("down", "choose(1)", "Down", show=False),
        Binding("home", "choose(-9999)", "First", show=False),
        Binding("end", "choose(9999)", "Last", show=False),
        Binding("space", "open", "Details", show=False),
    ]
    DEFAULT_CSS = """
    Timeline { height: 1fr; padding: 0 1; scrollbar-size-vertical: 1; }
    Timeline Piece { height: auto; width: 1fr; padding: 0 1 0 3; }
    Timeline Piece.role { padding: 0 1; margin: 1 0 0 0; }
    Timeline Piece.words { padding: 0 1; }
    Timeline Piece.measured, Timeline Piece.plan { margin: 0 0 0 3; padding: 0 1; background: $surface; }
    Timeline Piece.end { margin: 1 0 0 0; padding: 1 2; background: $surface; }
    Timeline:focus Piece.-chosen { background: $primary 15%; }
    """

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._asking: Asking | None = None
        self._chosen: int | None = None
        """None: the last, whichever that is."""
        self._follows = True
        """The end stays in sight until the user scrolls away from it."""

    def show(self, asking: Asking | None) -> None:
        """Draw what changed, and go on to the end unless the user reads further up."""
        items = items_of(asking) if asking is not None else []
        pieces = list(self.query(Piece))
        if asking is not self._asking:
            self._asking, self._chosen, self._follows = asking, None, True
            for piece in pieces:
                piece.fold()
        for piece, item in zip(pieces, items, strict=False):
            piece.show(item)
        for piece in pieces[len(items) :]:
            piece.remove()
        fresh = [Piece(item) for item in items[len(pieces) :]]
        if fresh:
            self.mount(*fresh)
        self._keep_up()

    def on_resize(self) -> None:
        """The end is elsewhere now."""
        self._keep_up()

    def on_mouse_scroll_up(self) -> None:
        """The user reads further up."""
        self._follows = False

    def on_mouse_scroll_down(self) -> None:
        """Back at the end, it is followed again."""
        self._follows = self.max_scroll_y - self.scroll_target_y <= 1

    def _keep_up(self) -> None:
        if self._follows and self._chosen is None:
            self.call_after_refresh(self.scroll_end, animate=False)

    @property
    def has_details(self) -> bool:
        """Whether there is more behind the chosen one."""
        piece = self._chosen_piece()
        return piece is not None and piece.item.details is not None

    def action_choose(self, step: int) -> None:
        """Move to another item."""
        pieces = list(self.query(Piece))
        if not pieces:
            return
        now = len(pieces) - 1 if self._chosen is None else self._chosen
        at = max(0, min(now + step, len(pieces) - 1))
        self._choose(at if at < len(pieces) - 1 else None)

    def action_open(self) -> None:
        """Show or hide what is behind the chosen one."""
        piece = self._chosen_piece()
        if piece is not None:
            piece.toggle()

    @on(Click)
    def _clicked(self, event: Click) -> None:
        pieces = list(self.query(Piece))
        if isinstance(event.widget, Piece) and event.widget in pieces:
            self._choose(pieces.index(event.widget))
            event.widget.toggle()

    def _choose(self, at: int | None) -> None:
        self._chosen, self._follows = at, at is None
        chosen = self._chosen_piece()
        for piece in self.query(Piece):
            piece.set_class(piece is chosen and at is not None, "-chosen")
        if chosen is not None:
            chosen.scroll_visible(animate=False)
        self._keep_up()
        self.post_message(self.Chosen())

    def _chosen_piece(self) -> Piece | None:
        pieces = list(self.query(Piece))
        if not pieces:
            return None
        return pieces[-1] if self._chosen is None else pieces[min(self._chosen, len(pieces) - 1)]

    class Chosen(Message):
        """Another item was chosen."""


class Piece(Static):
    """One item, with or without what is behind it."""

    def __init__(self, item: Item) -> None:
        super().__init__(_drawn(item, opened=False), classes=item.look)
        self.item = item
        self._opened = False

    def show(self, item: Item) -> None:
        """What it is now."""
        if item != self.item:
            if item.look != self.item.look:
                self.set_classes(item.look)
            self.item = item
            self.update(_drawn(item, opened=self._opened))

    def fold(self) -> None:
        """Another one stands here from now on."""
        self._opened = False
        self.remove_class("-chosen")
        self.update(_drawn(self.item, opened=False))

    def toggle(self) -> None:
        """Open or close it."""
        if self.item.details is not None:
            self._opened = not self._opened
            self.update(_drawn(self.item, opened=self._opened))


def _drawn(item: Item, *, opened: bool) -> Content:
    if item.details is None:
        return item.text
    if opened:
        return Content("\n").join([item.text, item.details])
    return Content.assemble(item.text, (f" {choose_glyphs().cursor}", f"bold {MUTED}"))


@dataclass
class _Step:
    """A call that is not answered yet."""

    at: int
    """Where its item is."""
    tool: str
    title: str
    stages: list[str]


class _Tale:
    """Makes items of events, one after the other."""

    def __init__(self, words: str, speaker: str) -> None:
        self.items: list[Item] = [Item("words", Content.assemble((f"{speaker}: ", f"bold {MUTED}"), (words, "bold")))]
        self._steps: list[_Step] = []
        """Calls that are not answered yet; another program may have two at once."""
        self._measured: int | None = None
        self._asked: dict[str, tuple[int, happened.Question]] = {}
        self._compared: Comparison | None = None
        self._saying: int | None = None
        self._stage: tuple[int, str] | None = None
        """What is under way outside of any call."""
        self._words = ""
        """What the mind said last."""
        self._tellers: dict[type, Callable[..., object]] = {
            happened.RoleBegan: self._role,
            happened.Said: self._said,
            happened.Called: self._called,
            happened.Returned: self._returned,
            happened.Progressed: self._progressed,
            happened.Observed: lambda event: self._conclude(_workload(event.workload)),
            happened.Planned: lambda event: self._conclude(_plan(event.plan, self._words)),
            happened.Proven: self._proven,
            happened.Asked: self._question,
            happened.Answered: self._answer,
            happened.Measured: self._measure,
            happened.Deployed: self._deployed,
            happened.Learned: lambda event: self._put(_noted("Learned", event.text)),
            happened.Steered: lambda event: self._put(_said_by_user(event.words)),
            happened.Warned: lambda event: self._put(_warning(event.text)),
            happened.Ended: self._end,
        }

    def add(self, event: AnyEvent) -> None:
        """One more."""
        if not isinstance(event, happened.Said):
            self._saying = None
        self._pass_stage()
        teller = self._tellers.get(type(event))
        if teller is not None:
            teller(event)

    def close(self) -> None:
        """Nothing more comes: what was under way was ended."""
        self._pass_stage()
        for step in self._steps:
            self.items[step.at] = Item("step", _signed(choose_glyphs().stopped, "$text-warning", step.title))
        self._steps = []

    def _pass_stage(self) -> None:
        if self._stage is not None:
            at, text = self._stage
            self.items[at], self._stage = Item("step", _signed(choose_glyphs().info, MUTED, text)), None

    def _put(self, item: Item) -> int:
        self.items.append(item)
        return len(self.items) - 1

    def _conclude(self, item: Item) -> None:
        """What a role came to stands in place of the call that said so."""
        if self._steps:
            self.items[self._steps.pop().at] = item
        else:
            self._put(item)

    def _role(self, event: happened.RoleBegan) -> None:
        self._measured = None
        self._put(Item("role", Content.assemble((event.why, "bold $text-primary"), (f"  {event.at_s:.0f} s", MUTED))))

    def _said(self, event: happened.Said) -> None:
        if not event.text.strip():
            return
        self._words = event.text.strip()
        item = _saying(self._words)
        if self._saying is None:
            self._saying = self._put(item)
        else:
            self.items[self._saying] = item

    def _called(self, event: happened.Called) -> None:
        item = Item("step", _signed(choose_glyphs().changing, "bold $text-accent", event.title))
        self._steps.append(_Step(self._put(item), event.tool, event.title, []))

    def _returned(self, event: happened.Returned) -> None:
        step = next((each for each in reversed(self._steps) if each.tool == event.tool), None)
        if step is None:
            return
        self._steps.remove(step)
        glyphs = choose_glyphs()
        sign, style = (glyphs.good, "$text-success") if event.ok else (glyphs.bad, "$text-error")
        text = _signed(sign, style, step.title)
        if event.summary:
            text = Content.assemble(text, "\n  ", (event.summary, MUTED))
        more = "\n".join(filter(None, [*step.stages, event.details]))
        self.items[step.at] = Item("step", text, _detailed(more) if more else None)

    def _progressed(self, event: happened.Progressed) -> None:
        if not self._steps:
            item = Item("step", _signed(choose_glyphs().changing, "bold $text-accent", event.text))
            self._stage = self._put(item), event.text
            return
        step = self._steps[-1]
        step.stages.append(event.text)
        text = _signed(choose_glyphs().changing, "bold $text-accent", step.title)
        self.items[step.at] = Item("step", Content.assemble(text, "\n  ", (f"{event.text} …", "$text-accent")))

    def _proven(self, event: happened.Proven) -> None:
        sign, style = badge(event.report.verdict)
        lines = [_signed(sign, style, f"{verdict_sentence(event.report)}. v reads the report.")]
        worst = [each for each in event.report.findings if each.severity != "note"]
        details = "\n".join(f"{each.rule}: {each.meaning}" for each in worst)
        self._put(Item("step", Content("\n").join(lines), _detailed(details) if details else None))

    def _question(self, event: happened.Asked) -> None:
        question = event.question
        text = _signed("?", "bold $text-warning", question.title)
        self._asked[question.id] = self._put(Item("step", text)), question

    def _answer(self, event: happened.Answered) -> None:
        if event.question_id not in self._asked:
            return
        at, question = self._asked.pop(event.question_id)
        words = dict(question.choices).get(event.choice, event.choice)
        text = Content.assemble(self.items[at].text, (f"  {_BY[event.by]}: {words}", MUTED))
        self.items[at] = replace(self.items[at], text=text)

    def _measure(self, event: happened.Measured) -> None:
        item = Item("measured", comparison_lines(event.comparison, side=event.side, final=event.final))
        if self._measured is None:
            self._measured = self._put(item)
        else:
            self.items[self._measured] = item
        if event.final:
            self._measured, self._compared = None, event.comparison

    def _deployed(self, event: happened.Deployed) -> None:
        item = _deployment(event.deployment)
        if item is not None:
            self._put(item)

    def _end(self, event: happened.Ended) -> None:
        title, style = _ENDS[event.state]
        lines = [Content.styled(title, f"bold {style}"), Content(event.text)]
        if self._compared is not None and event.state in ("kept", "reverted"):
            lines.append(_in_short(self._compared))
        if event.remedy:
            lines.append(Content.assemble(("What to do: ", "bold"), event.remedy))
        self.close()
        self._put(Item("end", Content("\n").join(lines)))


def _in_short(comparison: Comparison) -> Content:
    """Both numbers in a line."""
    metric = comparison.metric
    arrow = "->" if choose_glyphs().ascii else "→"
    numbers = f"{value_words(metric, comparison.before)} {arrow} {value_words(metric, comparison.after)}"
    return Content.assemble(
        (f"{name_words(metric)}: ", MUTED), (numbers, "bold"), f"  {change_words(comparison, short=True)}"
    )


def _signed(sign: str, style: str, text: str) -> Content:
    return Content.assemble((f"{sign} ", style), text)


def _noted(label: str, text: str) -> Item:
    return Item("step", Content.assemble((f"{label}: ", f"bold {MUTED}"), text))


def _said_by_user(words: str) -> Item:
    return Item("words", Content.assemble(("You: ", f"bold {MUTED}"), (words, "bold")))


def _warning(text: str) -> Item:
    return Item("step", _signed(choose_glyphs().warning, "$text-warning", text))


def _detailed(text: str) -> Content:
    return Content("\n").join(Content.styled(f"    {line}", MUTED) for line in text.splitlines())


def _saying(text: str) -> Item:
    style = "italic $foreground 80%"
    if len(text) <= LONGEST_SAYING:
        return Item("said", Content.styled(text, style))
    cut = text[:LONGEST_SAYING].rsplit(" ", 1)[0]
    return Item("said", Content.styled(cut, style), Content.styled(text[len(cut) :].lstrip(), style))


def _workload(workload: Workload) -> Item:
    lines = [Content.assemble(("What you run: ", f"bold {MUTED}"), workload.sentence)]
    if workload.class_id != "unknown":
        lines.append(Content.assemble(("Measured by: ", f"bold {MUTED}"), metric_words(workload.metric)))
    seen = "\n".join(f"· {each}" for each in workload.evidence)
    more = f"Taken for “{workload.class_id}”, because of:\n{seen}" if seen else ""
    return Item("plan", Content("\n").join(lines), _detailed(more) if more else None)


def _plan(plan: Plan, said: str) -> Item:
    """The plan; its reason only where the mind did not say it just before."""
    what = {"configure": "Use", "modify": "Change", "create": "Write a new scheduler,"}[plan.mode]
    pairs = [("Plan", f"{what} {plan.policy}{settings_words(plan.settings)}"), ("Why", plan.reason)]
    pairs += [("Expected", plan.expected), ("Risk", plan.risk)]
    pairs = [each for each in pairs if each[1].strip() != said]
    lines = [Content.assemble((f"{label}: ", f"bold {MUTED}"), text) for label, text in pairs if text]
    more = "\n".join(filter(None, [plan.change, f"If it fails: {plan.fallback}" if plan.fallback else ""]))
    return Item("plan", Content("\n").join(lines), _detailed(more) if more else None)


def settings_words(settings: dict[str, Setting]) -> str:
    """`` with slice_us = 500, boost = on``; empty for its defaults."""
    words = ", ".join(f"{name} = {shown(value)}" for name, value in settings.items())
    return f" with {words}" if words else ""


def _deployment(deployment: Deployment) -> Item | None:
    glyphs = choose_glyphs()
    if deployment.state == "kept":
        return Item("step", _signed(glyphs.good, "$text-success", deployment.reason))
    if deployment.state == "reverted":
        return Item("step", _signed(glyphs.warning, "$text-warning", deployment.reason))
    return None
