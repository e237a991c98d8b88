"""Themes: chosen in the palette, remembered, and never a reason not to start."""

from __future__ import annotations

from pathlib import Path

import pytest

from schedtui.config import chosen_theme, config_file, remember_theme
from schedtui.widgets.events import EventPanel
from tests.app.conftest import live, running, screen_text, until


def write_config(text: str) -> None:
    config_file().parent.mkdir(parents=True, exist_ok=True)
    config_file().write_text(text)


@pytest.mark.slow
async def test_a_theme_chosen_in_the_palette_is_worn_and_remembered() -> None:
    async with running() as (app, pilot):
        await live(app, pilot)
        assert app.theme == "schedtui-dark"
        await pilot.press("ctrl+p", *"schedtui-light")
        await until(pilot, lambda: "Theme: schedtui-light" in screen_text(app))
        await pilot.press("down", "enter")
        await until(pilot, lambda: app.theme == "schedtui-light")
        await until(pilot, lambda: chosen_theme() == "schedtui-light")
    async with running() as (app, pilot):
        assert app.theme == "schedtui-light"


async def test_the_theme_of_the_command_line_wins_and_is_not_remembered() -> None:
    remember_theme("schedtui-light")
    async with running(theme="schedtui-contrast") as (app, pilot):
        await live(app, pilot)
        assert app.theme == "schedtui-contrast"
    assert chosen_theme() == "schedtui-light"


def said(app: object) -> str:
    from schedtui.app import SchedtuiApp

    assert isinstance(app, SchedtuiApp)
    return "\n".join(event.text for event in app.dashboard.query_one(EventPanel)._events)


async def test_an_unknown_theme_is_named_and_the_default_worn() -> None:
    async with running(theme="no-such-theme") as (app, pilot):
        await live(app, pilot)
        assert app.theme == "schedtui-dark"
        assert "no-such-theme" in said(app)


@pytest.mark.slow
async def test_damaged_settings_are_named_and_the_default_worn() -> None:
    write_config("theme = ")
    async with running() as (app, pilot):
        await live(app, pilot)
        assert app.theme == "schedtui-dark"
        assert str(config_file()) in said(app)


async def test_a_damaged_theme_of_the_users_own_is_named_and_skipped(home: Path) -> None:
    write_config("")
    broken = config_file().parent / "themes" / "broken.toml"
    broken.parent.mkdir()
    broken.write_text('primary = "no colour"')
    async with running() as (app, pilot):
        await live(app, pilot)
        assert "broken.toml" in said(app)
        assert "broken" not in app.available_themes


def test_remembering_a_theme_keeps_the_rest_of_the_settings() -> None:
    write_config('# mine\nother = 1\n\n[lab]\ntheme = "not this one"\n')
    remember_theme("a")
    remember_theme("b")
    assert chosen_theme() == "b"
    text = config_file().read_text()
    assert "# mine" in text
    assert "other = 1" in text
    assert 'theme = "not this one"' in text
    assert text.count("theme =") == 2
