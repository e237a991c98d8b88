"""A chart of two values over time, in braille: filled to the lower, stippled from there to the upper.

The scale is logarithmic. Two samples share a column of cells; columns are kept, so that a new sample costs one column.
What the values mean, and how the axis is labelled, is left to the panel.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass

from schedtui.widgets.panel import Line

_LEFT = (0x00, 0x40, 0x44, 0x46, 0x47)
_RIGHT = (0x00, 0x80, 0xA0, 0xB0, 0xB8)
_STIPPLE = 0x40 | 0x20 | 0x02 | 0x08
_HISTORY = 1024

Sample = tuple[float, float] | None
"""The lower and the upper value, or None where nothing was measured."""


@dataclass(frozen=True)
class Scale:
    """A logarithmic scale between two decades: 10**low to 10**high."""

    low: int
    high: int

    def dots(self, value: float, height: int) -> int:
        """How many of ``height`` dots a value fills, at least one."""
        if value <= 0:
            return 1
        share = (math.log10(value) - self.low) / (self.high - self.low)
        return max(1, min(height, round(share * height)))


class BandChart:
    """The samples of the last minutes, and the columns of cells drawn from them."""

    def __init__(self, marker: str, is_ascii: bool) -> None:
        self._marker = marker
        self._is_ascii = is_ascii
        self._samples: deque[Sample] = deque(maxlen=_HISTORY)
        self._marks: dict[int, str] = {}
        self._count = 0
        self._cells: dict[int, list[tuple[str, str]]] = {}
        self._cells_key: tuple[Scale, int] | None = None

    def __len__(self) -> int:
        return self._count

    def add(self, sample: Sample, mark: str | None = None) -> None:
        """Append a sample; with ``mark``, something changed with it."""
        if mark is not None:
            self._marks[self._count // 2] = mark
        self._samples.append(sample)
        self._cells.pop(self._count // 2, None)
        self._count += 1
        first = (self._count - _HISTORY) // 2
        if first in self._marks:
            del self._marks[first]

    def scale(self, columns: int) -> Scale:
        """The decades that the last ``columns`` columns need, two at least."""
        visible = [sample for sample in self._last(2 * columns) if sample]
        if not visible:
            return Scale(0, 3)
        low = math.floor(math.log10(max(1e-3, min(sample[0] for sample in visible))))
        high = math.ceil(math.log10(max(1e-3, max(sample[1] for sample in visible))))
        return Scale(low, max(high, low + 2))

    def lines(self, columns: int, rows: int, scale: Scale) -> list[Line]:
        """The newest ``columns`` columns as ``rows`` lines, the highest first."""
        if self._cells_key != (scale, rows):
            self._cells.clear()
            self._cells_key = (scale, rows)
        last = (self._count + 1) // 2
        first = max(0, last - columns, (self._count - len(self._samples) + 1) // 2)
        drawn = [self._column(number, rows, scale) for number in range(first, last)]
        for number in [number for number in self._cells if number < first]:
            del self._cells[number]
        blank = columns - len(drawn)
        lines: list[Line] = []
        for row in range(rows):
            line: Line = [(" " * blank, "text")] if blank else []
            text, role = "", ""
            for column in drawn:
                sign, sign_role = column[row]
                if sign_role != role and sign != " ":
                    if text:
                        line.append((text, role or "text"))
                    text, role = sign, sign_role
                else:
                    text += sign
            if text:
                line.append((text, role or "text"))
            lines.append(line)
        if lines:
            lines[0] = self._labelled(lines[0], first, last, columns)
        return lines

    def _last(self, number: int) -> list[Sample]:
        start = max(0, len(self._samples) - number)
        return [self._samples[index] for index in range(start, len(self._samples))]

    def _sample(self, number: int) -> Sample:
        index = number - (self._count - len(self._samples))
        return self._samples[index] if 0 <= index < len(self._samples) else None

    def _column(self, number: int, rows: int, scale: Scale) -> list[tuple[str, str]]:
        if (kept := self._cells.get(number)) is not None:
            return kept
        total = 4 * rows
        heights = [
            (scale.dots(sample[0], total), scale.dots(sample[1], total)) if sample else (0, 0)
            for sample in (self._sample(2 * number), self._sample(2 * number + 1))
        ]
        cells = [self._cell(heights[0], heights[1], 4 * (rows - 1 - row)) for row in range(rows)]
        if number in self._marks:
            cells = [(sign, role) if role == "p50" else (self._marker, "marker") for sign, role in cells]
        self._cells[number] = cells
        return cells

    def _cell(self, left: tuple[int, int], right: tuple[int, int], base: int) -> tuple[str, str]:
        """The sign of the cell whose lowest dot is ``base`` dots above the ground."""
        low_left, low_right = _inside(left[0] - base), _inside(right[0] - base)
        high_left, high_right = _inside(left[1] - base), _inside(right[1] - base)
        solid = _LEFT[low_left] | _RIGHT[low_right]
        band = _LEFT[high_left] | _RIGHT[high_right]
        if not band and not solid:
            return " ", ""
        edge = _edge(_LEFT, left[1] - base) | _edge(_RIGHT, right[1] - base)
        role = "p50" if solid else "p99"
        if self._is_ascii:
            return "#" if solid else ":", role
        return chr(0x2800 | solid | band & _STIPPLE | edge), role

    def _labelled(self, line: Line, first: int, last: int, columns: int) -> Line:
        """``line`` with the names of what changed, each beside its marker."""
        marks = [(number, self._marks[number]) for number in sorted(self._marks) if first <= number < last]
        if not marks:
            return line
        text = "".join(part for part, _ in line)
        roles = [role for part, role in line for _ in part]
        signs = list(text)
        for place, (number, label) in enumerate(marks):
            at = columns - (last - number)
            end = columns - (last - marks[place + 1][0]) if place + 1 < len(marks) else columns
            if at + 1 + len(label) <= end:
                start = at + 1
            elif place == len(marks) - 1 and at - len(label) >= 0:
                start = at - len(label)
            else:
                label, start = label[: max(0, end - at - 1)], at + 1
            signs[at], roles[at] = self._marker, "marker"
            for offset, sign in enumerate(label):
                signs[start + offset], roles[start + offset] = sign, "marker"
        return _runs(signs, roles)


def _inside(dots: int) -> int:
    return 0 if dots < 0 else 4 if dots > 4 else dots


def _edge(bits: tuple[int, ...], dots: int) -> int:
    """The single dot at the top of a bar, when it lies in this cell."""
    return bits[dots] & ~bits[dots - 1] if 1 <= dots <= 4 else 0


def _runs(signs: list[str], roles: list[str]) -> Line:
    line: Line = []
    for sign, role in zip(signs, roles, strict=True):
        if line and line[-1][1] == role:
            line[-1] = (line[-1][0] + sign, role)
        else:
            line.append((sign, role))
    return line
