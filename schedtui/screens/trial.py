"""A trial, from the proof to the decision: what is done, the numbers as they narrow, and a countdown in which a person
keeps the scheduler or lets it go, as a dialog for display settings does.

The trial itself is trying.py's; this draws it and hands the answers on.
"""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.screen import Screen
from textual.widgets import Static

from schedtui.backend.model import MachineInfo, Scheduler
from schedtui.backend.workloads import KINDS
from schedtui.messages import PresetWanted, TrialBegun, TrialWanted
from schedtui.screens.live import Live
from schedtui.screens.policies import at_once_is, what_a_trial_is
from schedtui.trying import COUNTDOWN_S, Trial
from schedtui.widgets.comparison import comparison_lines
from schedtui.widgets.footer import KeyBar
from schedtui.widgets.glyphs import choose_glyphs
from schedtui.widgets.policy import MUTED, in_short, labelled, paragraphs
from schedtui.widgets.stages import error_lines, stages_so_far

REDRAW_S = 0.5
COUNTDOWN_CELLS = 30
TURNED_AWAY = "You stopped it."


class TrialScreen(Live, Screen[None]):
    """One trial. ``enter`` goes on, ``escape`` takes it away; afterwards both leave."""

    CSS_PATH = "trial.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "go_on", "Go on"),
        Binding("a", "at_once", "Apply at once"),
        Binding("r", "again", "Try again"),
        Binding("v", "report", "Report"),
        Binding("escape,q", "leave", "Back"),
    ]

    def __init__(self, trial: Trial, info: MachineInfo, scheduler: Scheduler | None) -> None:
        super().__init__()
        self._trial, self._info = trial, info
        self._before = scheduler.name if scheduler else info.default_scheduler
        self._is_drawn_over = False

    def compose(self) -> ComposeResult:
        """What is tried, and one text that scrolls."""
        trial = self._trial
        yield Static(Content(f"Trial · {trial.title}: {trial.policy.name}"), id="heading")
        with VerticalScroll(id="page"):
            yield Static(id="text")
        yield KeyBar()

    def on_mount(self) -> None:
        """Seconds pass."""
        self.query_one("#page").focus()
        self.set_interval(REDRAW_S, self._draw)
        self._draw()

    def show_trial(self, trial: Trial) -> None:
        """Draw what happened."""
        if trial is self._trial:
            self._draw()

    def show_lost(self, reason: str) -> None:
        """The machine is gone, and with it all that ran on it; the trial says so itself."""
        self._draw()

    def action_go_on(self) -> None:
        """Begin it, keep it, or leave what is over."""
        if self._trial.phase == "waiting":
            self.post_message(TrialBegun(self._trial))
        elif self._trial.phase == "deciding":
            self._trial.answer(True)
        elif self._trial.is_over:
            self._leave_for_the_dashboard()

    def action_at_once(self) -> None:
        """Load it without a proof and without measuring, before anything began."""
        if self._trial.phase == "waiting":
            trial = self._trial
            self.post_message(PresetWanted(trial.policy.name, trial.release, trial.settings))
            self.dismiss()

    def action_again(self) -> None:
        """The same once more."""
        trial = self._trial
        if trial.phase == "gone":
            self.dismiss()
            self.post_message(TrialWanted(trial.policy.name, trial.settings, trial.title, trial.class_id, trial.metric))

    def action_report(self) -> None:
        """Read what the verifier found."""
        if self._trial.report is not None and self._trial.phase != "deciding":
            from schedtui.screens.verify import VerifyScreen

            trial = self._trial
            self.app.push_screen(VerifyScreen(trial.policy, trial.settings, report=trial.report))

    def action_leave(self) -> None:
        """Back; what is under way is ended first, and its end is shown."""
        if self._trial.phase == "deciding":
            self._trial.answer(False)
        elif self._trial.phase in ("proving", "measuring"):
            self._trial.stop(TURNED_AWAY)
        else:
            self.dismiss()

    def _leave_for_the_dashboard(self) -> None:
        while len(self.app.screen_stack) > 1:
            self.app.pop_screen()

    def _draw(self) -> None:
        if self._is_drawn_over:
            return
        self._is_drawn_over = self._trial.is_over
        trial = self._trial
        parts = [_waiting(trial, self._info, self._before)] if trial.phase == "waiting" else [*self._news()]
        self.query_one("#text", Static).update(paragraphs(parts))
        self.query_one(KeyBar).show(_keys(trial), self._info.default_scheduler)

    def _news(self) -> list[Content]:
        """The most urgent first."""
        trial = self._trial
        parts = [_headline(trial)]
        if trial.comparison is not None:
            parts.append(comparison_lines(trial.comparison, side=trial.side, final=trial.phase != "measuring"))
        if trial.comparison is not None and trial.phase == "deciding":
            parts.append(Content.styled(trial.comparison.reason, MUTED))
        if trial.phase != "deciding":
            parts.append(stages_so_far(trial.act))
        if trial.phase in ("proving", "measuring"):
            parts.append(Content.styled(_meanwhile(trial, self._before), MUTED))
        return parts


def _waiting(trial: Trial, info: MachineInfo, before: str) -> Content:
    """What is in the way of measuring, and what will happen."""
    name = trial.policy.name
    parts = [Content.assemble((name, "bold $text-accent"), f" with {in_short(trial.policy, trial.settings)}.")]
    if trial.loads:
        text = "Nothing runs in the lab that would notice a scheduler."
        parts.append(labelled("Nothing to measure yet", text, "$text-warning"))
        names = "\n".join(f"· {KINDS[each]}" for each in trial.loads)
        parts.append(labelled("Enter starts this first", f"{names}\nIt goes on running afterwards; w ends it."))
    elif info.kind == "host":
        text = (
            "This computer has next to nothing to do now, so no scheduler can be told from another. Start what should "
            "run better, the game or the build, then press enter."
        )
        parts.append(labelled("Nothing to measure yet", text, "$text-warning"))
    parts.append(labelled("What happens then", what_a_trial_is(before)))
    parts.append(labelled("Without a trial", at_once_is(info)))
    return paragraphs(parts)


def _headline(trial: Trial) -> Content:
    """Where it stands, in a sentence, and what is wanted of the person."""
    glyphs, name = choose_glyphs(), trial.policy.name
    match trial.phase:
        case "proving":
            return Content.styled(f"{glyphs.changing} {name} is being proven. Nothing has changed yet.", "bold")
        case "measuring":
            return Content.styled(f"{glyphs.changing} {name} is being tried and measured.", "bold $text-accent")
        case "deciding":
            return Content.assemble(_question(trial), "\n", _countdown(trial))
        case "kept":
            text = "u takes it back at any time. If it gets worse later, schedtui takes it away, or asks you."
            return Content.assemble((f"{glyphs.good} {name} is kept, and runs now.", "bold $text-success"), "\n", text)
        case _:
            return _gone(trial)


def _question(trial: Trial) -> Content:
    verdict = trial.comparison.verdict if trial.comparison else "inconclusive"
    words, style = {
        "better": ("It does better.", "$text-success"),
        "no-difference": ("It makes no difference that matters.", "$text-warning"),
        "inconclusive": ("The numbers cannot tell whether it is better.", "$text-warning"),
        "worse": ("It does worse.", "$text-error"),
    }[verdict]
    return Content.assemble((f"{words} ", f"bold {style}"), (f"Keep {trial.policy.name}?", "bold"))


def _countdown(trial: Trial) -> Content:
    filled = round(COUNTDOWN_CELLS * trial.left_s / COUNTDOWN_S)
    fills = choose_glyphs().fills
    bar = (fills[8] * filled, "$text-warning"), (fills[0] * (COUNTDOWN_CELLS - filled), "")
    return Content.assemble(
        "enter keeps it. Without an answer it goes by itself in ",
        (f"{trial.left_s:.0f} s", "bold $text-warning"),
        ".\n",
        *bar,
    )


def _gone(trial: Trial) -> Content:
    if trial.error is not None:
        return error_lines(trial.error.message, trial.error.remedy, trial.error.details)
    tried = trial.comparison is not None
    word = "was taken away again" if tried else "was not tried"
    sign = f"{choose_glyphs().down if tried else choose_glyphs().info} "
    return Content.assemble((f"{sign}{trial.policy.name} {word}.", "bold $text-warning"), "\n", trial.reason)


def _meanwhile(trial: Trial, before: str) -> str:
    if trial.phase == "proving":
        return "The proof happens in a lab of its own. esc ends it."
    return f"Both take turns: {before}, and {trial.policy.name}. esc or F12 brings {before} back now."


def _keys(trial: Trial) -> list[tuple[str, str]]:
    report = [("v", "Report")] if trial.report else []
    match trial.phase:
        case "waiting":
            return [("enter", "Start it, and try" if trial.loads else "Try it"), ("esc", "Back"), ("a", "At once")]
        case "proving":
            return [("esc", "Stop")]
        case "measuring":
            return [("esc", "Stop, take it away"), *report]
        case "deciding":
            return [("enter", "Keep it"), ("esc", "Take it away now")]
        case "kept":
            return [("enter", "To the dashboard"), ("esc", "Back"), *report]
        case _:
            return [("enter", "To the dashboard"), ("esc", "Back"), ("r", "Try again"), *report]
