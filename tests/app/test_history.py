"""The history: everything that was tried is found again, read as a story, applied again, or copied."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from textual.pilot import Pilot

from schedtui.messages import PresetWanted, TrialWanted
from schedtui.screens.history import HistoryChoices, HistoryScreen
from schedtui.screens.story import StoryScreen
from tests.app.conftest import screen_text, text_of, until
from tests.app.past import NOON, P99, fill
from tests.app.shelf import shelf
from tests.app.test_presets import LAB, LATCHED, QUIET
from tests.recordings.pictures import Pictured


@contextlib.asynccontextmanager
async def in_the_history(home: Path) -> AsyncIterator[tuple[Pictured, Pilot[None]]]:
    """The history screen over a lab's recording."""
    app = Pictured("busy-4-eevdf", 3, live=True)
    app.library = shelf(home)
    try:
        async with app.run_test(size=(120, 40)) as pilot:
            await app.played(pilot)
            await pilot.press("h")
            await until(pilot, lambda: isinstance(app.screen, HistoryScreen))
            yield app, pilot
    finally:
        app.close_machines()


def past(home: Path, **circumstances: object) -> HistoryChoices:
    """The choices over the filled store."""
    from schedtui.backend.history import entries

    found = HistoryChoices(shelf(home), LAB, QUIET, NOON)
    found.show_records(entries(fill()))
    for name, value in circumstances.items():
        setattr(found, name, value)
    return found


def first(choices: HistoryChoices, words: str) -> str:
    """The newest entry that holds these words."""
    choices.words = words
    return choices.entries()[0].id


async def test_an_empty_history_says_what_will_be_here(home: Path) -> None:
    async with in_the_history(home) as (app, pilot):
        await until(pilot, lambda: "Nothing was tried here yet" in screen_text(app))


async def test_the_newest_is_first_and_its_story_beside_it(home: Path) -> None:
    fill()
    async with in_the_history(home) as (app, pilot):
        await until(pilot, lambda: "my game stutters" in screen_text(app))
        told = text_of(app.screen.query_one("#text"))
        assert "Understood as: A game that stutters while something is recorded." in told
        assert "between −66 % and −52 %" in told


@pytest.mark.slow
async def test_words_filter_what_is_listed_and_escape_brings_it_back(home: Path) -> None:
    fill()
    async with in_the_history(home) as (app, pilot):
        await until(pilot, lambda: "my game stutters" in screen_text(app))
        await pilot.press("slash", *"builds")
        await until(pilot, lambda: "my game stutters" not in screen_text(app))
        assert "builds should finish sooner" in screen_text(app)
        await pilot.press("escape")
        await until(pilot, lambda: "my game stutters" in screen_text(app))


@pytest.mark.slow
async def test_a_damaged_history_is_told_and_begins_anew(home: Path) -> None:
    store = fill()
    store.path.write_bytes(b"not a database at all, but long enough to be looked at" * 100)
    async with in_the_history(home) as (app, pilot):
        await until(pilot, lambda: "Nothing was tried here yet" in screen_text(app))
    assert list(store.path.parent.glob("*.damaged-*"))


@pytest.mark.slow
async def test_a_story_whose_file_is_gone_says_so(home: Path) -> None:
    async with in_the_history(home) as (app, pilot):
        app.push_screen(StoryScreen("gone", home / "gone.json"))
        await until(pilot, lambda: "gone.json" in screen_text(app))
        await pilot.press("escape")
        await until(pilot, lambda: isinstance(app.screen, HistoryScreen))


def test_trying_again_takes_the_settings_and_the_goal_of_then(home: Path) -> None:
    choices = past(home)
    wanted = choices.chosen(first(choices, "stutters"))
    assert isinstance(wanted, TrialWanted)
    assert (wanted.policy, wanted.settings) == ("brisk", {"slice_us": 2000})
    assert (wanted.class_id, wanted.metric) == ("streaming", P99)


def test_applying_again_at_once_takes_the_settings_of_then(home: Path) -> None:
    choices = past(home)
    wanted = choices.at_once(first(choices, "stutters"))
    assert isinstance(wanted, PresetWanted)
    assert (wanted.preset, wanted.settings) == ("brisk", {"slice_us": 2000})


def test_while_panic_is_latched_it_asks_first(home: Path) -> None:
    choices = past(home, scheduler=LATCHED)
    entry = first(choices, "stutters")
    assert choices.chosen(entry) is None
    assert isinstance(choices.chosen(entry), TrialWanted)


def test_a_policy_that_the_library_lost_cannot_be_applied_again(home: Path) -> None:
    choices = past(home)
    choices._policies = {}
    entry = first(choices, "stutters")
    assert choices.verb(entry) == ""
    assert "no policy brisk any more" in choices.preview(entry).plain


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("stutters", "kept, brisk, −60 %"),
        ("builds", "taken back, queue, +453 %"),
        ("untried", "kept"),
        ("seen", "seen while it ran"),
    ],
    ids=["kept", "reverted", "by-hand", "seen"],
)
def test_each_line_says_how_it_ended(home: Path, words: str, says: str) -> None:
    choices = past(home)
    choices.words = words
    assert any(says in each.remark for each in choices.entries())


@pytest.mark.slow
async def test_an_entry_is_exported_to_a_file(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill()
    monkeypatch.chdir(home)
    async with in_the_history(home) as (app, pilot):
        await until(pilot, lambda: "my game stutters" in screen_text(app))
        await pilot.press("e")
        await until(pilot, lambda: (home / "schedtui-1.json").exists())
        await pilot.press("e")
        await until(pilot, lambda: any("exists already" in each.message for each in app._notifications))
    assert (
        json.loads((home / "schedtui-1.json").read_text())["request"]["words"] == "my game stutters while OBS records"
    )
