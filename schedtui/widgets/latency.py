"""How long tasks wait for a CPU: percentiles now, a chart of the last minutes, and the distribution now.

What it is compared with (the ghost) is given by whoever shows the panel, who also decides what may be compared.
"""

from __future__ import annotations

import math
from collections import deque
from functools import lru_cache

from schedtui.backend.histogram import SLOTS, Histogram, lower_bound_ns, percentile_us
from schedtui.backend.model import Frame, Latency
from schedtui.units import count, digits, duration, short_duration, span
from schedtui.widgets.cells import width_of
from schedtui.widgets.chart import BandChart, Scale
from schedtui.widgets.panel import Line, Panel, fitting, unavailable

TITLES = {
    "wakeup-probe": "Wake-up latency",
    "run-delay": "Run delay, mean per task (lower bound)",
    "timer-overshoot": "Timer lateness of a test process",
}
COMPARED_FRAMES = 30
"""Frames whose sum is compared with the ghost: those since the scheduler changed, at most as many."""
_AXIS = 6
_NOISE = 0.03
_DISTRIBUTION_ROWS = 3


class RecentSum:
    """The sum of the last histograms, kept up to date instead of added up anew."""

    def __init__(self, length: int) -> None:
        self._length = length
        self._kept: deque[Histogram] = deque()
        self.total = [0] * SLOTS

    def add(self, histogram: Histogram) -> None:
        """Take in one more; the oldest falls out when there are too many."""
        self._kept.append(histogram)
        total = self.total
        for slot, number in enumerate(histogram):
            if number:
                total[slot] += number
        if len(self._kept) > self._length:
            for slot, number in enumerate(self._kept.popleft()):
                if number:
                    total[slot] -= number

    def clear(self) -> None:
        """Begin again."""
        self._kept.clear()
        self.total = [0] * SLOTS


class LatencyPanel(Panel):
    """Percentiles, chart and distribution of the time that tasks wait."""

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__("Latency", id=id, classes=classes)
        self.reset()

    def reset(self) -> None:
        self._chart = BandChart(self.glyphs.marker, self.glyphs.ascii)
        self._frame: Frame | None = None
        self._recent = RecentSum(COMPARED_FRAMES)
        self._ghost: Histogram | None = None
        self._ghost_label = ""
        self._ghost_p99: float | None = None
        self._low, self._high = 0, 4
        self.redraw()

    def show(self, frame: Frame) -> None:
        """Draw the latency of ``frame`` and add it to the chart."""
        before = self._frame
        changed = before is not None and before.scheduler.name != frame.scheduler.name
        if changed or (before and _source(before) != _source(frame)):
            self._recent.clear()
        latency = frame.latency
        sample = None
        if latency and latency.p50_us is not None and latency.p99_us is not None:
            sample = (latency.p50_us, latency.p99_us)
        self._chart.add(sample, frame.scheduler.name if changed else None)
        if latency:
            self._recent.add(latency.histogram)
            self._widen(latency.histogram)
        self._frame = frame
        self.redraw()

    def ghost(self, histogram: Histogram | None, label: str) -> None:
        """Compare with ``histogram``, measured under ``label``; None ends the comparison."""
        ghost = histogram if histogram and any(histogram) else None
        if ghost == self._ghost and label == self._ghost_label:
            return
        self._ghost, self._ghost_label = ghost, label
        self._ghost_p99 = percentile_us(ghost, 99) if ghost else None
        if self._ghost:
            self._widen(self._ghost)
        self.redraw()

    def draw(self, width: int, height: int) -> list[Line]:
        frame = self._frame
        self.heading, self.aside, self.note = "Latency", "", ""
        if frame is None:
            return [[("waiting for the first sample", "faint")]]
        latency = frame.latency
        if latency is None:
            return unavailable(frame.missing.get("latency", ""), width)
        self.heading = TITLES[latency.source]
        self._set_note(latency, frame.interval_s)
        lines = [self._percentiles(latency, width)]
        rows = max(1, min(_DISTRIBUTION_ROWS, height // 9))
        below = self._distribution("now", latency.histogram, "p50", width, rows)
        if self._ghost:
            below += self._distribution(self._ghost_label, self._ghost, "ghost", width, rows)
        rest = height - 1
        if rest < 4 + len(below):
            return lines + below[: max(0, rest)]
        return lines + self._chart_lines(width, rest - len(below), frame.interval_s) + below

    def _set_note(self, latency: Latency, interval_s: float) -> None:
        rate = latency.count / interval_s if interval_s > 0 else latency.count
        noun = {"wakeup-probe": "wake-ups", "run-delay": "tasks", "timer-overshoot": "timers"}[latency.source]
        self.note = f"{count(rate)} {noun}/s" if latency.source != "run-delay" else f"{count(latency.count)} {noun}"

    # Numbers

    def _percentiles(self, latency: Latency, width: int) -> Line:
        if latency.p50_us is None:
            return [("nothing waited in this interval", "muted")]
        values = (
            ("p50", latency.p50_us, "p50-text"),
            ("p95", latency.p95_us, "strong"),
            ("p99", latency.p99_us, "p99-text"),
            ("max", latency.max_us, "strong"),
        )
        comparisons = self._comparisons()
        variants: list[Line] = []
        for left_out, gap in (((), "    "), ((), "  "), (("p95",), "  "), (("p95", "max"), "  ")):
            line: Line = []
            for name, value, role in values:
                if value is not None and name not in left_out:
                    line += [(f"{name} ", "muted"), (duration(value) + gap, role)]
            variants += [[*line, comparison] for comparison in comparisons] or [line]
        return fitting(variants, width)

    def _comparisons(self) -> Line:
        """What became of the 99th percentile against the ghost, in words first and then shorter."""
        now = percentile_us(self._recent.total, 99) if self._ghost else None
        if not self._ghost_p99 or now is None:
            return []
        label, ratio = self._ghost_label, now / self._ghost_p99
        if abs(ratio - 1) < _NOISE:
            return [(f"p99 like {label}", "muted"), (f"= {label}", "muted")]
        role = "good" if ratio < 1 else "warning"
        sign = self.glyphs.down if ratio < 1 else self.glyphs.up
        if 0.5 <= ratio <= 2:
            change = f"{abs(ratio - 1) * 100:.0f} %"
            words = "lower" if ratio < 1 else "higher"
            return [(f"{sign} p99 {change} {words} than {label}", role), (f"{sign}{change} vs {label}", role)]
        times = f"{digits(max(ratio, 1 / ratio))}×"
        words = "shorter" if ratio < 1 else "longer"
        return [(f"{sign} p99 {times} {words} than {label}", role), (f"{sign}{times} vs {label}", role)]

    # Chart

    def _chart_lines(self, width: int, rows: int, interval_s: float) -> list[Line]:
        columns = max(4, width - _AXIS)
        with_time = rows >= 6
        rows -= 1 if with_time else 0
        scale = self._chart.scale(columns)
        labels = _axis_labels(scale, rows)
        lines: list[Line] = []
        for row, line in enumerate(self._chart.lines(columns, rows, scale)):
            label = labels.get(row, "")
            tick = self.glyphs.tick if label else self.glyphs.vertical
            lines.append([(f"{label:>{_AXIS - 1}}{tick}", "faint"), *line])
        if with_time:
            lines.append(self._time_line(columns, interval_s))
        return lines

    def _time_line(self, columns: int, interval_s: float) -> Line:
        past = f"{span(columns * 2 * interval_s)} ago"
        key: Line = [("p50 ", "p50"), ("p99", "p99")]
        rest = columns - width_of(past) - 7 - 3
        if rest < 2:
            return []
        left = rest // 2
        return [
            (" " * _AXIS + past + " " * left, "faint"),
            *key,
            (" " * (rest - left) + "now", "faint"),
        ]

    # Distribution

    def _widen(self, histogram: Histogram) -> None:
        """Let the distribution's ends take in ``histogram``; they only ever move outwards, so that eyes can compare."""
        used = [slot for slot, number in enumerate(histogram) if number]
        if used:
            low = math.floor(math.log10(max(lower_bound_ns(used[0]), 100) / 1000))
            high = math.ceil(math.log10(max(lower_bound_ns(used[-1] + 1), 1000) / 1000))
            self._low, self._high = min(self._low, low), max(self._high, min(high, 7))

    def _distribution(self, name: str, histogram: Histogram, role: str, width: int, rows: int) -> list[Line]:
        """``name 1µ ▁▂▅█▇▅▃▂▁▁ 100m``, or higher."""
        label = max(3, width_of(self._ghost_label) if self._ghost else 3)
        low, high = short_duration(10.0**self._low), short_duration(10.0**self._high)
        cells = width - label - 1 - len(low) - len(high) - 2
        if cells < 4:
            return []
        shape = fold(histogram, cells, self._low, self._high)
        highest = max(shape) or 1.0
        heights = [max(1, round(value / highest * 8 * rows)) if value else 0 for value in shape]
        bars = self.glyphs.stacked(heights, rows)
        muted = "ghost" if role == "ghost" else "muted"
        above: list[Line] = [[(" " * (label + len(low) + 2), "text"), (bar, role)] for bar in bars[:-1]]
        return [*above, [(f"{name:<{label}} ", muted), (f"{low} ", "faint"), (bars[-1], role), (f" {high}", "faint")]]


def _source(frame: Frame) -> str:
    return frame.latency.source if frame.latency else ""


def _axis_labels(scale: Scale, rows: int) -> dict[int, str]:
    """Labels by row, from the top: both ends, and the decades between them where there is room."""
    labels = {0: short_duration(10.0**scale.high), rows - 1: short_duration(10.0**scale.low)}
    decades = scale.high - scale.low
    for step in range(1, decades):
        row = round((rows - 1) * (1 - step / decades))
        if all(abs(row - other) >= 2 for other in labels):
            labels[row] = short_duration(10.0 ** (scale.low + step))
    return labels


@lru_cache(maxsize=4)
def fold(histogram: Histogram, cells: int, low: int, high: int) -> tuple[float, ...]:
    """The counts by cell of a logarithmic scale from 10**low to 10**high µs; the end cells take what lies outside."""
    shape = [0.0] * cells
    for slot, number in enumerate(histogram):
        if number:
            for cell, share in _shares(cells, low, high)[min(slot, SLOTS - 1)]:
                shape[cell] += number * share
    return tuple(shape)


@lru_cache(maxsize=8)
def _shares(cells: int, low: int, high: int) -> tuple[tuple[tuple[int, float], ...], ...]:
    """For each slot of a histogram, the cells it falls into and the share of each."""

    def place(ns: int) -> float:
        if ns <= 0:
            return 0.0
        return max(0.0, min(float(cells), (math.log10(ns / 1000) - low) / (high - low) * cells))

    slots: list[tuple[tuple[int, float], ...]] = []
    for slot in range(SLOTS):
        start, end = place(lower_bound_ns(slot)), place(lower_bound_ns(slot + 1))
        first, last = min(cells - 1, int(start)), min(cells - 1, math.ceil(end) - 1)
        if end - start < 1e-9 or first >= last:
            slots.append(((first, 1.0),))
        else:
            slots.append(
                tuple(
                    (cell, (min(end, cell + 1) - max(start, cell)) / (end - start)) for cell in range(first, last + 1)
                )
            )
    return tuple(slots)
