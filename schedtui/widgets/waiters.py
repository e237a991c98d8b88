"""Who waits: the tasks that stood in a run queue the longest."""

from __future__ import annotations

from schedtui.backend.model import Frame, TaskWait
from schedtui.units import digits, duration
from schedtui.widgets.cells import fit
from schedtui.widgets.glyphs import Glyphs
from schedtui.widgets.panel import Line, Panel, unavailable

_NAME = 16
_WAIT = 6
_BAR = 10


class WaitersPanel(Panel):
    """One line a task, the worst first."""

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__("Who waits", id=id, classes=classes)
        self.reset()

    def reset(self) -> None:
        self._frame: Frame | None = None
        self.redraw()

    def show(self, frame: Frame) -> None:
        """Draw the waiting tasks of ``frame``."""
        self._frame = frame
        self.redraw()

    def draw(self, width: int, height: int) -> list[Line]:
        frame = self._frame
        self.aside = self.note = ""
        if frame is None:
            return [[("waiting for the first sample", "faint")]]
        if not frame.waiters:
            reason = frame.missing.get("waiters")
            if reason is not None:
                return unavailable(reason, width)
            return [[("nobody had to wait", "muted")]]
        self.aside = "ms waited each second"
        self.note = f"{len(frame.waiters) - height} more" if len(frame.waiters) > height else ""
        pid = max(5, *(len(str(task.pid)) for task in frame.waiters))
        with_p99 = width >= 70 and any(task.latency_p99_us is not None for task in frame.waiters)
        shown = frame.waiters[:height]
        room = width - _NAME - pid - 2 - _WAIT
        with_bar = room >= (2 * _BAR if any(task.detail for task in shown) else _BAR)
        return [self._line(task, pid, with_bar, with_p99, width) for task in shown]

    def _line(self, task: TaskWait, pid: int, with_bar: bool, with_p99: bool, width: int) -> Line:
        """Name, pid, bar, waiting time, and what the task belongs to."""
        name = min(_NAME, max(8, width - pid - _WAIT - 3))
        line: Line = [(fit(task.name, name), "text"), (f" {task.pid:>{pid}} ", "muted")]
        room = width - name - pid - 2 - _WAIT
        if with_bar:
            line += wait_bar(task.wait_ms_per_s, _BAR, self.glyphs)
            room -= _BAR
        line.append((f"{digits(task.wait_ms_per_s):>{_WAIT}}", "wait" if task.wait_ms_per_s >= 100 else "strong"))
        if with_p99:
            text = f"p99 {duration(task.latency_p99_us)}" if task.latency_p99_us is not None else ""
            line.append((f"  {text:<11}", "muted"))
            room -= 13
        if task.detail and room >= 6:
            line.append(("  " + fit(task.detail, room - 2), "muted"))
        return line


def wait_bar(wait_ms_per_s: float, width: int, glyphs: Glyphs) -> Line:
    """The share of each second that a task waited, as a bar; full from one second each second."""
    eighths = min(8 * width, max(1, round(wait_ms_per_s / 1000 * width * 8)))
    full, part = divmod(eighths, 8)
    text = glyphs.fills[8] * full + (glyphs.fills[part] if part else "")
    return [(text, "wait" if wait_ms_per_s >= 100 else "heat-low"), (" " * (width - len(text)), "text")]
