"""“Who runs what”, on a computer without the helper: it says who, and what the rest needs."""

from __future__ import annotations

import pytest

from schedtui.screens.owner import OwnerScreen
from tests.app.conftest import live, running, screen_text, until


@pytest.mark.slow
async def test_says_who_runs_what_and_what_taking_over_needs() -> None:
    async with running() as (app, pilot):
        await live(app, pilot)
        await pilot.press("o")
        await until(pilot, lambda: isinstance(app.screen, OwnerScreen) and "the kernel's own" in screen_text(app))
        assert "Take over" not in screen_text(app)
        await pilot.press("t")
        await until(pilot, lambda: "sudo schedtui setup" in screen_text(app))
        await pilot.press("z")
        await until(pilot, lambda: "needs schedtui's helper" in screen_text(app))
        await pilot.press("enter", "p", "escape")
        await until(pilot, lambda: app.screen is app.dashboard)
