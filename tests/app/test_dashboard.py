"""The first screen: alive at once, honest about what cannot work here, and usable at any size."""

from __future__ import annotations

from pathlib import Path

import pytest

from schedtui.backend.histogram import SLOTS
from schedtui.backend.model import Event
from schedtui.widgets.cpus import CpuPanel
from schedtui.widgets.events import EventPanel
from schedtui.widgets.glyphs import choose_glyphs
from schedtui.widgets.header import HeaderBar
from schedtui.widgets.latency import LatencyPanel
from schedtui.widgets.waiters import WaitersPanel
from schedtui.widgets.workload import WorkloadPanel
from tests.app.conftest import live, running, screen_text, text_of, until
from tests.recordings.pictures import Pictured


@pytest.mark.slow
async def test_is_alive_with_this_computers_cpus() -> None:
    async with running() as (app, pilot):
        await live(app, pilot)
        first = app.frame.sequence
        await until(pilot, lambda: app.frame.sequence > first)
        assert "%" in text_of(app.dashboard.query_one(CpuPanel))
        assert "waiting for the first sample" not in screen_text(app)


async def test_names_the_scheduler_the_kernel_reports_and_why_no_other_can_be_loaded() -> None:
    async with running() as (app, pilot):
        await live(app, pilot)
        assert app.frame.scheduler.name in text_of(app.dashboard.query_one(HeaderBar))
        shown = " ".join(screen_text(app).split())
        assert app.info.reason in shown
        assert "Press m." in shown


@pytest.mark.slow
@pytest.mark.parametrize("size", [(80, 24), (120, 40), (200, 60)])
async def test_shows_every_panel_at_three_sizes(size: tuple[int, int]) -> None:
    async with running(size=size) as (app, pilot):
        await live(app, pilot)
        shown = screen_text(app)
        for title in ("CPUs", "Who waits", "Pressure", "What happened", "F12 PANIC"):
            assert title in shown


async def test_asks_for_a_larger_terminal_and_comes_back() -> None:
    async with running(size=(60, 20)) as (app, pilot):
        await until(pilot, lambda: "60×20" in screen_text(app))
        assert "80×24" in screen_text(app)
        await pilot.resize_terminal(80, 24)
        await until(pilot, lambda: "CPUs" in screen_text(app))


@pytest.mark.slow
@pytest.mark.parametrize("size", [(1, 1), (10, 3), (79, 24), (80, 23)])
async def test_survives_a_tiny_terminal(size: tuple[int, int]) -> None:
    async with running(size=size) as (app, pilot):
        await live(app, pilot)
        await pilot.press("p")
        await pilot.press("escape")
        assert app.frame is not None


@pytest.mark.slow
async def test_opens_an_event_with_its_details() -> None:
    async with running() as (app, pilot):
        await live(app, pilot)
        app.dashboard.note(Event(time=0, kind="bad", text="It was thrown out", details="line 17: stalled"))
        app.dashboard.query_one(EventPanel).focus()
        await pilot.press("enter")
        await until(pilot, lambda: "line 17: stalled" in screen_text(app))
        await pilot.press("escape")
        assert app.screen is app.dashboard


async def test_shows_a_recording_as_one(recording: Path) -> None:
    async with running(f"replay:{recording}") as (app, pilot):
        await live(app, pilot)
        assert "RECORDED" in text_of(app.dashboard.query_one(HeaderBar))
        assert "This is a recording" in screen_text(app)


@pytest.mark.slow
async def test_in_ascii_mode_every_screen_is_ascii(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCHEDTUI_ASCII", "1")
    choose_glyphs.cache_clear()
    try:
        async with running() as (app, pilot):
            await live(app, pilot)
            for key in ("tab", "p", "m", "w", "question_mark", "exclamation_mark", "ctrl+p"):
                await pilot.press(key)
                await pilot.pause()
                assert screen_text(app).isascii(), screen_text(app)
                await pilot.press("escape", "escape")
    finally:
        choose_glyphs.cache_clear()


async def test_a_latency_that_is_shown_was_measured() -> None:
    async with running() as (app, pilot):
        await live(app, pilot)
        panel = text_of(app.dashboard.query_one(LatencyPanel))
        if app.frame.latency is None:
            assert app.frame.missing["latency"] in " ".join(panel.split())
        else:
            assert len(app.frame.latency.histogram) <= SLOTS
            assert "p99" in panel


@pytest.mark.parametrize("size", [(120, 40), (200, 60)])
async def test_few_cpus_show_their_recent_use_and_leave_room_for_those_who_wait(size: tuple[int, int]) -> None:
    app = Pictured("busy-4-interactive", 10)
    try:
        async with app.run_test(size=size) as pilot:
            await app.played(pilot)
            cpus, waiters = app.dashboard.query_one(CpuPanel), app.dashboard.query_one(WaitersPanel)
            assert cpus.size.height - 2 >= 4 * 3 - 1
            assert waiters.size.height - 2 >= 6
    finally:
        app.close_machines()


@pytest.mark.slow
async def test_at_the_smallest_size_four_cpus_take_a_line_each() -> None:
    app = Pictured("busy-4-interactive", 10)
    try:
        async with app.run_test(size=(80, 24)) as pilot:
            await app.played(pilot)
            assert app.dashboard.query_one(CpuPanel).size.height == 1 + 4
            assert "late" in text_of(app.dashboard.query_one(WorkloadPanel))
    finally:
        app.close_machines()
