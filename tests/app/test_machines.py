"""The machine switch: the machine before stays until the new one is open."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from schedtui.messages import MachineWanted
from tests.app.conftest import live, running, screen_text, text_of, until


@pytest.mark.slow
async def test_lists_this_computer_the_lab_and_the_recordings(recording: Path) -> None:
    async with running() as (app, pilot):
        await live(app, pilot)
        await pilot.press("m")
        await until(pilot, lambda: recording.name in screen_text(app))
        shown = screen_text(app)
        assert "This computer" in shown
        assert "Lab" in shown
        assert "watched now" in shown


@pytest.mark.slow
async def test_the_other_machine_is_chosen_and_explained_before_anything_is_pressed() -> None:
    async with running() as (app, pilot):
        await live(app, pilot)
        await pilot.press("m")
        await until(pilot, lambda: "A real Linux kernel with sched_ext" in " ".join(screen_text(app).split()))
        assert app.screen.query_one("#choices").highlighted_option.id == "lab"


@pytest.mark.slow
async def test_choosing_the_machine_that_is_watched_changes_nothing() -> None:
    async with running() as (app, pilot):
        await live(app, pilot)
        host = app.feed
        await pilot.press("m", "up", "enter")
        assert app.feed is host
        assert not host.closed
        assert app._opening is None


@pytest.mark.slow
async def test_goes_to_a_recording_and_back_with_the_keyboard(recording: Path) -> None:
    async with running() as (app, pilot):
        await live(app, pilot)
        host = app.feed
        await pilot.press("m", "end")
        await until(pilot, lambda: "It plays at the pace" in screen_text(app))
        await pilot.press("enter")
        await until(pilot, lambda: app.info.kind == "replay")
        await until(pilot, lambda: app.screen is app.dashboard)
        assert host.closed
        await pilot.press("m", "enter")
        await until(pilot, lambda: app.info.kind == "host")
        await until(pilot, lambda: app.screen is app.dashboard and app.frame is not None)


@pytest.mark.slow
async def test_says_what_is_wrong_with_a_damaged_recording_and_keeps_the_machine(recording: Path) -> None:
    recording.write_text(recording.read_text().replace('"cpus"', "cpus", 1))
    async with running() as (app, pilot):
        await live(app, pilot)
        await pilot.press("m", "end", "enter")
        await until(pilot, lambda: "What to do" in screen_text(app))
        assert recording.name in screen_text(app)
        assert app.info.kind == "host"
        assert not app.feed.closed
        await pilot.press("escape", "escape")
        assert app.screen is app.dashboard


@pytest.mark.slow
async def test_starting_on_a_damaged_recording_offers_the_other_machines(home: Path) -> None:
    damaged = home / "damaged.jsonl"
    damaged.write_bytes(b"\x00\x01not a recording\n")
    async with running(f"replay:{damaged}") as (app, pilot):
        await until(pilot, lambda: "damaged.jsonl" in screen_text(app))
        await pilot.press("escape", "home", "enter")
        await until(pilot, lambda: app.info is not None and app.info.kind == "host")


@pytest.mark.slow
async def test_a_machine_that_opens_below_the_palette_is_there_when_the_palette_closes(home: Path) -> None:
    slow = home / "slow.jsonl"
    os.mkfifo(slow)
    async with running() as (app, pilot):
        await live(app, pilot)
        await pilot.press("m")
        app.post_message(MachineWanted(f"replay:{slow}"))
        await until(pilot, lambda: "Opening the recording" in screen_text(app))
        await pilot.press("ctrl+p")
        slow.write_bytes(b"")
        await until(pilot, lambda: app._opening_act.state == "failed")
        await pilot.press("escape")
        await until(pilot, lambda: "the file is empty" in screen_text(app))


@pytest.mark.slow
async def test_the_library_and_presets_can_be_read_while_the_machine_opens_and_only_applying_waits(
    home: Path, recording: Path
) -> None:
    slow = home / "slow.jsonl"
    os.mkfifo(slow)
    async with running(f"replay:{slow}") as (app, pilot):
        for key, words in (("l", "Built in"), ("p", "What it costs")):
            await pilot.press(key)
            await until(pilot, lambda words=words: words in screen_text(app))
            await until(pilot, lambda: "is still under way" in text_of(app.screen.query_one("#text")))
            await pilot.press("enter", "enter")
            assert app._preset_act is None
            await pilot.press("escape", "escape")
        await pilot.press("p")
        slow.write_bytes(recording.read_bytes())
        await until(pilot, lambda: app.info is not None)
        await until(pilot, lambda: "Open the lab (m) to try it." in text_of(app.screen.query_one("#text")))


@pytest.mark.slow
async def test_a_recording_that_does_not_exist_is_named() -> None:
    async with running() as (app, pilot):
        await live(app, pilot)
        app.post_message(MachineWanted("replay:/nowhere/at-all.jsonl"))
        await until(pilot, lambda: "at-all.jsonl" in screen_text(app))


async def test_a_machine_that_does_not_exist_is_refused() -> None:
    async with running() as (app, pilot):
        await live(app, pilot)
        app.post_message(MachineWanted("moon"))
        await until(pilot, lambda: "moon" in screen_text(app))
        assert "host, lab or replay:FILE" in screen_text(app)
