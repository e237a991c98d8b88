"""Describe: one line of plain words, and the agent's work on it as a timeline: what it looks at, considers, proves,
tries and measures, what it asks, and what came of it.

The app has the agent; this shows an Asking and hands on what the user answers. Leaving it leaves the work going.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.events import Key
from textual.screen import Screen
from textual.widgets import Input, Static

from schedtui import messages as news
from schedtui.agent.events import Asked, Question
from schedtui.asking import Asking
from schedtui.backend.model import Frame, MachineInfo
from schedtui.baseline import Baseline
from schedtui.screens.live import Live
from schedtui.units import count, duration
from schedtui.widgets.card import answer_for, card_keys, card_lines
from schedtui.widgets.cpus import CpuPanel
from schedtui.widgets.footer import KeyBar
from schedtui.widgets.header import HeaderBar
from schedtui.widgets.latency import LatencyPanel
from schedtui.widgets.policy import MUTED
from schedtui.widgets.timeline import Timeline
from schedtui.widgets.waiters import WaitersPanel

if TYPE_CHECKING:
    from collections.abc import Iterable

    from schedtui.backend.library.catalogue import Library

EXAMPLES = (
    "my game stutters when obs records",
    "the desktop freezes while something compiles",
    "the sound crackles when a page loads",
    "my builds should finish sooner, but the desktop must stay smooth",
    "one of my forty jobs takes much longer than the others",
    "the battery should last longer",
)
SHOWN_EXAMPLES = 4
_STEPS = (
    "It looks at what runs, and says what it takes your words for.",
    "It chooses a scheduler, and says why and what to expect.",
    "It proves it in a lab of its own, where nothing of yours can be harmed.",
    "You say whether it may be tried. Then it is measured against what ran before.",
    "You see both numbers and keep it. Without a word from you, it goes again.",
)
_LATCHED = "F12 was pressed, and nothing is loaded until you release it. Presets (p) asks for that."
_ABOUT_OFFLINE = (
    "No language model works here: the offline adviser goes by rules, history and what it measures. "
    "ctrl+o chooses a model instead."
)
_NAMING = "Name your project's folder (~/game), and it is looked at; a `command` in backticks is timed."
LONGEST_WORDS = 300
REDRAW_S = 0.25
SURPRISE_S = 0.7
"""A key that was meant for what stood there before must not answer a question that has just come up."""
_STAY = Question(
    id="leave",
    kind="continue",
    title="It is still at work",
    text="Stop it, or leave it working? d shows it again.",
    choices=(("stop", "Stop it"), ("leave", "Leave it working"), ("stay", "Go on reading")),
)


class DescribeScreen(Live, Screen[None]):
    """The line, then the timeline with the machine beside it."""

    CSS_PATH = "describe.tcss"
    AUTO_FOCUS = ""
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("slash", "say_more", "Say more"),
        Binding("v", "report", "Report"),
        Binding("s", "source", "Source"),
        Binding("x", "sent", "What was sent"),
        Binding("n", "anew", "Something else"),
        Binding("m", "app.machine", "Machine"),
        Binding("ctrl+c", "stop", "Stop it"),
        Binding("ctrl+o", "app.model", "Model"),
    ]

    def __init__(
        self,
        library: Library,
        info: MachineInfo,
        *,
        asking: Asking | None = None,
        recent: Iterable[Frame] = (),
        mind: str = "",
    ) -> None:
        """``asking`` is shown at once; ``recent`` frames fill the panels; ``mind`` would answer, empty: offline."""
        super().__init__()
        self._library = library
        self._info = info
        self._asking = asking
        self._recent = tuple(recent)
        self._mind = mind
        self._baseline = Baseline()
        self._frame: Frame | None = None
        self._leaving = False
        self._question_id = ""
        self._question_at = 0.0
        self._example = -1

    def compose(self) -> ComposeResult:
        """The machine, the line, the timeline beside the panels, what is asked, what it costs, the keys."""
        yield HeaderBar()
        yield Static(id="heading", markup=False)
        yield Static(id="strip", markup=False)
        line = Input(id="question", compact=True, max_length=LONGEST_WORDS)
        line.cursor_blink = False
        yield line
        with Horizontal(id="halves"):
            with Vertical(id="story"):
                with VerticalScroll(id="invitation"):
                    yield Static(id="examples")
                yield Timeline(id="timeline")
            with Vertical(id="live"):
                yield CpuPanel()
                yield LatencyPanel()
                yield WaitersPanel()
        with VerticalScroll(id="card"):
            yield Static(id="asked")
        yield Static(id="budget", markup=False)
        yield KeyBar()

    def on_mount(self) -> None:
        """Show the machine as it is, and the request that is at work, or the line."""
        self.set_interval(REDRAW_S, self._tick)
        self.show_machine(self._info)
        recent, self._recent = self._recent, ()
        for frame in recent:
            self.show_frame(frame)
        if self._asking is None:
            self.call_after_refresh(self.line.focus)
        else:
            self.query_one(Timeline).focus()
        self._draw()

    @property
    def line(self) -> Input:
        """Where words are typed."""
        return self.query_one("#question", Input)

    # What the app tells

    def show_machine(self, info: MachineInfo) -> None:
        """Another machine: what was asked of the one before is over."""
        if info is not self._info:
            self._asking = None
        self._info, self._frame, self._baseline = info, None, Baseline()
        for panel in (CpuPanel, LatencyPanel, WaitersPanel):
            self.query_one(panel).reset()
        self.query_one(HeaderBar).show(info, None)
        self._draw_invitation()
        self._draw()

    def show_frame(self, frame: Frame) -> None:
        """The panels and the header."""
        was, self._frame = self._latched, frame
        if self._latched != was:
            self._draw_invitation()
        latency = self.query_one(LatencyPanel)
        latency.ghost(self._baseline.add(frame), self._info.default_scheduler)
        latency.show(frame)
        self.query_one(HeaderBar).show(self._info, frame)
        self.query_one(CpuPanel).show(self._info, frame)
        self.query_one(WaitersPanel).show(frame)
        self.query_one("#strip", Static).update(_strip(frame))

    def show_asking(self, asking: Asking) -> None:
        """A request began, or something happened in it."""
        if asking is not self._asking:
            self._asking = asking
            self.line.value = ""
            self.query_one(Timeline).focus()
        self._draw()

    def shows_asking(self, asking: Asking) -> bool:
        """Whether it is what stands here."""
        return asking is self._asking

    # What the user does

    @on(Input.Submitted, "#question")
    def _submitted(self) -> None:
        words = " ".join(self.line.value.split())
        if not any(sign.isalpha() for sign in words):
            return
        if self._is_working:
            self.post_message(news.SteeringGiven(words))
            self.line.value = ""
            self.query_one(Timeline).focus()
            self._draw()
        else:
            self.post_message(news.RequestWanted(words))

    def on_key(self, event: Key) -> None:
        """Keys that mean another thing in each state: answers first."""
        if self.line.has_focus:
            self._key_in_line(event)
            return
        question = self._question
        if question is not None and (answer := answer_for(question, event.key)):
            event.stop()
            if question is _STAY or time.monotonic() - self._question_at >= SURPRISE_S:
                self._answer(question, answer)
        elif question is _STAY and event.key == "d":
            event.stop()
            self._answer(question, "leave")
        elif event.key in ("escape", "q") and question is None:
            event.stop()
            self._back()
        elif event.key == "enter":
            event.stop()
            if self._asking is not None and self._asking.is_over:
                self.action_anew()
            else:
                self.query_one(Timeline).action_open()
        elif event.key == "r" and self._can_take_back:
            event.stop()
            self.post_message(news.DefaultWanted())

    def _key_in_line(self, event: Key) -> None:
        if event.key == "escape":
            event.stop()
            if self._asking is None:
                self.dismiss()
            else:
                self.query_one(Timeline).focus()
                self._draw()
        elif event.key in ("down", "up") and not self._is_working:
            event.stop()
            self._example = (self._example + (1 if event.key == "down" else -1)) % len(EXAMPLES)
            self.line.value = EXAMPLES[self._example]
            self.line.cursor_position = len(self.line.value)

    def _answer(self, question: Question, choice: str) -> None:
        if question is not _STAY:
            self.post_message(news.ReplyGiven(question.id, choice))
            return
        self._leaving = False
        if choice == "stop":
            self.post_message(news.StopWanted())
        elif choice == "leave":
            self.dismiss()
        self._draw()

    def _back(self) -> None:
        if self._is_working:
            self._leaving = True
            self._draw()
        else:
            self.dismiss()

    def action_say_more(self) -> None:
        """Say another sentence to the agent while it works."""
        if self._is_working:
            self._draw(typing=True)
            self.line.focus()

    def action_anew(self) -> None:
        """Ask for something else."""
        if not self._is_working and self._asking is not None:
            self._asking = None
            self._draw()
            self.line.focus()

    def action_stop(self) -> None:
        """End the work at once."""
        if self._is_working:
            self.post_message(news.StopWanted())

    def action_report(self) -> None:
        """Read the newest report of the verifier."""
        report = self._asking.report if self._asking else None
        if report is not None:
            from schedtui.screens.page import PageScreen
            from schedtui.widgets.report import ReportView

            self.app.push_screen(PageScreen(f"Report · {report.name}", [ReportView(report)]))

    def action_source(self) -> None:
        """Read what would run: the changes, the source that was written, or the library's."""
        from schedtui.screens.page import PageScreen
        from schedtui.screens.source import SourceScreen, coloured, numbered

        question = self._proposed
        if question is None:
            return
        if question.diff:
            self.app.push_screen(PageScreen(f"Changes · {question.policy}", [coloured(question.diff)]))
        elif question.source:
            self.app.push_screen(PageScreen(f"Source · {question.policy}", [numbered(question.source)]))
        elif self._source_path is not None:
            self.app.push_screen(SourceScreen(self._source_path))

    def action_sent(self) -> None:
        """See exactly what the mind was told."""
        if self._asking is not None and self._asking.trajectory is not None:
            from schedtui.screens.sent import SentScreen

            self.app.push_screen(SentScreen(self._asking.trajectory, leaves_computer=not self._asking.offline))

    # What is shown

    @property
    def _is_working(self) -> bool:
        return self._asking is not None and not self._asking.is_over

    @property
    def _question(self) -> Question | None:
        """What is asked now; whether to leave comes first."""
        if self._leaving and self._is_working:
            return _STAY
        return self._asking.question if self._asking else None

    @property
    def _proposed(self) -> Question | None:
        """The last proposal."""
        events = self._asking.events if self._asking else []
        asked = (each.question for each in reversed(events) if isinstance(each, Asked))
        return next((each for each in asked if each.policy), None)

    @property
    def _source_path(self) -> Path | None:
        question = self._proposed
        policy = self._library.policies.get(question.policy) if question else None
        return Path(policy.source) if policy and policy.source else None

    @property
    def _has_source(self) -> bool:
        question = self._proposed
        return question is not None and bool(question.diff or question.source or self._source_path)

    @property
    def _can_take_back(self) -> bool:
        asking, frame = self._asking, self._frame
        kept = asking is not None and asking.is_over and asking.ended is not None and asking.ended.state == "kept"
        return kept and frame is not None and frame.scheduler.sched_ext == "enabled"

    @on(Timeline.Chosen)
    def _chosen(self) -> None:
        self._draw_keys()

    def on_descendant_focus(self) -> None:
        """Other keys mean something while words are typed."""
        self._draw()

    def on_descendant_blur(self) -> None:
        """As above."""
        self.call_after_refresh(self._draw)

    @property
    def _latched(self) -> bool:
        return self._frame is not None and self._frame.scheduler.latched

    def _draw_invitation(self) -> None:
        self.query_one("#examples", Static).update(_invitation(self._info, self._mind, latched=self._latched))

    def _tick(self) -> None:
        """Seconds pass."""
        if self._is_working:
            self._draw_budget()
            if self._asking is not None and self._asking.left_s() is not None:
                self._draw_card()

    def _draw(self, *, typing: bool = False) -> None:
        if not self.is_mounted:
            return
        asking = self._asking
        if asking is not None and asking.is_over:
            asking.seen, self._leaving = True, False
        self.query_one("#invitation").display = asking is None
        timeline = self.query_one(Timeline)
        timeline.display = asking is not None
        timeline.show(asking)
        line = self.line
        line.display = asking is None or typing or (line.has_focus and self._is_working)
        line.placeholder = (
            "Say what you do and what bothers you, then enter"
            if asking is None
            else "Something it should know, then enter"
        )
        self.query_one("#heading", Static).update(_heading(asking, self._mind))
        self._draw_card()
        self._draw_budget()
        self._draw_keys()

    def _draw_card(self) -> None:
        question = self._question
        self.query_one("#card").display = question is not None
        if question is None:
            self._question_id = ""
            return
        if question.id != self._question_id:
            self._question_id, self._question_at = question.id, time.monotonic()
            self.query_one("#card").scroll_home(animate=False)
            self._draw_keys()
        left_s = self._asking.left_s() if self._asking and question is not _STAY else None
        self.query_one("#asked", Static).update(card_lines(question, left_s))

    def _draw_budget(self) -> None:
        budget = self.query_one("#budget", Static)
        budget.display = self._asking is not None
        if self._asking is not None:
            budget.update(_budget(self._asking))

    def _draw_keys(self) -> None:
        self.query_one(KeyBar).show(self._keys(), self._info.default_scheduler)

    def _keys(self) -> list[tuple[str, str]]:
        asking, question = self._asking, self._question
        if self.line.has_focus:
            if self._is_working:
                return [("enter", "Tell it"), ("esc", "Back to the timeline")]
            return [("enter", "Go"), ("↓", "An example"), ("^o", "Model"), ("esc", "Back")]
        has_report = asking is not None and asking.report is not None
        sent = [("x", "What was sent")] if asking is not None and asking.trajectory is not None else []
        if question is _STAY:
            return [("enter", "Stop it"), ("d", "Leave it working"), ("esc", "Go on reading")]
        if question is not None:
            return [*card_keys(question, with_report=has_report, with_source=self._has_source), *sent]
        report = [("v", "Report")] if has_report else []
        source = [("s", "Source")] if self._has_source else []
        if self._is_working:
            return [("esc", "Stop"), ("/", "Say more"), ("space", "Details"), *report, *sent]
        back = [("r", "Take it back")] if self._can_take_back else []
        return [*back, ("enter", "Ask something else"), ("esc", "Back"), *report, *source, *sent]


def _heading(asking: Asking | None, mind: str) -> Content:
    who = mind or "the offline adviser"
    if asking is not None and asking.mind:
        who = "the offline adviser" if asking.offline else asking.mind
    at_work = "answers" if asking is None else "worked on it" if asking.is_over else "works on it"
    where = "on this computer, without a network" if who == "the offline adviser" else ""
    return Content.assemble(
        ("Describe", "bold $primary"), (f"  {who} {at_work}", ""), (f", {where}" if where else "", MUTED)
    )


def _strip(frame: Frame) -> Content:
    """The machine in one line, where there is no room for panels."""
    latency = frame.latency
    parts: list[Content] = []
    if latency is not None and latency.p50_us is not None and latency.p99_us is not None:
        parts.append(Content.assemble(("waits: usual ", MUTED), (duration(latency.p50_us), "bold")))
        parts.append(Content.assemble(("longest ", MUTED), (duration(latency.p99_us), "bold")))
    if frame.cpus:
        used = sum(each.used_percent for each in frame.cpus) / len(frame.cpus)
        parts.append(Content.assemble(("CPUs ", MUTED), (f"{used:.0f} %", "bold")))
    if frame.waiters:
        parts.append(Content.assemble(("waits most: ", MUTED), (frame.waiters[0].name, "bold")))
    return Content.styled(" · ", MUTED).join(parts)


def _budget(asking: Asking) -> Content:
    """Spent, of what may be spent."""
    usage, limits = asking.usage, asking.limits
    if limits is None:
        return Content.styled(f"{asking.seconds():.0f} s", MUTED)
    seconds = f"{asking.seconds():.0f} of {limits.seconds:.0f} s"
    if asking.offline:
        return Content.assemble(seconds, ("  ·  no model is asked, so it costs nothing", MUTED))
    tokens = count(usage.input_tokens + usage.output_tokens)
    money = "price unknown" if usage.dollars is None else f"${usage.dollars:.3f} of ${limits.dollars:.2f}"
    parts = [money, seconds, f"{usage.calls} of {limits.calls} calls", f"{tokens} of {count(limits.tokens)} tokens"]
    return Content.assemble(("Spent ", MUTED), " · ".join(parts))


def _invitation(info: MachineInfo, mind: str, *, latched: bool) -> Content:
    lines = [Content("Say it as you would to a friend who knows computers. For example:")]
    lines += [Content.assemble("  ", (f"“{each}”", "$text-accent")) for each in EXAMPLES[:SHOWN_EXAMPLES]]
    lines.append(Content.styled(_NAMING, MUTED))
    lines += [Content(""), Content.styled("What happens then", f"bold {MUTED}")]
    lines += [Content.assemble((f"{number}  ", "bold"), each) for number, each in enumerate(_STEPS, 1)]
    if not info.can_load:
        why = f"{info.reason or 'Nothing can be loaded here.'} m goes to the lab, where it can be tried."
        lines += [Content(""), Content.assemble(("Here it ends before step 4: ", "bold $text-warning"), why)]
    if latched:
        lines += [Content(""), Content.assemble(("Here it ends before step 4: ", "bold $text-warning"), _LATCHED)]
    if not mind:
        lines += [Content(""), Content.styled(_ABOUT_OFFLINE, MUTED)]
    return Content("\n").join(lines)
