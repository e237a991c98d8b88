"""A policy's source, highlighted: for whoever wants to see how it decides. Reads one file; changes nothing."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.highlight import HighlightTheme, highlight
from textual.screen import Screen
from textual.widgets import Static

from schedtui.screens.live import Live
from schedtui.widgets.footer import KeyBar
from schedtui.widgets.stages import error_lines

LARGEST_BYTES = 1_000_000


class SourceTheme(HighlightTheme):
    """Quiet colours, of whichever theme is chosen: comments lead, keywords follow, names are plain text."""

    STYLES = {  # noqa: RUF012  Textual declares it as no ClassVar
        ("Comment",): "italic $text-success",
        ("Comment", "Preproc"): "$text-accent",
        ("Comment", "PreprocFile"): "$text-warning",
        ("Keyword",): "bold $text-primary",
        ("Keyword", "Type"): "$text-primary",
        ("Name",): "$foreground",
        ("Name", "Function"): "bold $foreground",
        ("Literal", "Number"): "$text-warning",
        ("Literal", "String"): "$text-warning",
    }


class SourceScreen(Live, Screen[None]):
    """One file with the numbers of its lines."""

    CSS_PATH = "source.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,q,s", "dismiss", "Back")]

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path

    def compose(self) -> ComposeResult:
        """One text that scrolls both ways."""
        yield Static(f"Source · {self._path.name}", id="heading", markup=False)
        with VerticalScroll(id="page"):
            yield Static(_content(self._path), id="code")
        yield KeyBar((("esc", "Back"),))

    def on_mount(self) -> None:
        """Arrows scroll it."""
        self.query_one("#page").focus()


def numbered(code: str) -> Content:
    """C with the numbers of its lines; control characters, which could draw elsewhere, are shown as ``?``."""
    printable = "".join(sign if sign.isprintable() or sign == "\n" else "?" for sign in code.expandtabs(8))
    lines = highlight(printable.rstrip("\n"), language="c", theme=SourceTheme).split("\n", allow_blank=True)
    width = len(str(len(lines)))
    return Content("\n").join(
        Content.assemble((f"{number:>{width}}  ", "$foreground 45%"), line) for number, line in enumerate(lines, 1)
    )


def coloured(diff: str) -> Content:
    """Changes, with what is new and what goes in colours of their own."""
    styles = {"+": "$text-success", "-": "$text-error", "@": "$text-accent"}
    return Content("\n").join(Content.styled(line, styles.get(line[:1], "")) for line in diff.splitlines())


def _content(path: Path) -> Content:
    try:
        with path.open("rb") as file:
            data = file.read(LARGEST_BYTES + 1)
    except OSError as error:
        return error_lines(
            f"{path.name} cannot be read: {error.strerror}.", "Look at its folder’s permissions.", str(path)
        )
    if len(data) > LARGEST_BYTES:
        return error_lines(f"{path.name} is too large to be shown.", "Open it in an editor.", str(path))
    return numbered(data.decode(errors="replace"))
