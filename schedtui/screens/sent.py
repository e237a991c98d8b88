"""Exactly what was sent to a mind in a request, and what came back: as a story, or as the file that holds it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.screen import Screen
from textual.widgets import Static

from schedtui.backend.errors import SchedtuiError
from schedtui.screens.live import Live
from schedtui.widgets.footer import KeyBar
from schedtui.widgets.stages import error_lines

LONGEST = 400_000
"""Characters that are shown; the file holds the rest."""


class SentScreen(Live, Screen[None]):
    """One trajectory."""

    CSS_PATH = "page.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,x", "dismiss", "Back"),
        Binding("r", "raw", "Story or file"),
    ]

    def __init__(self, path: Path, *, leaves_computer: bool) -> None:
        super().__init__()
        self._path = path
        self._leaves_computer = leaves_computer
        self._raw = False

    def compose(self) -> ComposeResult:
        """The heading, the text, the keys."""
        yield Static(Content("What was sent and said"), id="heading")
        with VerticalScroll(id="page"):
            yield Static("Reading …", id="text", markup=False)
        yield KeyBar()

    async def on_mount(self) -> None:
        """Read it."""
        self.query_one("#page").focus()
        await self._show()

    async def action_raw(self) -> None:
        """The story, or the file as it is."""
        self._raw = not self._raw
        await self._show()

    async def _show(self) -> None:
        where = "left this computer" if self._leaves_computer else "stayed on this computer"
        head = f"All of it {where}. Secrets are masked. The file: {self._path}\n\n"
        try:
            text = await asyncio.to_thread(_read, self._path, self._raw)
            content = Content.assemble((head, "$foreground 65%"), text)
        except SchedtuiError as error:
            content = error_lines(error.message, error.remedy, error.details)
        self.query_one("#text", Static).update(content)
        self.query_one(KeyBar).show([("r", "As a story" if self._raw else "As the file"), ("esc", "Back")])


def _read(path: Path, raw: bool) -> str:
    from schedtui.agent.trajectory import read, story

    if raw:
        import msgspec

        text = msgspec.json.format(msgspec.json.encode(read(path)), indent=1).decode()
    else:
        text = story(path)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}\n… the file holds the rest."
