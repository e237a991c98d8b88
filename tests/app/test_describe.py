"""Describe: plain words lead to a preset with a reason; what is not clear is asked, and nothing runs unproven."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

from textual.pilot import Pilot
from textual.widgets import OptionList

from schedtui.screens.describe import EXAMPLES
from schedtui.screens.verify import VerifyScreen
from tests.app.conftest import screen_text, text_of, until
from tests.app.shelf import shelf
from tests.recordings.pictures import Pictured


@contextlib.asynccontextmanager
async def describing(home: Path, words: str = "") -> AsyncIterator[tuple[Pictured, Pilot[None]]]:
    """The line, with these words in it and enter pressed."""
    app = Pictured("busy-4-eevdf", 3, live=True)
    app.library = shelf(home)
    try:
        async with app.run_test(size=(120, 40)) as pilot:
            await app.played(pilot)
            await pilot.press("d")
            await until(pilot, lambda: app.screen.query_one("#question").has_focus)
            if words:
                app.screen.query_one("#question").value = words
                await pilot.press("enter")
            yield app, pilot
    finally:
        app.close_machines()


def offered(app: Pictured) -> list[str]:
    """The presets that are offered."""
    return [each.id for each in app.screen.query_one("#choices", OptionList).options if each.id]


async def test_plain_words_lead_to_a_preset_and_the_reason_is_shown(home: Path) -> None:
    async with describing(home, "my shooter stutters when chrome is open") as (app, pilot):
        await until(pilot, lambda: offered(app) == ["gaming"])
        text = text_of(app.screen.query_one("#text"))
        assert "Why It sounds like “" in text
        assert "Policy: brisk" in text
        assert "Verify, then apply" in screen_text(app)


async def test_enter_proves_the_policy_before_anything_is_applied(home: Path) -> None:
    async with describing(home, "my shooter stutters when chrome is open") as (app, pilot):
        await until(pilot, lambda: offered(app) == ["gaming"])
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, VerifyScreen))
        assert app._preset_act is None
        await pilot.press("escape")
        await until(pilot, lambda: "Policy: brisk" in screen_text(app))
        assert app._preset_act is None


async def test_words_that_could_mean_anything_are_answered_with_a_question(home: Path) -> None:
    async with describing(home, "hello") as (app, pilot):
        await until(pilot, lambda: "Not sure: which is nearer?" in screen_text(app))
        assert len(offered(app)) <= 2


async def test_escape_leads_back_to_the_words_and_then_out(home: Path) -> None:
    async with describing(home, "my shooter stutters when chrome is open") as (app, pilot):
        await until(pilot, lambda: offered(app) == ["gaming"])
        await pilot.press("escape", "escape")
        assert app.screen.query_one("#question").has_focus
        await pilot.press("escape")
        assert app.screen is app.dashboard


async def test_nothing_said_is_nothing_done(home: Path) -> None:
    async with describing(home, "  ") as (app, pilot):
        await pilot.pause()
        assert offered(app) == []
        assert EXAMPLES[0] in screen_text(app)
