"""The whole road in a real lab, by keyboard: library, verify, report, apply."""

from __future__ import annotations

import pytest

from schedtui.screens.trial import TrialScreen
from schedtui.screens.verify import VerifyScreen
from tests.app.conftest import screen_text, until
from tests.app.test_lab_walk import LAB_PATIENCE_S, guests, in_the_lab

pytestmark = [pytest.mark.lab, pytest.mark.soak, pytest.mark.matrix]


async def test_a_policy_is_found_left_alone_proven_and_applied() -> None:
    async with in_the_lab() as (app, pilot):
        await pilot.press("l")
        await until(pilot, lambda: "Built in" in screen_text(app))
        await pilot.press("slash", *"first come", "enter")
        await until(pilot, lambda: "First come, first served  fifo" in screen_text(app))
        await pilot.press("v")
        await until(pilot, lambda: isinstance(app.screen, VerifyScreen))
        await until(pilot, lambda: len(guests()) == 2, LAB_PATIENCE_S)
        await pilot.press("escape")
        await until(pilot, lambda: len(guests()) == 1, LAB_PATIENCE_S)  # the one that is watched
        assert app.frame.scheduler.sched_ext == "disabled"
        await pilot.press("v")
        await until(pilot, lambda: isinstance(app.screen, VerifyScreen))
        # Reading the whole screen all the time would take CPU time from what is being measured.
        await until(pilot, lambda: not app.screen._is_running, 2 * LAB_PATIENCE_S)
        assert "fifo passed on Linux 6.18" in screen_text(app), screen_text(app)
        assert "EEVDF" in screen_text(app)
        await pilot.press("escape")
        await until(pilot, lambda: "proven" in screen_text(app))
        await pilot.press("v")
        await until(pilot, lambda: "fifo passed" in screen_text(app), LAB_PATIENCE_S)
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, TrialScreen))
        await pilot.press("a")
        await until(pilot, lambda: app.screen is app.dashboard, LAB_PATIENCE_S)
        assert app.frame.scheduler.policy == "fifo"
        await pilot.press("u")
        await until(pilot, lambda: app.frame.scheduler.sched_ext == "disabled", LAB_PATIENCE_S)
