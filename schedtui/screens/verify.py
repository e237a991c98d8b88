"""Verification: a policy is proven in the lab, stage by stage, and ends in a report that anybody can read.

The verifier judges; this starts it in a thread, shows how far it is, and lets it be ended. ``dismiss(True)`` says that
the user read the report and wants to go on.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.screen import Screen
from textual.widgets import Static

from schedtui.act import Act
from schedtui.backend.errors import Interrupted, SchedtuiError
from schedtui.backend.model import Policy, Report, Setting, worst
from schedtui.feed import unexpected
from schedtui.messages import Verified, VerifyStage
from schedtui.screens.checks import FULL_S, Check, ChecksScreen
from schedtui.screens.live import Live
from schedtui.widgets.footer import KeyBar
from schedtui.widgets.policy import in_short
from schedtui.widgets.report import MUTED, QUICKLY, STAGES, ReportView, outcome_lines
from schedtui.widgets.stages import stage_lines

REDRAW_S = 0.5


class VerifyScreen(Live, Screen[bool]):
    """Stages first, then the report; of several kernels first what became of each, then the reports worth reading."""

    CSS_PATH = "verify.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "go_on", "Go on"),
        Binding("r", "again", "Verify again"),
        Binding("o", "other", "Other kernels, quick check"),
        Binding("s", "source", "Source"),
        Binding("escape,q", "leave", "Back"),
    ]

    def __init__(
        self,
        policy: Policy,
        settings: dict[str, Setting],
        *,
        kernel: Path | None = None,
        verb: str = "",
        report: Report | None = None,
    ) -> None:
        """``verb`` is what ``enter`` does after a policy passed; with ``report``, that is shown and nothing is run."""
        super().__init__()
        self._policy, self._settings, self._kernel, self._verb = policy, settings, kernel, verb
        self._reports = [report] if report else []
        self._check = Check((kernel,))
        self._act = Act(f"Verifying {policy.title}")
        self._is_over = report is not None
        self._ended = threading.Event()
        self._said = ""

    def compose(self) -> ComposeResult:
        """The policy's name, and one text that scrolls."""
        settings = f" with {in_short(self._policy, self._settings)}" if self._settings else ""
        yield Static(Content(f"Verify · {self._policy.title} ({self._policy.name}){settings}"), id="heading")
        with VerticalScroll(id="page"):
            yield Static(id="text")
            for report in self._reports:
                yield ReportView(report)
        yield KeyBar()

    def on_mount(self) -> None:
        """Begin, unless there is a report to show."""
        self.query_one("#page").focus()
        self.set_interval(REDRAW_S, self._draw_running)
        if self._is_over:
            self._draw()
        else:
            self._start(again=False)

    def on_unmount(self) -> None:
        """Nobody waits for it any more, whoever closed this screen."""
        self._ended.set()

    def on_verify_stage(self, message: VerifyStage) -> None:
        """Show the stage."""
        if message.act is self._act:
            self._act.stage(message.text)
            self._draw()

    def on_verified(self, message: Verified) -> None:
        """Show the report, or why there is none."""
        if message.act is not self._act:
            return
        if message.report is not None:
            self._reports.append(message.report)
        if message.error is not None:
            self._act.fail(message.error)
        if message.last:
            self._is_over = True
            self.query_one("#page").mount(*(ReportView(each) for each in worth_reading(self._reports)))
            self.query_one("#page").scroll_home(animate=False)
        self._draw()

    def action_go_on(self) -> None:
        """Do what the verification was wanted for."""
        if self._can_go_on:
            self.dismiss(True)

    def action_again(self) -> None:
        """Judge it anew, whatever was found before."""
        if not self._is_running:
            self._start(again=True)

    def action_other(self) -> None:
        """Offer other kernels, and a quick check. What runs goes on until one is chosen."""
        took = [sum(stage.seconds for stage in each.stages) for each in self._reports if each.kernel and not each.quick]
        screen = ChecksScreen(self._policy.title, self._kernel, full_s=max(took, default=FULL_S))
        self.app.push_screen(screen, self._check_in_another_way)

    def _check_in_another_way(self, check: Check | None) -> None:
        if check is not None:
            self._check = check
            self._start(again=False)

    def action_source(self) -> None:
        """Read the source, for the lines that findings name."""
        if self._policy.source and not self._is_running:
            from schedtui.screens.source import SourceScreen

            self.app.push_screen(SourceScreen(Path(self._policy.source)))

    def action_leave(self) -> None:
        """Back; a verification that runs is ended with it."""
        self.dismiss(False)

    @property
    def _is_running(self) -> bool:
        return not self._is_over

    @property
    def _can_go_on(self) -> bool:
        passed = bool(self._reports) and worst(each.verdict for each in self._reports) != "fail"
        return bool(self._verb) and self._is_over and passed and self._act.error is None

    def _start(self, *, again: bool) -> None:
        """Begin with nothing; what ran before is ended."""
        self._ended.set()
        self._ended, self._said = threading.Event(), ""
        self.query(ReportView).remove()
        how = f" on {len(self._check.kernels)} kernels" if len(self._check.kernels) > 1 else ""
        quickly = "Quickly verifying" if self._check.quick else "Verifying"
        act = self._act = Act(f"{quickly} {self._policy.title}{how}")
        self._reports, self._is_over = [], False
        self._draw()
        run = Run(act, self._check, again, self._ended)
        threading.Thread(target=self._verify, args=(run,), name=act.title, daemon=True).start()

    def _verify(self, run: Run) -> None:
        """One kernel after the other; a policy that fails before it reaches a kernel does so for all."""
        act = run.act
        try:
            from schedtui.backend.verifier.verify import verify_policy

            for number, (kernel, name) in enumerate(zip(run.check.kernels, run.check.names, strict=True), 1):
                several = f"Linux {name}: " if len(run.check.kernels) > 1 else ""
                (report,) = verify_policy(
                    self._policy,
                    self._settings,
                    kernels=(kernel,),
                    quick=run.check.quick,
                    progress=lambda text, _seconds, several=several: self._stage(run, several + text),  # type: ignore[misc]
                    again=run.again,
                )
                last = number == len(run.check.kernels) or report.kernel is None
                self._tell(run, Verified(act, report, last=last))
                if last:
                    return
        except SchedtuiError as error:
            self._tell(run, Verified(act, error=error))
        except Exception as error:  # noqa: BLE001  a fault of ours in a thread must reach the user too
            self._tell(run, Verified(act, error=unexpected(error)))

    def _stage(self, run: Run, text: str) -> None:
        """Raising here, in the verifier's thread, is how a verification ends early: it closes its guest on the way."""
        if run.ended.is_set():
            raise Interrupted("The verification was ended.")
        if text != self._said:
            self._said = text
            self._tell(run, VerifyStage(run.act, text))

    def _tell(self, run: Run, message: VerifyStage | Verified) -> None:
        if not run.ended.is_set():
            self.post_message(message)

    def _draw_running(self) -> None:
        if self._is_running:
            self._draw()

    def _draw(self) -> None:
        text = self.query_one("#text", Static)
        several = len(self._check.kernels) > 1
        text.display = self._is_running or several or not self._reports
        done = [outcome_lines(self._reports)] if several and self._reports else []
        going = [] if self._is_over and self._act.error is None else [_running(self._act, self._check)]
        text.update(Content("\n\n").join([*done, *going]))
        self.query_one(KeyBar).show(self._keys())

    def _keys(self) -> list[tuple[str, str]]:
        if self._is_running:
            return [("esc", "Cancel"), ("o", "Other checks")]
        source = [("s", "Source")] if self._policy.source else []
        go_on = [("enter", self._verb)] if self._can_go_on else []
        return [*go_on, ("esc", "Back"), ("o", "Other checks"), ("r", "Again"), *source]


@dataclass
class Run:
    """One verification, as its thread knows it; ``ended`` is set when nobody waits for it any more."""

    act: Act
    check: Check
    again: bool
    ended: threading.Event


def worth_reading(reports: Sequence[Report]) -> list[Report]:
    """Of several reports those that found something, the worst first; where all passed, the first."""
    found = [each for each in reports if each.verdict != "pass"]
    return sorted(found, key=lambda each: each.verdict != "fail") or list(reports[:1])


def _running(act: Act, check: Check) -> Content:
    """The stages so far, and below them what is being asked."""
    if act.state != "running":
        return stage_lines(act)
    stages = {**STAGES, "kernel": (STAGES["kernel"][0], QUICKLY)} if check.quick else STAGES
    lines = [Content.styled("What is looked at", f"bold {MUTED}")]
    lines += [Content.assemble((f"{title:<13}", "bold"), (meaning, MUTED)) for title, meaning in stages.values()]
    lines += [Content(""), Content.styled("Everything happens in the lab. Nothing on this computer changes.", MUTED)]
    return Content("\n").join([stage_lines(act), Content(""), *lines])
