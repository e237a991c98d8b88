"""The loads that run on the machine for us, and what they measure of themselves."""

from __future__ import annotations

from schedtui.backend.model import Frame, WorkloadStatus
from schedtui.units import count, digits, duration
from schedtui.widgets.panel import Line, Panel, Span, fitting

_KIND = 6
"""Cells of the longest kind."""
_LEAST = 1
"""Metrics that are shown however narrow the panel is."""


class WorkloadPanel(Panel):
    """One line a load."""

    def __init__(self, hint: str = "", *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__("Load", id=id, classes=classes)
        self.hint = hint
        """What to say while nothing runs."""
        self._workloads: tuple[WorkloadStatus, ...] = ()

    def reset(self) -> None:
        self._workloads = ()
        self.redraw()

    def show(self, frame: Frame) -> None:
        """Draw the loads of ``frame``; without any, the hint."""
        self._workloads = frame.workloads
        self.redraw()

    def draw(self, width: int, height: int) -> list[Line]:
        if not self._workloads:
            return [[(self.hint or "none was started", "faint")]]
        return [self._workload(status, width) for status in self._workloads[:height]]

    def _workload(self, status: WorkloadStatus, width: int) -> Line:
        """``▸ frames  21 % late · p99 54 ms · 1.3k frames · 1 task``, as much of it as there is room for."""
        kind: Line = [(f"{self.glyphs.cursor} ", "accent"), (f"{status.kind:<{_KIND}} ", "strong")]
        facts = [
            *_measured(status.metrics),
            [(f"{status.tasks}", "text"), (f" task{'s' * (status.tasks != 1)}", "muted")],
        ]
        return fitting([kind + _joined(facts[:shown]) for shown in range(len(facts), _LEAST - 1, -1)], width)


def _measured(metrics: dict[str, float]) -> list[Line]:
    """What a load measured of itself, in words, the most telling first."""
    known = [_WORDS[name](metrics[name]) for name in _WORDS if name in metrics]
    others: list[Line] = [
        [(digits(value), "text"), (f" {name.replace('_', ' ')}", "muted")]
        for name, value in metrics.items()
        if name not in _WORDS
    ]
    return known + others


def _late(percent: float) -> Line:
    return [(f"{percent:.0f} %", "wait" if percent >= 5 else "text"), (" late", "muted")]


def _frame_p99(milliseconds: float) -> Line:
    return [("p99 ", "muted"), (duration(milliseconds * 1000), "text")]


def _jobs(per_second: float) -> Line:
    return [(digits(per_second), "text"), (" jobs/s", "muted")]


def _frames(done: float) -> Line:
    return [(count(done), "text"), (" frames", "muted")]


_WORDS = {"late_percent": _late, "frame_p99_ms": _frame_p99, "jobs_per_s": _jobs, "frames": _frames}
"""The metrics of workloads.py by name, in the order in which they are told."""


def _joined(facts: list[Line]) -> Line:
    dot: Span = (" · ", "faint")
    return [span for number, fact in enumerate(facts) for span in ([dot, *fact] if number else fact)]
