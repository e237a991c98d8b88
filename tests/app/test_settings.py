"""Settings: a form that says what is wrong beside the field, and hands back what differs from the defaults."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from msgspec.structs import replace
from textual.pilot import Pilot

from schedtui.backend.model import Policy, Scheduler, Setting
from schedtui.messages import TrialWanted
from schedtui.screens.library import LibraryChoices
from schedtui.screens.settings import AT_ONCE, WHEN_LOADED, SettingsScreen
from tests.app.conftest import screen_text, until
from tests.app.shelf import NAMED, shelf
from tests.app.test_library import choices_of, choose, details, in_the_library
from tests.app.test_presets import LAB
from tests.recordings.pictures import Pictured

Left = list[dict[str, Setting] | None]


@contextlib.asynccontextmanager
async def setting(
    home: Path, settings: dict[str, Setting], *, running: bool = False
) -> AsyncIterator[tuple[Pictured, Pilot[None], Left]]:
    """The form of a policy with a number, a flag and a text; and what it is left with."""
    app = Pictured("busy-4-eevdf", 3, live=True)
    app.library = shelf(home)
    left: Left = []
    try:
        async with app.run_test(size=(100, 30)) as pilot:
            await app.played(pilot)
            app.push_screen(SettingsScreen(brisk(home), settings, running=running), left.append)
            await pilot.pause()
            yield app, pilot, left
    finally:
        app.close_machines()


def brisk(home: Path) -> Policy:
    """A policy with a number and a flag, and a text that can be changed while it runs."""
    found = shelf(home).policies["brisk"]
    return replace(found, tunables=(*found.tunables, NAMED))


def runs(**settings: Setting) -> Scheduler:
    """The policy runs with these."""
    return Scheduler(sched_ext="enabled", name="brisk_1.0", owner="schedtui", policy="brisk", settings=settings)


@pytest.mark.slow
async def test_what_differs_from_the_defaults_is_handed_back(home: Path) -> None:
    async with setting(home, {}) as (_, pilot, left):
        await pilot.press(*"500", "down", "space", "down", *"doom", "enter")
        assert left == [{"slice_us": 500, "boost": False, "favourite": "doom"}]


@pytest.mark.slow
async def test_without_a_change_nothing_differs(home: Path) -> None:
    async with setting(home, {"boost": False}) as (_, pilot, left):
        await pilot.press("ctrl+r", "enter")
        assert left == [{}]


@pytest.mark.slow
async def test_turning_away_hands_back_nothing(home: Path) -> None:
    async with setting(home, {}) as (_, pilot, left):
        await pilot.press(*"500", "escape")
        assert left == [None]


@pytest.mark.slow
@pytest.mark.parametrize("typed", ["7", "many", "-1", "9" * 30, "0x"])
async def test_what_cannot_be_is_said_beside_the_field_and_not_taken(home: Path, typed: str) -> None:
    async with setting(home, {}) as (app, pilot, left):
        await pilot.press(*typed, "down", "enter")
        line = next(line for line in screen_text(app).splitlines() if "slice_us" in line)
        assert "✗ It takes 500 to 100000 µs." in line
        assert not left
        assert app.focused.has_class("number")
        await pilot.press("ctrl+u", *"900", "enter")
        assert left == [{"slice_us": 900}]


@pytest.mark.slow
async def test_each_field_says_what_it_costs_and_its_default(home: Path) -> None:
    async with setting(home, {"slice_us": 900}) as (app, _, _):
        shown = screen_text(app)
        for words in ("default 20000", "500 to 100000 µs", "What it costs: Whoever waits", "● on", AT_ONCE):
            assert (words in shown) == (words != AT_ONCE)


@pytest.mark.slow
async def test_for_a_policy_that_runs_each_field_says_when_it_changes(home: Path) -> None:
    async with setting(home, {}, running=True) as (app, _, _):
        assert screen_text(app).count(WHEN_LOADED) == 2
        assert screen_text(app).count(AT_ONCE) == 1


@pytest.mark.slow
async def test_what_was_set_is_shown_verified_and_tried(home: Path) -> None:
    async with in_the_library(home) as (app, pilot):
        await choose(app, pilot, "queue")
        await pilot.press("t", *"700", "enter")
        await until(pilot, lambda: "As you set it slice_us = 700 µs" in details(app))
        assert app.screen._policies.policy_of("queue")[1] == {"slice_us": 700}
        chosen = app.screen.choices.chosen("queue")
        assert isinstance(chosen, TrialWanted)
        assert chosen.settings == {"slice_us": 700}


def test_a_policy_that_runs_shows_what_it_runs_with(home: Path) -> None:
    choices = choices_of(home, runs(slice_us=900))
    assert "Runs now\nWith slice_us = 900 µs." in choices.preview("brisk").plain
    assert "slice_us  900 µs (default 20000)" in choices.preview("brisk").plain


def test_live_settings_of_what_runs_change_in_place_and_others_only_by_loading(home: Path) -> None:
    library = shelf(home)
    library.policies["brisk"] = brisk(home)
    choices = LibraryChoices(library, LAB, runs(slice_us=900, favourite="doom"))
    assert choices.changes_in_place("brisk", {"slice_us": 900}) == {"favourite": ""}
    assert choices.changes_in_place("brisk", {"slice_us": 900, "favourite": "quake"}) == {"favourite": "quake"}
    assert choices.changes_in_place("brisk", {"favourite": "quake"}) == {}
    assert choices.changes_in_place("queue", {"slice_us": 900}) == {}
