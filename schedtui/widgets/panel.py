"""What all panels share: a frame with a title, lines drawn from data, and repainting only of the lines that changed.

A panel hands out finished strips for its whole area, frame included, instead of going through Textual's borders and
padding: drawing must cost so little that a frame a second takes less than a hundredth of one core. Subclasses keep what
they were shown and answer ``draw``; they fetch nothing and tick never.
"""

from __future__ import annotations

import textwrap
from abc import abstractmethod
from collections.abc import Sequence

from rich.segment import Segment
from textual.geometry import Offset, Region, Size
from textual.strip import Strip
from textual.widget import Widget

from schedtui.widgets.cells import fit, width_of
from schedtui.widgets.glyphs import choose_glyphs, plain
from schedtui.widgets.themes import Palette, palette_of

Span = tuple[str, str]
"""Text and the role that gives it a style (themes.Palette)."""
Line = list[Span]

COMPACT_BELOW = 30
"""Terminal lines below which panels do without sides and bottom."""


class Strips(Widget):
    """A widget that draws whole lines of spans and repaints those that changed."""

    ALLOW_SELECT = False
    filler = "text"
    """The role of the blank rest of a line."""

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self.glyphs = choose_glyphs()
        self._lines: list[Line] = []
        self._strips: list[Strip] = []
        self._drawn_size = Size(0, 0)
        self._palette: Palette | None = None

    @abstractmethod
    def compose_lines(self, width: int, height: int) -> list[Line]:
        """Every line of the widget; shorter ones are filled with blanks, missing ones too."""

    def redraw(self) -> None:
        """Draw again and ask for a repaint of the lines that are not as they were."""
        if not self.is_mounted:
            return
        changed = self._update_lines()
        if changed:
            width = self.size.width
            self.refresh(*(Region(0, y, width, 1) for y in changed))

    def render_lines(self, crop: Region) -> list[Strip]:
        """The strips inside ``crop``, as they were last drawn."""
        if self._drawn_size != self.size or self._palette is not palette_of(self.app):
            self._update_lines()
        strips = self._strips[crop.y : crop.bottom]
        if crop.x or crop.width != self._drawn_size.width:
            strips = [strip.crop(crop.x, crop.right) for strip in strips]
        return strips

    def _update_lines(self) -> list[int]:
        """Bring lines and strips up to date; returns the numbers of the lines that changed."""
        size, palette = self.size, palette_of(self.app)
        width, height = size
        if not width or not height:
            return []
        if size != self._drawn_size or palette is not self._palette:
            self._lines, self._strips = [], []
            self._drawn_size, self._palette = size, palette
        lines = self.compose_lines(width, height)[:height]
        lines += [[] for _ in range(height - len(lines))]
        old, strips = self._lines, self._strips
        changed = [y for y, line in enumerate(lines) if y >= len(old) or line != old[y]]
        for y in changed:
            strips[y : y + 1] = [self.strip_of(y, lines[y], width, palette)]
        self._lines = lines
        return changed

    def strip_of(self, y: int, line: Line, width: int, palette: Palette) -> Strip:
        """Line ``y`` as a strip of ``width`` cells."""
        return Strip(self.segments(line, width, palette), width)

    def segments(self, line: Line, width: int, palette: Palette) -> list[Segment]:
        """A line in exactly ``width`` cells."""
        styles, is_ascii = palette.styles, self.glyphs.ascii
        rest = width
        segments: list[Segment] = []
        for text, role in line:
            length = width_of(text)
            if length > rest:
                text, length = fit(text, rest), rest
            if length:
                segments.append(Segment(plain(text) if is_ascii else text, styles[role]))
                rest -= length
        if rest:
            segments.append(Segment(" " * rest, styles[self.filler]))
        return segments


class Panel(Strips):
    """A framed region with a title, a text at the right of the title, and a note in the lower border.

    In terminals of fewer than ``COMPACT_BELOW`` lines only the title line is left of the frame.
    """

    @abstractmethod
    def draw(self, width: int, height: int) -> list[Line]:
        """The content, at most ``height`` lines of ``width`` cells; neither is less than one.

        Sets ``heading``, ``aside`` and ``note`` too.
        """

    @abstractmethod
    def reset(self) -> None:
        """Forget what was shown: the machine changed."""

    def __init__(self, heading: str, *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self.heading = heading
        self.aside = ""
        """Shown at the right of the title, over the last columns of the content."""
        self.note = ""
        """Shown in the lower border, where there is one."""

    def watch_has_focus(self, has_focus: bool) -> None:
        """The frame shows the focus, so every line changes."""
        super().watch_has_focus(has_focus)
        self._lines.clear()
        self.redraw()

    @property
    def is_compact(self) -> bool:
        """Whether the terminal is so low that the frame is left out."""
        return self.app.size.height < COMPACT_BELOW

    @property
    def inner_offset(self) -> Offset:
        """Where the first cell of the content lies, below the title and within the sides."""
        return Offset(1 if self.is_compact else 2, 1)

    def compose_lines(self, width: int, height: int) -> list[Line]:
        """The lines between the sides of the frame; ``strip_of`` adds the sides."""
        if self.is_compact:
            content = self._content(width - 2, height - 1)
            return [self._title_line(width, "", ""), *content]
        content = self._content(width - 4, height - 2)
        content += [[] for _ in range(height - 2 - len(content))]
        corners = self.glyphs.corners
        return [self._title_line(width, corners[0], corners[1]), *content, self._bottom_line(width)]

    def _content(self, width: int, height: int) -> list[Line]:
        return self.draw(width, height)[:height] if width > 0 and height > 0 else []

    def strip_of(self, y: int, line: Line, width: int, palette: Palette) -> Strip:
        """The line with the sides of the frame."""
        compact = self.is_compact
        if width < 6 or y == 0 or (not compact and y == self.size.height - 1):
            return super().strip_of(y, line, width, palette)
        blank = Segment(" ", palette.styles["text"])
        if compact:
            return Strip([blank, *self.segments(line, width - 2, palette), blank], width)
        side = self.glyphs.vertical
        style = palette.styles[self._frame_role]
        inner = self.segments(line, width - 4, palette)
        return Strip([Segment(side + " ", style), *inner, Segment(" " + side, style)], width)

    @property
    def _frame_role(self) -> str:
        return "frame-focus" if self.has_focus else "frame"

    def _title_line(self, width: int, left: str, right: str) -> Line:
        """``╭ Title ──────── aside ╮``"""
        role = self._frame_role
        room = width - len(left) - len(right)
        heading = f" {fit(self.heading, min(width_of(self.heading), room - 2))} "
        aside = f" {self.aside} " if self.aside else ""
        if width_of(heading) + width_of(aside) > room:
            aside = ""
        rule = self.glyphs.horizontal * (room - width_of(heading) - width_of(aside))
        return [(left, role), (heading, "title"), (rule, role), (aside, "muted"), (right, role)]

    def _bottom_line(self, width: int) -> Line:
        role = self._frame_role
        left, right = self.glyphs.corners[2], self.glyphs.corners[3]
        rule = self.glyphs.horizontal
        note = fit(self.note, width - 6) if width_of(self.note) > width - 6 else self.note
        if not note or width < 12:
            return [(left + rule * (width - 2) + right, role)]
        return [(left + rule * (width - 5 - width_of(note)), role), (f" {note} ", "faint"), (rule + right, role)]


def unavailable(reason: str, width: int) -> list[Line]:
    """The lines that stand where data is missing."""
    text = f"not available: {reason}" if reason else "not available"
    return [[(line, "muted")] for line in textwrap.wrap(text, max(8, width))]


def fitting(variants: Sequence[Line], width: int) -> Line:
    """The first of ``variants`` (most telling first) that fits into ``width`` cells, else the last."""
    for line in variants:
        if sum(width_of(text) for text, _ in line) <= width:
            return line
    return variants[-1]
