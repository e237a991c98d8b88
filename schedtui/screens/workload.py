"""Loads that can be started on the lab, because an idle machine shows nothing of its scheduler."""

from __future__ import annotations

from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from schedtui.backend.model import Frame, MachineInfo, WorkloadStatus
from schedtui.backend.workloads import KINDS
from schedtui.messages import LoadsUnwanted, LoadWanted
from schedtui.screens.live import Live


class WorkloadScreen(Live, ModalScreen[None]):
    """Start loads, stop them."""

    CSS_PATH = "workload.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("s", "stop", "Stop all"),
        Binding("m", "app.machine", "Machine"),
        Binding("escape,q,w", "dismiss", "Close"),
    ]

    def __init__(self, info: MachineInfo, running: tuple[WorkloadStatus, ...]) -> None:
        super().__init__()
        self._info = info
        self._loads = running

    def compose(self) -> ComposeResult:
        """The kinds of load, and what runs."""
        with Vertical(id="dialog") as dialog:
            dialog.border_title = f"Workload on {self._info.name}"
            is_lab = self._info.kind == "lab"
            dialog.border_subtitle = (
                "enter starts · s stops all" if is_lab else "m machine"
            ) + " · esc closes · F12 panic"
            if is_lab:
                yield OptionList(*self._options(), id="kinds")
            else:
                yield Static(_why_not(self._info), id="why")

    def show_frame(self, frame: Frame) -> None:
        """Say which loads run."""
        if self._info.kind == "lab" and _counts(frame.workloads) != _counts(self._loads):
            self._loads = frame.workloads
            kinds = self.query_one("#kinds", OptionList)
            kept = kinds.highlighted
            kinds.set_options(self._options())
            kinds.highlighted = kept

    @on(OptionList.OptionSelected)
    def _start(self, event: OptionList.OptionSelected) -> None:
        if event.option_id:
            self.post_message(LoadWanted(event.option_id))

    def action_stop(self) -> None:
        """End every load."""
        self.post_message(LoadsUnwanted())

    def _options(self) -> list[Option]:
        counts = _counts(self._loads)
        return [Option(_line(kind, text, counts.get(kind, 0)), id=kind) for kind, text in KINDS.items()]


def _counts(loads: tuple[WorkloadStatus, ...]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for load in loads:
        counts[load.kind] = counts.get(load.kind, 0) + load.tasks
    return counts


def _line(kind: str, text: str, tasks: int) -> Content:
    """The kind in brackets is what the panels call it."""
    title, _, rest = text.partition(": ")
    running = (f"  running, {tasks} task{'s' * (tasks != 1)}", "bold $text-success") if tasks else ""
    return Content.assemble(
        (title, "bold"), (f" ({kind})", "$foreground 65%"), running, "\n", ("  " + rest, "$foreground 65%")
    )


def _why_not(info: MachineInfo) -> Content:
    if info.kind == "host":
        text = "On this computer your own programs are the load; schedtui starts none here."
    else:
        text = "This is a recording: nothing can be started in it."
    return Content.assemble(text, "\n\n", ("What to do: ", "bold"), "open the lab (m) and start loads there.")
