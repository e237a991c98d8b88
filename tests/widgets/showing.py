"""An app that shows one widget alone, and what can be read from the terminal then."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from textual.app import App, ComposeResult
from textual.widget import Widget

from schedtui.paths import shipped
from schedtui.widgets.panel import Line
from schedtui.widgets.themes import load_themes


class Alone(App[None]):
    """One widget over the whole terminal, in one of the shipped themes."""

    def __init__(self, widget: Widget, theme: str = "schedtui-dark") -> None:
        super().__init__()
        self.animation_level = "none"
        self.shown = widget
        themes, _ = load_themes([shipped("themes")])
        for each in themes:
            self.register_theme(each)
        self.theme = theme

    def compose(self) -> ComposeResult:
        yield self.shown


def text(lines: list[Line]) -> list[str]:
    """The lines without their styles."""
    return ["".join(part for part, _ in line) for line in lines]


def roles(lines: list[Line], sign: str) -> set[str]:
    """The roles in which a text appears."""
    return {role for line in lines for part, role in line if sign in part}


def screen_text(app: App[Any]) -> list[str]:
    """What stands on the terminal now, line by line."""
    return [strip.text for strip in app.screen._compositor.render_strips()]


def written(folder: Path, name: str, content: str | bytes) -> Path:
    """A new file."""
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path
