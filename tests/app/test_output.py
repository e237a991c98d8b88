"""What the scheduler's program prints has a screen of its own."""

from __future__ import annotations

import pytest

from schedtui.screens.output import NOTHING, OutputScreen
from tests.app.conftest import live, running, screen_text, until


@pytest.mark.slow
async def test_without_such_a_program_it_says_that_nothing_is_printed_and_leads_back() -> None:
    async with running() as (app, pilot):
        await live(app, pilot)
        await pilot.press("O")
        await until(pilot, lambda: NOTHING[:40] in screen_text(app))
        await pilot.press("escape")
        await until(pilot, lambda: not isinstance(app.screen, OutputScreen))
