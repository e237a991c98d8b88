"""The plain-ASCII mode for everything that is not drawn by our panels: borders, lists, dialogs, the palette."""

from __future__ import annotations

from rich.cells import cell_len
from rich.segment import Segment
from textual.color import Color
from textual.filter import LineFilter

from schedtui.widgets.glyphs import plain

_LIKENESSES = str.maketrans(
    {
        **dict.fromkeys("─━═▔▁▂▄▀", "-"),
        **dict.fromkeys("│┃║▌▐▊▎▏▕", "|"),
        **dict.fromkeys("╭╮╰╯┌┐└┘┏┓┗┛", "+"),
        **dict.fromkeys("█▉▇▆▅", "#"),
        "●": "*",
        "○": "o",
    }
)


class AsciiFilter(LineFilter):
    """Replaces every sign that is not ASCII by its likeness, cell for cell."""

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:
        """The same segments in ASCII."""
        return [
            segment if segment.control or segment.text.isascii() else Segment(_ascii(segment.text), segment.style)
            for segment in segments
        ]


def _ascii(text: str) -> str:
    alike = text.translate(_LIKENESSES)
    if cell_len(alike) == len(alike):
        return plain(alike)
    return "".join(plain(sign) if cell_len(sign) == 1 else "?" * cell_len(sign) for sign in alike)
