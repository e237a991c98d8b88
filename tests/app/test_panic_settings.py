"""Panic's settings: what the hot key reads is said where it is turned on, and who has no helper is told so."""

from __future__ import annotations

import pytest

from schedtui.backend.helper.protocol import HelperStatus
from schedtui.messages import PanicSettingsSeen
from tests.app.conftest import live, running, screen_text, until

pytestmark = pytest.mark.slow
STATUS = HelperStatus(version=2, program="0", pid=1, since=0.0)


async def test_without_a_helper_the_one_command_of_a_panic_is_named() -> None:
    async with running() as (app, pilot):
        await live(app, pilot)
        app.action_panic_settings()
        await until(pilot, lambda: "echo S | sudo tee" in screen_text(app))
        assert "Hot key on" not in screen_text(app)


async def test_the_hot_keys_scope_stands_beside_its_switch_and_a_latch_can_be_released() -> None:
    async with running() as (app, pilot):
        await live(app, pilot)
        app.action_panic_settings()
        await until(pilot, lambda: "is not installed" in screen_text(app))
        app.screen.post_message(PanicSettingsSeen(STATUS))
        await until(pilot, lambda: "The hot key is off" in screen_text(app))
        for words in ("on every keyboard of this computer", "What it keeps: nothing", "Hot key on"):
            assert words in screen_text(app)
        assert "Release panic" not in screen_text(app)
        latched = HelperStatus(version=2, program="0", pid=1, since=0.0, latched=True, why_latched="F12", hot_key=True)
        app.screen.post_message(PanicSettingsSeen(latched))
        await until(pilot, lambda: "F12: nothing is loaded until you release it" in screen_text(app))
        for words in ("Super+Shift+F12 on any keyboard", "Hot key off", "Release panic"):
            assert words in screen_text(app)
