"""The loads that run on the machine for us, and what they measure of themselves."""

from __future__ import annotations

from schedtui.backend.model import Frame, WorkloadStatus
from schedtui.widgets.panel import Line, Panel
from schedtui.widgets.units import digits


class WorkloadPanel(Panel):
    """One line a load."""

    def __init__(self, hint: str = "", *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__("Load", id=id, classes=classes)
        self._hint = hint
        self._workloads: tuple[WorkloadStatus, ...] = ()

    def reset(self) -> None:
        self._workloads = ()
        self.redraw()

    def show(self, frame: Frame) -> None:
        """Draw the loads of ``frame``; without any, the hint that the panel was made with."""
        self._workloads = frame.workloads
        self.redraw()

    def draw(self, width: int, height: int) -> list[Line]:
        if not self._workloads:
            return [[(self._hint or "none was started", "faint")]]
        return [self._workload(status) for status in self._workloads[:height]]

    def _workload(self, status: WorkloadStatus) -> Line:
        line: Line = [
            (f"{self.glyphs.cursor} ", "accent"),
            (f"{status.kind} ", "strong"),
            (f"{status.tasks} task{'s' * (status.tasks != 1)}", "muted"),
        ]
        for name, value in status.metrics.items():
            line += [("   ", "text"), (digits(value), "text"), (f" {name.replace('_', ' ')}", "muted")]
        return line
