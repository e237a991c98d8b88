"""Verification: a policy is proven in the lab, stage by stage, and ends in a report that anybody can read.

The verifier judges; this starts it in a thread, shows how far it is, and lets it be ended. ``dismiss(True)`` says that
the user read the report and wants to go on.
"""

from __future__ import annotations

import threading
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
from schedtui.backend.model import Policy, Report, Setting
from schedtui.feed import unexpected
from schedtui.messages import Verified, VerifyStage
from schedtui.screens.live import Live
from schedtui.widgets.footer import KeyBar
from schedtui.widgets.report import MUTED, STAGES, ReportView
from schedtui.widgets.stages import stage_lines

REDRAW_S = 0.5


class VerifyScreen(Live, Screen[bool]):
    """Stages first, then the report."""

    CSS_PATH = "verify.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "go_on", "Go on"),
        Binding("r", "again", "Verify again"),
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
        self._report = report
        self._act = Act(f"Verifying {policy.title}")
        self._ended = threading.Event()
        self._said = ""

    def compose(self) -> ComposeResult:
        """The policy's name, and one text that scrolls."""
        yield Static(Content(f"Verify · {self._policy.title} ({self._policy.name})"), id="heading")
        with VerticalScroll(id="page"):
            yield Static(id="text")
            if self._report:
                yield ReportView(self._report)
        yield KeyBar()

    def on_mount(self) -> None:
        """Begin, unless there is a report to show."""
        self.query_one("#page").focus()
        self.set_interval(REDRAW_S, self._draw_running)
        if self._report is None:
            self._start(again=False)
        else:
            self._draw()

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
            self._report = message.report
            self.query_one("#page").mount(ReportView(message.report))
        elif message.error is not None:
            self._act.fail(message.error)
        self._draw()
        self.query_one("#page").scroll_home(animate=False)

    def action_go_on(self) -> None:
        """Do what the verification was wanted for."""
        if self._can_go_on:
            self.dismiss(True)

    def action_again(self) -> None:
        """Judge it anew, whatever was found before."""
        if not self._is_running:
            self.query(ReportView).remove()
            self._report, self._act = None, Act(self._act.title)
            self._start(again=True)

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
        return self._report is None and self._act.state == "running"

    @property
    def _can_go_on(self) -> bool:
        return bool(self._verb) and self._report is not None and self._report.verdict != "fail"

    def _start(self, *, again: bool) -> None:
        act = self._act
        self._draw()
        threading.Thread(target=self._verify, args=(act, again), name=act.title, daemon=True).start()

    def _verify(self, act: Act, again: bool) -> None:
        try:
            from schedtui.backend.verifier.verify import verify

            (report,) = verify(
                Path(self._policy.source),
                kernels=(self._kernel,),
                settings=self._settings,
                progress=lambda text, _seconds: self._stage(act, text),
                policy=self._policy,
                again=again,
            )
            self._tell(Verified(act, report))
        except SchedtuiError as error:
            self._tell(Verified(act, error=error))
        except Exception as error:  # noqa: BLE001  a fault of ours in a thread must reach the user too
            self._tell(Verified(act, error=unexpected(error)))

    def _stage(self, act: Act, text: str) -> None:
        """Raising here, in the verifier's thread, is how a verification ends early: it closes its guest on the way."""
        if self._ended.is_set():
            raise Interrupted("The verification was ended.")
        if text != self._said:
            self._said = text
            self._tell(VerifyStage(act, text))

    def _tell(self, message: VerifyStage | Verified) -> None:
        if not self._ended.is_set():
            self.post_message(message)

    def _draw_running(self) -> None:
        if self._is_running:
            self._draw()

    def _draw(self) -> None:
        text = self.query_one("#text", Static)
        text.display = self._report is None
        if self._report is None:
            text.update(_running(self._act))
        self.query_one(KeyBar).show(self._keys())

    def _keys(self) -> list[tuple[str, str]]:
        if self._is_running:
            return [("esc", "Cancel")]
        source = [("s", "Source")] if self._policy.source else []
        go_on = [("enter", self._verb)] if self._can_go_on else []
        return [*go_on, ("r", "Verify again"), *source, ("esc", "Back")]


def _running(act: Act) -> Content:
    """The stages so far, and below them what is being asked."""
    if act.state != "running":
        return stage_lines(act)
    lines = [Content.styled("What is looked at", f"bold {MUTED}")]
    lines += [Content.assemble((f"{title:<13}", "bold"), (meaning, MUTED)) for title, meaning in STAGES.values()]
    lines += [Content(""), Content.styled("Everything happens in the lab. Nothing on this computer changes.", MUTED)]
    return Content("\n").join([stage_lines(act), Content(""), *lines])
