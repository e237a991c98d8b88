"""The signs that panels draw with: one set for terminals that show Unicode, one for those that do not.

What a sign means and which colour it gets is left to the panels and the palette.
"""

from __future__ import annotations

import locale
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache


@dataclass(frozen=True)
class Glyphs:
    """One set of signs, each a single cell wide."""

    ascii: bool
    fills: str
    """A cell filled from the left, by eighths: nine signs from empty to full."""
    levels: str
    """A cell filled from below, in eight steps from nearly empty to full."""
    corners: str
    """Top left, top right, bottom left, bottom right."""
    horizontal: str
    vertical: str
    tick: str
    """Where an axis carries a label."""
    marker: str
    """The vertical line at which something changed."""
    cursor: str
    up: str
    down: str
    on: str
    off: str
    changing: str
    unavailable: str
    stopped: str
    info: str
    good: str
    warning: str
    bad: str

    def stacked(self, heights: Sequence[int], rows: int) -> list[str]:
        """Columns of the given heights, in eighths of a cell, as ``rows`` lines, the highest first."""
        signs = " " + self.levels
        return [
            "".join([signs[0 if height < base else min(8, height - base)] for height in heights])
            for base in range(8 * (rows - 1), -1, -8)
        ]


UNICODE = Glyphs(
    ascii=False,
    fills=" ▏▎▍▌▋▊▉█",
    levels="▁▂▃▄▅▆▇█",
    corners="╭╮╰╯",
    horizontal="─",
    vertical="│",
    tick="┤",
    marker="┊",
    cursor="▸",
    up="▲",
    down="▼",
    on="●",
    off="○",
    changing="◐",
    unavailable="◌",
    stopped="■",
    info="·",
    good="✓",
    warning="▲",
    bad="✗",
)

ASCII = Glyphs(
    ascii=True,
    fills="   --==##",
    levels="_.:-=+*#",
    corners="++++",
    horizontal="-",
    vertical="|",
    tick="|",
    marker="!",
    cursor=">",
    up="^",
    down="v",
    on="*",
    off="o",
    changing="~",
    unavailable="x",
    stopped="#",
    info="-",
    good="+",
    warning="!",
    bad="X",
)

_PLAIN = str.maketrans("µμ·…–−—“”‘’→←↑↓▲▼×±≤≥≈", "uu-~---\"\"''><^v^vx~<>~")


def plain(text: str) -> str:
    """``text`` in ASCII, cell for cell: common signs by their likeness, all others by a question mark."""
    return text.translate(_PLAIN).encode("ascii", "replace").decode("ascii")


def wants_ascii(environment: Mapping[str, str], encoding: str) -> bool:
    """Whether to draw in ASCII: ``SCHEDTUI_ASCII`` decides (1 or 0), else whether the locale speaks UTF-8."""
    wish = environment.get("SCHEDTUI_ASCII", "")
    if wish:
        return wish not in ("0", "no", "false")
    return encoding.replace("-", "").lower() != "utf8"


@cache
def choose_glyphs() -> Glyphs:
    """The set for this process's terminal, decided once."""
    return ASCII if wants_ascii(os.environ, locale.getpreferredencoding(False)) else UNICODE
