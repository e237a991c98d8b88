"""The machine switch: this computer, the lab, or a recording; the stages while one is opened."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.content import Content
from textual.message import Message

from schedtui.act import Act
from schedtui.backend.model import MachineInfo
from schedtui.messages import MachineWanted, OpeningUnwanted
from schedtui.paths import data_dir
from schedtui.screens.chooser import ROOM_FOR_REMARKS, Chooser, Entry
from schedtui.widgets.footer import KeyBar

ACT_TITLE = "Opening "
RECORDING_ENDINGS = (".jsonl", ".jsonl.gz", ".schedtui", ".schedtui.gz")
AUDIT = "audit.jsonl"
"""Lies in the same folder, and is none."""

_HOST = (
    "This computer, as it is.\n\n"
    "Watching it needs no privileges. Whether another scheduler can be loaded on it depends on its kernel; "
    "the line below the header says so."
)
_LAB = (
    "A real Linux kernel with sched_ext in a small virtual machine of its own, on this computer.\n\n"
    "Everything can be tried there: it needs no root, and nothing in it can reach this computer's scheduler. "
    "The numbers are the lab's: its CPUs are emulated and slower than yours, so compare them with each other only.\n\n"
    "The first time takes a while: a kernel image is fetched if there is none, the guest is built, booted and saved. "
    "After that it opens in about a second.\n\n"
    "The lab is closed when you leave it or quit; nothing of it is left behind."
)


def recordings() -> list[Path]:
    """Recordings in the user's data folder, newest first."""
    found = [
        path
        for folder in (data_dir(), data_dir() / "recordings")
        if folder.is_dir()
        for path in folder.iterdir()
        if path.name.endswith(RECORDING_ENDINGS) and path.name != AUDIT and path.is_file()
    ]
    return sorted(found, key=lambda path: path.stat().st_mtime, reverse=True)


class MachineChoices:
    """Every machine that could be watched, and which one is."""

    heading = "Machine"
    asks = False
    remarks_from = ROOM_FOR_REMARKS
    act_title = ACT_TITLE
    empty: str | Content = ""
    leaving = "Cancel"

    def __init__(self, current: str) -> None:
        self.current = current
        self._recordings = {f"replay:{path}": path for path in recordings()}
        if current.startswith("replay:"):
            self._recordings.setdefault(current, Path(current.removeprefix("replay:")))

    def entries(self) -> list[Entry]:
        """Host, lab and the recordings."""
        return [
            Entry("host", "This computer", self._remark("host", "watch what runs here")),
            Entry("lab", "Lab", self._remark("lab", "a kernel of its own to try things on")),
            *(Entry(spec, path.name, self._remark(spec, "a recording")) for spec, path in self._recordings.items()),
        ]

    def preview(self, entry_id: str) -> Content:
        """What the machine is."""
        text = {"host": _HOST, "lab": _LAB}.get(entry_id) or self._recording(entry_id)
        parts = [Content.styled(self._title(entry_id), "bold $text-primary"), Content(text)]
        if entry_id == self.current:
            parts.append(Content.styled("This is the machine that you are watching.", "$text-success"))
        return Content("\n\n").join(parts)

    def verb(self, entry_id: str) -> str:
        """Open, unless it is open already."""
        return "" if entry_id == self.current else "Open"

    def chosen(self, entry_id: str) -> Message | None:
        """Open it."""
        return MachineWanted(entry_id)

    def more_keys(self, entry_id: str) -> list[tuple[str, str]]:
        """None but the usual."""
        return []

    def left(self) -> Message | None:
        """Turning away ends the opening; the machine before stays."""
        return OpeningUnwanted()

    def _remark(self, spec: str, otherwise: str) -> str:
        return "● watched now" if spec == self.current else otherwise

    def _title(self, spec: str) -> str:
        return {"host": "This computer", "lab": "The lab"}.get(spec, "A recording")

    def _recording(self, spec: str) -> str:
        path = self._recordings[spec]
        return f"{path}\n\nIt plays at the pace at which it was recorded. Nothing can be changed in it."


class MachineScreen(Chooser):
    """The machine switch. It begins at the other machine, so that ``enter`` goes back and forth.

    While a machine is being opened, what can be read without one is a key away.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("l", "app.library", "Library"),
        Binding("p", "app.presets", "Presets"),
    ]

    def __init__(self, current: str, *, act: Act | None = None) -> None:
        self._machines = MachineChoices(current)
        super().__init__(self._machines, act=act, selected="lab" if current == "host" else "host")

    def show_machine(self, info: MachineInfo) -> None:
        """Another machine is watched; this screen is about to close, but a slow eye may still read it."""
        self.refresh_choices()

    def _draw_keys(self, verb: str) -> None:
        if self._step == "act" and self._act is not None and self._act.state == "running":
            meanwhile = [("l", "Library meanwhile"), ("p", "Presets")]
            self.query_one(KeyBar).show([("esc", self.choices.leaving), *meanwhile])
        else:
            super()._draw_keys(verb)
