"""Text in the cells of a terminal, of which some characters take two."""

from __future__ import annotations

import re

from rich.cells import cell_len, set_cell_size

_NARROW = re.compile("[ -~\u00a1-\u00ac\u00ae-\u02ff\u2010-\u2027\u2190-\u21ff\u2500-\u25fc\u2800-\u28ff]*")
"""Text that surely takes a cell a character; all that panels draw with is of this kind."""


def fit(text: str, width: int) -> str:
    """``text`` in exactly ``width`` cells, cut with an ellipsis or filled with blanks, without control characters."""
    if width <= 0:
        return ""
    if not text.isprintable():
        text = "".join(each if each.isprintable() else "?" for each in text)
    length = width_of(text)
    if length > width:
        return set_cell_size(text, width - 1) + "…"
    return text + " " * (width - length)


def width_of(text: str) -> int:
    """Cells that ``text`` takes."""
    return len(text) if _NARROW.fullmatch(text) else cell_len(text)
