"""Pressure stall information: how much of the time tasks stood still for want of CPU, I/O or memory; and the traffic of
the scheduler, as far as the height allows.
"""

from __future__ import annotations

from collections import deque

from schedtui.backend.model import Activity, Frame
from schedtui.units import count
from schedtui.widgets.panel import Line, Panel, fitting, unavailable

RESOURCES = (("cpu", "cpu"), ("io", "io"), ("memory", "mem"))
_HISTORY = 256
_FULL_SCALE = 40.0
"""Percent that a history's highest sign stands for, so that small pressure does not look like a crisis."""


class PressurePanel(Panel):
    """Pressure by resource with its recent history, and the run queue."""

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__("Pressure", id=id, classes=classes)
        self.reset()

    def reset(self) -> None:
        self._frame: Frame | None = None
        self._past: dict[str, deque[float]] = {key: deque(maxlen=_HISTORY) for key, _ in RESOURCES}
        self.redraw()

    def show(self, frame: Frame) -> None:
        """Draw the pressure and the activity of ``frame``."""
        self._frame = frame
        for key, past in self._past.items():
            if key in frame.pressure:
                past.append(frame.pressure[key].some_percent)
        self.redraw()

    def draw(self, width: int, height: int) -> list[Line]:
        frame = self._frame
        self.aside = ""
        if frame is None:
            return [[("waiting for the first sample", "faint")]]
        activity = self._activity(frame.activity, width)
        if not frame.pressure:
            reason = unavailable(frame.missing.get("pressure", ""), width)
            return [activity, *reason] if height > 1 else reason
        if height < len(RESOURCES):
            return [self._all_in_one(frame, width), activity][:height]
        self.aside = "some   full"
        return [*(self._resource(frame, key, name, width) for key, name in RESOURCES), activity][:height]

    def _resource(self, frame: Frame, key: str, name: str, width: int) -> Line:
        pressure = frame.pressure.get(key)
        label = (f"{name:<4}", "muted")
        if pressure is None:
            reason = frame.missing.get(f"pressure.{key}", "")
            return [label, (f"not available{': ' if reason else ''}{reason}", "muted")]
        room = max(0, width - 4 - 13)
        some = (f"{pressure.some_percent:5.1f}%", _role(pressure.some_percent))
        full: tuple[str, str] = ("      –", "faint")
        if pressure.full_percent is not None:
            full = (f"{pressure.full_percent:6.1f}%", _role(pressure.full_percent))
        return [label, *self._history(key, room), some, full]

    def _history(self, key: str, width: int) -> Line:
        past = self._past[key]
        recent = [past[index] for index in range(max(0, len(past) - width), len(past))]
        signs = "".join(self._sign(value) for value in recent)
        role = "heat-mid" if any(value >= 1 for value in recent) else "faint"
        return [(" " * (width - len(signs)), "text"), (signs, role)]

    def _sign(self, percent: float) -> str:
        return self.glyphs.levels[min(7, int(percent / _FULL_SCALE * 8))]

    def _all_in_one(self, frame: Frame, width: int) -> Line:
        """All resources in one line: ``cpu ▂▃▅▂ 12%   io ▁ 1%   mem 0%``"""
        numbers: list[Line] = []
        for key, name in RESOURCES:
            pressure = frame.pressure.get(key)
            text = f"{pressure.some_percent:.0f}%" if pressure else "–"
            numbers.append([(f"{name} ", "muted"), (text, _role(pressure.some_percent if pressure else 0))])
        used = sum(len(text) for part in numbers for text, _ in part)
        room = (width - used - 2 * 2 - 3) // 3
        line: Line = []
        for (key, _), (label, value) in zip(RESOURCES, numbers, strict=True):
            line += [("  ", "text")] if line else []
            line.append(label)
            if room >= 3:
                line += [*self._history(key, min(room, 12)), (" ", "text")]
            line.append(value)
        return line

    def _activity(self, activity: Activity, width: int) -> Line:
        """The run queue and its traffic."""
        first: Line = [("runnable ", "muted"), (str(activity.runnable), "text")]
        of_all: Line = [(f" of {count(activity.tasks)} tasks", "muted")] if activity.tasks else []
        rates: Line = []
        for value, unit in ((activity.switches_per_s, "switches/s"), (activity.forks_per_s, "forks/s")):
            if value is not None:
                rates += [("   ", "text"), (count(value), "text"), (f" {unit}", "muted")]
        return fitting([[*first, *of_all, *rates], [*first, *rates], [*first, *rates[:3]], first], width)


def _role(percent: float) -> str:
    return "heat-high" if percent >= 20 else "text" if percent >= 1 else "muted"
