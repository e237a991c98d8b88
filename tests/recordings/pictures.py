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
from schedtui.backend.replay import ReplayMachine
from schedtui.feed import Feed

FOLDER = Path(__file__).parent
PATIENCE_S = 30.0
_FONT_FACE = re.compile(r"\s*@font-face\s*\{[^}]*\}")


class Pictured(SchedtuiApp):
    """The program, playing ``frames`` frames of a recording of this folder."""

    CSS_PATH: ClassVar[list[Path]] = [Path(schedtui.__file__).parent / SchedtuiApp.CSS_PATH]

    def __init__(self, recording: str, frames: int, *, theme: str = "schedtui-dark") -> None:
        machine = ReplayMachine(FOLDER / f"{recording}.jsonl.gz", until=frames)
        machine.open(lambda _text, _seconds: None)
        feed = Feed(f"replay:{recording}", machine)
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
