"""The program on a recording, always the same: what the pictures of snapshot tests and of the README are made from.

Every frame comes at once, so that the last picture does not depend on when it is taken.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import ClassVar

from textual.pilot import Pilot

import schedtui
from schedtui.app import SchedtuiApp
from schedtui.backend.machine import Progress
from schedtui.backend.model import MachineInfo
from schedtui.backend.replay import ReplayMachine
from schedtui.feed import Feed

FOLDER = Path(__file__).parent
PATIENCE_S = 30.0
_FONT_FACE = re.compile(r"\s*@font-face\s*\{[^}]*\}")


class AsRecorded(ReplayMachine):
    """A recording that does not say that it is one: for pictures of what a lab offers."""

    def open(self, progress: Progress) -> MachineInfo:
        """The machine as it was when it was recorded."""
        super().open(progress)
        return self._opened().header.info


class Pictured(SchedtuiApp):
    """The program, playing ``frames`` frames of a recording of this folder; with ``live``, as if its lab were there."""

    CSS_PATH: ClassVar[list[Path]] = [Path(schedtui.__file__).parent / SchedtuiApp.CSS_PATH]

    def __init__(self, recording: str, frames: int = 20, *, theme: str = "schedtui-dark", live: bool = False) -> None:
        file = FOLDER / f"{recording}.jsonl.gz"
        machine = (AsRecorded if live else ReplayMachine)(file, until=frames)
        machine.open(lambda _text, _seconds: None)
        feed = Feed("lab" if live else f"replay:{file.name}", machine)
        super().__init__(feed, theme=theme)
        self._frames_wanted = frames
        feed.start()

    def export_screenshot(self, *, title: str | None = None, simplify: bool = False) -> str:
        """See App. The picture fetches no fonts from anywhere; the viewer's own fixed-width one does."""
        return _FONT_FACE.sub("", super().export_screenshot(title=title, simplify=simplify))

    async def played(self, pilot: Pilot[None]) -> None:
        """Wait until the last frame is on the screen."""
        waited_s = 0.0
        while self._frames_seen < self._frames_wanted or self.screen is not self.dashboard:
            if waited_s > PATIENCE_S:
                raise TimeoutError(f"only {self._frames_seen} of {self._frames_wanted} frames came")
            await pilot.pause(0.02)
            waited_s += 0.02
        await pilot.pause()
