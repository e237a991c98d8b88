"""Deep dives on their screen: whom they look at, what they ask, and what a machine answers that cannot."""

from __future__ import annotations

from pathlib import Path

import pytest

from schedtui.backend.histogram import slot_of
from schedtui.backend.model import ProbeResult, ProbeRow
from schedtui.screens.probe import ProbeScreen, answer
from tests.app.conftest import live, running, screen_text, until


def result(name: str = "runqlat", *, waker: str = "") -> ProbeResult:
    """Waits of two tasks: some microseconds, and some milliseconds."""
    slots = [0] * 128
    slots[slot_of(12_000)], slots[slot_of(4_500_000)] = 420, 35
    rows = (
        ProbeRow(pid=812, name="game.exe", waker=waker, waker_pid=0, count=35, total_ns=157_500_000, max_ns=9_100_000),
        ProbeRow(
            pid=840, name="obs", waker=waker and "pipewire", waker_pid=7, count=420, total_ns=5_040_000, max_ns=14_000
        ),
    )
    return ProbeResult(
        name=name,
        slots=tuple(slots),
        rows=rows,
        missed=3,
        seconds=5.0,
        compile_s=1.2,
        events=1820,
        cost_ns=2_366_000,
        kernel="6.18.15",
    )


@pytest.mark.slow
async def test_it_looks_at_whoever_waits_most_and_a_widens_it_to_all(recording: Path) -> None:
    async with running(f"replay:{recording}") as (app, pilot):
        await live(app, pilot)
        await pilot.press("b")
        await until(pilot, lambda: isinstance(app.screen, ProbeScreen))
        assert app.frame
        if app.frame.waiters:
            assert app.frame.waiters[0].name in screen_text(app)
        await pilot.press("a")
        await until(pilot, lambda: "every switch of all tasks" in screen_text(app))
        await pilot.press("escape")
        await until(pilot, lambda: app.screen is app.dashboard)


@pytest.mark.slow
async def test_a_recording_says_that_it_holds_no_switches(recording: Path) -> None:
    async with running(f"replay:{recording}") as (app, pilot):
        await live(app, pilot)
        await pilot.press("b", "1")
        await until(pilot, lambda: "holds no switches" in screen_text(app))
        assert "Use this computer or the lab" in screen_text(app)


def test_an_answer_says_where_it_comes_from_what_it_cost_and_what_is_missing() -> None:
    told = answer(result(), "game.exe (812)").plain
    assert "How long tasks wait for a CPU: game.exe (812)" in told
    assert "bcc, every switch for 5 s; it cost 1.3 µs an event" in told
    assert "455 waits" in told
    assert "3 were not timed" in told


def test_the_longest_bar_is_where_most_was_counted() -> None:
    bars = [line for line in answer(result(), "all tasks").plain.splitlines() if "≥" in line]
    assert max(bars, key=len).split()[:4] == ["≥", "8.2", "µs", "420"]


def test_an_idle_cpu_wakes_in_the_name_of_an_interrupt() -> None:
    told = answer(result("wakers", waker="swapper/0"), "all tasks").plain
    assert "an interrupt → game.exe" in told
    assert "pipewire → obs" in told


def test_nothing_counted_is_said() -> None:
    empty = ProbeResult(name="bursts", slots=(), rows=(), missed=0, seconds=5, compile_s=1, kernel="6.18")
    assert "Nothing was counted" in answer(empty, "x").plain
