"""Something that takes a while, as its stages: opening a machine, applying a preset.

Data only; whoever does the act calls these from the user interface's thread, and a screen draws it.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Literal

from schedtui.backend.errors import SchedtuiError


@dataclass
class Stage:
    """One stage in plain words. Seconds count from the beginning of the act."""

    text: str
    began_s: float
    ended_s: float | None = None


@dataclass
class Act:
    """What is being done, how far it is, and how it ended."""

    title: str
    state: Literal["running", "done", "failed", "cancelled"] = "running"
    stages: list[Stage] = field(default_factory=list)
    error: SchedtuiError | None = None
    result: str = ""
    _began: float = field(default_factory=time.monotonic)

    def elapsed_s(self) -> float:
        """Seconds since it began."""
        return time.monotonic() - self._began

    def stage(self, text: str, seconds: float | None = None) -> None:
        """The next stage begins (``seconds`` after the beginning), and so the one before has ended.

        Words before a colon name a stage (“kernel: fetching”); what follows it may change while the stage lasts.
        """
        now = self.elapsed_s() if seconds is None else seconds
        if self.stages and _name(self.stages[-1].text) == _name(text):
            self.stages[-1].text = text
            return
        self._close_stage(now)
        self.stages.append(Stage(text, now))

    def finish(self, result: str) -> None:
        """It worked; ``result`` says so in a sentence."""
        self._close_stage(self.elapsed_s())
        self.state, self.result = "done", result

    def fail(self, error: SchedtuiError) -> None:
        """It did not work."""
        self._close_stage(self.elapsed_s())
        self.state, self.error = "failed", error

    def cancel(self) -> None:
        """The user no longer wants it."""
        self._close_stage(self.elapsed_s())
        self.state = "cancelled"

    def _close_stage(self, now: float) -> None:
        if self.stages and self.stages[-1].ended_s is None:
            self.stages[-1].ended_s = max(now, self.stages[-1].began_s)


def _name(text: str) -> str:
    return text.partition(":")[0]
