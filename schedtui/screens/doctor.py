"""Doctor: what works here, what does not, and the one command that fixes it."""

from __future__ import annotations

import threading
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.screen import Screen
from textual.widgets import Static

from schedtui.backend.errors import SchedtuiError
from schedtui.backend.model import Check, MachineInfo
from schedtui.elevation import KEY
from schedtui.feed import unexpected
from schedtui.messages import Examined
from schedtui.screens.live import Live
from schedtui.widgets.footer import KeyBar
from schedtui.widgets.stages import error_lines


class DoctorScreen(Live, Screen[None]):
    """The findings, the bad ones first."""

    CSS_PATH = "doctor.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("r", "again", "Look again"),
        Binding("H", "app.helper", "Start the helper"),
        Binding("escape,q,exclamation_mark", "dismiss", "Back"),
    ]

    def compose(self) -> ComposeResult:
        """One list that scrolls."""
        yield Static("Doctor", id="heading")
        with VerticalScroll(id="page"):
            yield Static(id="findings")
        yield KeyBar()

    def on_mount(self) -> None:
        """Begin to look."""
        self.query_one(KeyBar).show((("r", "Look again"), ("esc", "Back")))
        self.query_one("#page").focus()
        self.action_again()

    def action_again(self) -> None:
        """Examine this computer, off the screen's thread."""
        self.query_one("#findings", Static).update("Looking …")
        threading.Thread(target=self._examine, name="doctor", daemon=True).start()

    def on_examined(self, message: Examined) -> None:
        """Show what was found."""
        error = message.error
        content = error_lines(error.message, error.remedy, error.details) if error else report(message.findings)
        self.query_one("#findings", Static).update(content)
        works = {each.name: each.ok for each in message.findings}
        helper = [KEY] if works.get("sched_ext") and not works.get("helper") else []
        self.query_one(KeyBar).show((("r", "Look again"), *helper, ("esc", "Back")))

    def show_machine(self, info: MachineInfo) -> None:
        """Another machine is watched, perhaps with a helper now."""
        self.action_again()

    def _examine(self) -> None:
        try:
            from schedtui.checkup import examine

            self.post_message(Examined(examine()))
        except SchedtuiError as error:
            self.post_message(Examined([], error))
        except Exception as error:  # noqa: BLE001  a fault of ours in a thread must reach the user too
            self.post_message(Examined([], unexpected(error)))


def report(findings: list[Check]) -> Content:
    """The findings in lines: first a sum, then what does not work, then what does."""
    bad = [each for each in findings if not each.ok]
    good = [each for each in findings if each.ok]
    if bad:
        title = Content.styled(f"{len(bad)} of {len(findings)} do not work here", "bold $text-warning")
    else:
        title = Content.styled("Everything works here", "bold $text-success")
    return Content("\n\n").join([title, *map(_finding, bad), Content("\n").join(map(_finding, good))])


def _finding(finding: Check) -> Content:
    sign = (" ok  ", "$text-success") if finding.ok else (" no  ", "bold $text-warning")
    parts: list[Content | str | tuple[str, str]] = [sign, (finding.name, "bold"), ": ", finding.state]
    if finding.needed_for and not finding.ok:
        parts.append((f"\n     needed for {finding.needed_for}", "$foreground 65%"))
    if finding.remedy and not finding.ok:
        parts += ["\n     ", ("What to do: ", "bold"), finding.remedy]
        if finding.changes:
            parts.append((f"\n     it {finding.changes}", "$foreground 65%"))
    return Content.assemble(*parts)
