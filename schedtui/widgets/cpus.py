"""The CPUs: how much each is used, how fast it runs, how many tasks wait for it.

One bar a CPU while they fit, in as many columns as needed; past that, groups of CPUs that share a last-level cache, one
sign a CPU, of which one can be opened; past that, signs alone.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.events import Click
from textual.geometry import Region

from schedtui.backend.model import CpuSample, Frame, MachineInfo
from schedtui.units import digits, gigahertz
from schedtui.widgets.cells import fit, width_of
from schedtui.widgets.glyphs import Glyphs
from schedtui.widgets.panel import Line, Panel

GROUP_SIZE = 16
"""CPUs in one group at most; a cache that more CPUs share is shown in several groups."""
_COLUMN_GAP = 2
_SMALLEST_BAR = 4
_GOOD_BAR = 10
_HISTORY = 256
_OPEN_HINT = "enter opens a group"
_HISTORY_ROWS = 3


@dataclass(frozen=True)
class CpuGroup:
    """CPUs that are shown together: all that share a cache, or a run of them."""

    name: str
    cpus: tuple[int, ...]

    @property
    def extent(self) -> str:
        """The CPUs as ranges: ``0–7`` or ``0–3,8–11``."""
        return ranges(self.cpus)


def ranges(cpus: Sequence[int]) -> str:
    """Numbers in ascending order as ranges."""
    parts: list[str] = []
    start = 0
    for index in range(1, len(cpus) + 1):
        if index == len(cpus) or cpus[index] != cpus[index - 1] + 1:
            first, last = cpus[start], cpus[index - 1]
            parts.append(str(first) if first == last else f"{first}–{last}")
            start = index
    return ",".join(parts)


def groups_of(info: MachineInfo, cpus: Iterable[int]) -> list[CpuGroup]:
    """The groups in which ``cpus`` are shown, by cache, in the order of their first CPU."""
    cache = {place.cpu: place.llc for place in info.cpus}
    by_cache: dict[int, list[int]] = {}
    for cpu in sorted(cpus):
        by_cache.setdefault(cache.get(cpu, 0), []).append(cpu)
    return [
        CpuGroup(f"L{number}", tuple(members[start : start + GROUP_SIZE]))
        for number, (_, members) in enumerate(sorted(by_cache.items(), key=lambda each: each[1][0]))
        for start in range(0, len(members), GROUP_SIZE)
    ]


class CpuPanel(Panel):
    """Use, clock rate and queue of every CPU."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,left", "choose(-1)", "Previous group", show=False),
        Binding("down,right", "choose(1)", "Next group", show=False),
        Binding("enter", "open", "Open the group", show=False),
        Binding("escape", "close", "All groups", show=False),
    ]

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__("CPUs", id=id, classes=classes)
        self.reset()

    def reset(self) -> None:
        self._info: MachineInfo | None = None
        self._frame: Frame | None = None
        self._samples: dict[int, CpuSample] = {}
        self._cpus: list[int] = []
        self._past: dict[int, deque[float]] = {}
        self._before: dict[int, float] = {}
        self._is_second = False
        self._groups: list[CpuGroup] = []
        self._chosen = 0
        self._opened: CpuGroup | None = None
        self._first_row = 0
        self._is_grouped = False
        self._places: list[tuple[Region, int]] = []
        self.redraw()

    def show(self, info: MachineInfo, frame: Frame) -> None:
        """Draw the CPUs of ``frame``. A CPU that ``info`` knows and the frame does not is offline."""
        self._samples = {sample.cpu: sample for sample in frame.cpus}
        cpus = sorted(self._samples.keys() | {place.cpu for place in info.cpus})
        if cpus != self._cpus or info is not self._info:
            self._cpus, self._groups = cpus, groups_of(info, cpus)
            self._chosen = min(self._chosen, max(0, len(self._groups) - 1))
            self._past = {cpu: self._past.get(cpu) or deque(maxlen=_HISTORY) for cpu in cpus}
        self._remember()
        self._info, self._frame = info, frame
        self.redraw()

    def _remember(self) -> None:
        """Keep the mean of every two frames: twice as far back, and half as often something new to draw."""
        self._is_second = not self._is_second
        for cpu, sample in self._samples.items():
            past = self._past[cpu]
            if self._is_second:
                self._before[cpu] = sample.used_percent
            else:
                past.append((self._before.get(cpu, sample.used_percent) + sample.used_percent) / 2)

    def action_choose(self, step: int) -> None:
        """Move to another group, or through the CPUs of the open one."""
        if self._opened:
            self._first_row += step
        elif self._groups:
            self._chosen = (self._chosen + step) % len(self._groups)
        self.redraw()

    def action_open(self) -> None:
        """Show the CPUs of the chosen group one by one."""
        if self._is_grouped and self._opened is None:
            self._opened, self._first_row = self._groups[self._chosen], 0
            self.redraw()

    def action_close(self) -> None:
        """Back to all groups."""
        self._opened = None
        self.redraw()

    def on_click(self, event: Click) -> None:
        """Choose the group that was clicked; a second click opens it."""
        x, y = event.offset - self.inner_offset
        group = next((group for place, group in self._places if place.contains(x, y)), None)
        if group is None:
            return
        event.stop()
        self._chosen = group
        if event.chain == 2:
            self.action_open()
        self.redraw()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Leave the keys to others while there is nothing to choose."""
        if action == "close":
            return self._opened is not None
        if action in ("choose", "open"):
            return self._is_grouped or self._opened is not None
        return True

    def draw(self, width: int, height: int) -> list[Line]:
        self.heading, self.aside, self.note = "CPUs", "", ""
        self._places = []
        if self._frame is None:
            return [[("waiting for the first sample", "faint")]]
        if not self._cpus:
            return [[("no CPU was reported", "muted")]]
        self.note = self._missing_note()
        if self._opened:
            self.heading = f"CPUs {self._opened.extent} of {len(self._cpus)} · esc: all"
            return self._open_group(self._opened.cpus, width, height)
        bars = self._bars(self._cpus, width, height)
        self._set_grouped(bars is None)
        lines = bars or self._group_lines(width, height) or self._signs(width, height)
        self.heading = self._heading(width - width_of(self.aside) - 3)
        return lines

    def _set_grouped(self, is_grouped: bool) -> None:
        self._is_grouped = is_grouped
        self.can_focus = is_grouped

    def _heading(self, width: int) -> str:
        """What all CPUs come to, in the words that fit."""
        number, mean = len(self._samples), f"{mean_use(self._samples.values()):.0f} % used"
        headings = [f"CPUs · {number} · {mean}", f"CPUs · {mean}", "CPUs"]
        waiting = total_wait(self._samples.values())
        if waiting is not None and waiting >= 50:
            headings.insert(0, f"{headings[0]} · {digits(waiting / 100)} waiting")
        return next((heading for heading in headings if len(heading) <= width), "CPUs")

    def _missing_note(self) -> str:
        assert self._frame is not None
        names = {"frequency": "clock rate", "schedstat": "queue"}
        missing = [(name, self._frame.missing[key]) for key, name in names.items() if self._frame.missing.get(key)]
        return " · ".join(f"{name} not available: {reason}" for name, reason in missing)

    # One bar a CPU

    def _bars(self, cpus: Sequence[int], width: int, height: int) -> list[Line] | None:
        """A bar for every CPU, in the fewest columns; None when they do not fit."""
        label = len(str(cpus[-1]))
        if 2 * len(cpus) <= height + 1:
            return self._with_history(cpus, width, (height + 1) // len(cpus))
        for columns in range(1, len(cpus) + 1):
            rows = -(-len(cpus) // columns)
            cell = (width - _COLUMN_GAP * (columns - 1)) // columns
            if cell < label + 1 + _SMALLEST_BAR + 5:
                return None
            if rows <= height:
                return self._columns(cpus, rows, columns, width)
        return None

    def _open_group(self, cpus: Sequence[int], width: int, height: int) -> list[Line]:
        """The bars of one group, scrolled when there are too many."""
        if bars := self._bars(cpus, width, height):
            return bars
        lines = self._columns(cpus, len(cpus), 1, width)
        self._first_row = max(0, min(self._first_row, len(lines) - height))
        return lines[self._first_row : self._first_row + height]

    def _columns(self, cpus: Sequence[int], rows: int, columns: int, width: int) -> list[Line]:
        cell = (width - _COLUMN_GAP * (columns - 1)) // columns
        spare = width - _COLUMN_GAP * (columns - 1) - cell * columns
        draw_cell, self.aside, _ = self._cell_drawer(len(str(cpus[-1])), cell)
        lines: list[Line] = []
        for row in range(rows):
            line: Line = []
            for column in range(columns):
                index = column * rows + row
                if index >= len(cpus):
                    break
                if column:
                    line.append((" " * (_COLUMN_GAP + (1 if column <= spare else 0)), "text"))
                line += draw_cell(cpus[index])
            lines.append(line)
        return lines

    def _with_history(self, cpus: Sequence[int], width: int, rows: int) -> list[Line]:
        """A bar for every CPU, and under it what it did lately where there is room: ``rows`` lines each."""
        label = len(str(cpus[-1]))
        draw_cell, self.aside, bar = self._cell_drawer(label, width)
        past_rows = min(_HISTORY_ROWS, rows - 2)
        indent = " " * (label + 1)
        lines: list[Line] = []
        for cpu in cpus:
            lines.append(draw_cell(cpu))
            lines += [[(indent + row, "past")] for row in self._history(cpu, bar, past_rows)]
            lines.append([])
        return lines[:-1]

    def _history(self, cpu: int, width: int, rows: int) -> list[str]:
        """The use of the last ``width`` frames as a chart, the highest row first."""
        past = self._past[cpu]
        recent = [past[index] for index in range(max(0, len(past) - width), len(past))]
        blank = " " * (width - len(recent))
        heights = [max(1, round(used * rows * 8 / 100)) for used in recent]
        return [blank + row for row in self.glyphs.stacked(heights, rows)]

    def _cell_drawer(self, label: int, cell: int) -> tuple[Callable[[int], Line], str, int]:
        """What draws one CPU in ``cell`` cells, the headings of its last columns, and the cells of its bar."""
        samples = self._samples.values()
        room = cell - label - 1 - 5
        with_clock = any(sample.frequency_mhz is not None for sample in samples) and room - 6 >= _GOOD_BAR
        room -= 6 if with_clock else 0
        with_queue = any(sample.waiting_percent is not None for sample in samples) and room - 6 >= _GOOD_BAR
        room -= 6 if with_queue else 0
        glyphs = self.glyphs

        def draw_cell(cpu: int) -> Line:
            name = (f"{cpu:>{label}} ", "muted")
            sample = self._samples.get(cpu)
            if sample is None:
                return [name, (fit("offline", room), "faint"), (" " * (cell - label - 1 - room), "text")]
            line = [name, *use_bar(sample.used_percent, room, glyphs)]
            line.append((f"{min(sample.used_percent, 100):4.0f}%", "text"))
            if with_clock:
                mhz = sample.frequency_mhz
                line.append((f"{gigahertz(mhz) if mhz is not None else '–':>6}", "muted"))
            if with_queue:
                line.append(queue_span(sample.waiting_percent))
            return line

        return draw_cell, " used" + "   GHz" * with_clock + " queue" * with_queue, room

    # Groups and signs

    def _group_lines(self, width: int, height: int) -> list[Line] | None:
        """A line for every group with its mean; None when they do not fit."""
        names = [group.name for group in self._groups]
        if len(set(names)) > 1:
            long_names = [f"{fit(group.name, max(map(len, names)))} {group.extent}" for group in self._groups]
        else:
            names = long_names = [group.extent for group in self._groups]
        longest = max(len(group.cpus) for group in self._groups)
        waits_known = any(sample.waiting_percent is not None for sample in self._samples.values())
        for labels in (long_names, names):
            for with_queue in (True, False) if waits_known else (False,):
                least = 2 + max(map(len, labels)) + 1 + longest + 5 + 6 * with_queue
                for columns in (1, 2, 3, 4):
                    rows = -(-len(self._groups) // columns)
                    if rows <= height and least * columns + _COLUMN_GAP * (columns - 1) <= width:
                        self.note = self.note or _OPEN_HINT
                        return self._group_columns(labels, rows, columns, width, with_queue, 2 * rows <= height)
        return None

    def _group_columns(
        self, labels: Sequence[str], rows: int, columns: int, width: int, with_queue: bool, is_airy: bool
    ) -> list[Line]:
        cell = (width - _COLUMN_GAP * (columns - 1)) // columns
        if columns == 1:
            self.aside = " used" + " queue" * with_queue
        lines: list[Line] = []
        for row in range(rows):
            line: Line = []
            for column, index in enumerate(range(row, len(self._groups), rows)):
                if line:
                    line.append((" " * _COLUMN_GAP, "text"))
                self._places.append((Region(column * (cell + _COLUMN_GAP), len(lines), cell, 1), index))
                line += self._group(index, labels, cell, with_queue)
            lines.append(line)
            if is_airy:
                lines.append([])
        return lines

    def _group(self, index: int, labels: Sequence[str], cell: int, with_queue: bool) -> Line:
        """A group in ``cell`` cells: its CPUs by signs, a bar where there is room, the mean and those who wait."""
        group = self._groups[index]
        chosen = self.has_focus and index == self._chosen
        label = fit(labels[index], max(map(len, labels)))
        longest = max(len(each.cpus) for each in self._groups)
        line: Line = [(f"{self.glyphs.cursor if chosen else ' '} {label} ", "strong" if chosen else "muted")]
        line += self._heat(group.cpus, False)
        line.append((" " * (longest - len(group.cpus)), "text"))
        samples = [self._samples[cpu] for cpu in group.cpus if cpu in self._samples]
        mean = mean_use(samples)
        spare = cell - (2 + len(label) + 1 + longest + 5 + 6 * with_queue)
        if spare >= _GOOD_BAR:
            line += [("  ", "text"), *use_bar(mean, spare - 2, self.glyphs)]
        else:
            line.append((" " * spare, "text"))
        line.append((f"{mean:4.0f}%", "text"))
        if with_queue:
            line.append(queue_span(total_wait(samples)))
        return line

    def _signs(self, width: int, height: int) -> list[Line]:
        """One sign a CPU (or for 2, 4, … of them when even that is too much), with the number of a line's first CPU."""
        self.note = self.note or _OPEN_HINT
        label = len(str(self._cpus[-1]))
        room = max(1, width - label - 1)
        in_order = [cpu for group in self._groups for cpu in group.cpus]
        longest = max(len(group.cpus) for group in self._groups)
        chosen: set[int] = set()
        if self.has_focus:
            group = self._groups[self._chosen]
            chosen = set(group.cpus)
            samples = [self._samples[cpu] for cpu in group.cpus if cpu in self._samples]
            self.aside = f"{group.extent} {mean_use(samples):.0f}%"
        for gap in (1, 0):
            per_line = (room + gap) // (longest + gap)
            if per_line and -(-len(self._groups) // per_line) <= height:
                rows = [self._groups[start : start + per_line] for start in range(0, len(self._groups), per_line)]
                self._places = [
                    (Region(label + 1 + column * (longest + gap), y, len(group.cpus), 1), y * per_line + column)
                    for y, row in enumerate(rows)
                    for column, group in enumerate(row)
                ]
                return [self._sign_line([each.cpus for each in row], label, chosen, gap=gap) for row in rows]
        step = 1
        while len(in_order) > room * step * height:
            step *= 2
        if step > 1:
            self.aside = f"one sign = {step} CPUs"
        return [
            self._sign_line([in_order[start : start + room * step]], label, chosen, step=step)
            for start in range(0, len(in_order), room * step)
        ]

    def _sign_line(
        self, groups: Sequence[Sequence[int]], label: int, chosen: set[int], *, step: int = 1, gap: int = 0
    ) -> Line:
        line: Line = [(f"{groups[0][0]:>{label}} ", "muted")]
        for group in groups:
            for start in range(0, len(group), step):
                cpus = group[start : start + step]
                line += self._heat(cpus, not chosen.isdisjoint(cpus), as_one=step > 1)
            line.append((" " * gap, "text"))
        return line[:-1]

    def _heat(self, cpus: Sequence[int], chosen: bool, as_one: bool = False) -> Line:
        """A sign for each CPU, or one for the mean of all: higher and warmer the more it is used."""
        if as_one:
            samples = [self._samples[cpu] for cpu in cpus if cpu in self._samples]
            uses: list[float | None] = [mean_use(samples) if samples else None]
        else:
            uses = [self._samples[cpu].used_percent if cpu in self._samples else None for cpu in cpus]
        prefix = "cursor-" if chosen else "heat-"
        line: Line = []
        for used in uses:
            if used is None:
                sign, role = " ", prefix + "idle"
            else:
                sign, role = self.glyphs.levels[min(7, int(used / 12.5))], prefix + level_of(used)
            if line and line[-1][1] == role:
                line[-1] = (line[-1][0] + sign, role)
            else:
                line.append((sign, role))
        return line


def mean_use(samples: Iterable[CpuSample]) -> float:
    """Mean use in percent; 0 without samples."""
    uses = [sample.used_percent for sample in samples]
    return sum(uses) / len(uses) if uses else 0.0


def total_wait(samples: Iterable[CpuSample]) -> float | None:
    """What the CPUs' waiting tasks add up to, in percent of the interval; None when no CPU knows."""
    waits = [sample.waiting_percent for sample in samples if sample.waiting_percent is not None]
    return sum(waits) if waits else None


def level_of(used_percent: float) -> str:
    """The step of use that a colour stands for."""
    if used_percent < 2:
        return "idle"
    return "low" if used_percent < 50 else "mid" if used_percent < 85 else "high"


def use_bar(used_percent: float, width: int, glyphs: Glyphs) -> Line:
    """A bar of ``width`` cells in steps of an eighth of a cell; never quite empty when there is some use."""
    eighths = min(8 * width, round(used_percent / 100 * width * 8))
    if not eighths and used_percent >= 0.5:
        eighths = 1
    full, part = divmod(eighths, 8)
    text = glyphs.fills[8] * full + (glyphs.fills[part] if part else "")
    role = "bar-" + level_of(max(2.0, used_percent))
    return [(text, role), (" " * (width - len(text)), "track")] if text else [(" " * width, "track")]


def queue_span(waiting_percent: float | None) -> tuple[str, str]:
    """How many tasks waited on average, in six cells."""
    if waiting_percent is None:
        return ("     –", "faint")
    tasks = waiting_percent / 100
    if tasks < 0.05:
        return ("     0", "faint")
    return (f"{digits(tasks):>6}", "wait" if tasks >= 0.5 else "muted")
