"""F12 reaches the machine from everywhere, and says what runs afterwards."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from textual.pilot import Pilot

from schedtui.app import SchedtuiApp
from schedtui.backend.audit import Audit
from schedtui.backend.errors import SchedtuiError
from schedtui.backend.model import Event
from schedtui.messages import MachineWanted
from schedtui.widgets.events import EventPanel
from tests.app.conftest import live, running, screen_text, until
from tests.app.shelf import shelf
from tests.app.trials import trial


def panics(app: SchedtuiApp) -> list[str]:
    """The panics among the events, newest first."""
    return [text for text in events(app) if text.startswith("Panic")]


def events(app: SchedtuiApp) -> list[str]:
    """What happened, newest first."""
    return [event.text for event in app.dashboard.query_one(EventPanel)._events]


async def f12_is_heard(app: SchedtuiApp, pilot: Pilot[None]) -> None:
    before = len(panics(app))
    await pilot.press("f12")
    await until(pilot, lambda: len(panics(app)) > before)


SCREENS = {
    "dashboard": [],
    "presets": ["p"],
    "preset": ["p", "enter"],
    "describe": ["d", "v", "s"],
    "library": ["l"],
    "search": ["l", "slash", "v"],
    "source": ["l", "s"],
    "machine": ["m"],
    "workload": ["w"],
    "help": ["question_mark"],
    "doctor": ["exclamation_mark"],
    "probe": ["b"],
    "palette": ["ctrl+p"],
}


@pytest.mark.slow
async def test_f12_is_heard_on_every_screen() -> None:
    async with running() as (app, pilot):
        await live(app, pilot)
        for keys in SCREENS.values():
            await pilot.press(*keys)
            assert (app.screen is app.dashboard) == (not keys)
            await f12_is_heard(app, pilot)
            while app.screen is not app.dashboard:
                await pilot.press("escape")


@pytest.mark.slow
async def test_f12_is_heard_in_the_palette_while_something_is_typed() -> None:
    async with running() as (app, pilot):
        await live(app, pilot)
        await pilot.press("ctrl+p", "t", "h", "e")
        await f12_is_heard(app, pilot)


@pytest.mark.slow
async def test_f12_is_heard_in_the_dialogs_for_errors_and_events() -> None:
    async with running() as (app, pilot):
        await live(app, pilot)
        app.dashboard.note(Event(time=0, kind="info", text="something"))
        app.dashboard.query_one(EventPanel).focus()
        await pilot.press("enter")
        await f12_is_heard(app, pilot)
        app._show_error(SchedtuiError("It broke.", "Mend it."))
        await pilot.pause()
        await f12_is_heard(app, pilot)


async def test_f12_says_which_scheduler_the_kernel_reports() -> None:
    async with running() as (app, pilot):
        await live(app, pilot)
        await f12_is_heard(app, pilot)
        assert app.info.default_scheduler in panics(app)[0]
        assert "read back from the kernel" in panics(app)[0]
        assert "nothing to take away" in screen_text(app)


async def test_f12_does_not_claim_to_have_changed_a_recording(recording: Path) -> None:
    async with running(f"replay:{recording}") as (app, pilot):
        await live(app, pilot)
        await f12_is_heard(app, pilot)
        assert "this is a recording" in panics(app)[0]
        assert "read back" not in panics(app)[0]


async def test_f12_is_heard_while_a_machine_is_being_opened(home: Path) -> None:
    never = home / "never.jsonl"
    os.mkfifo(never)
    async with running() as (app, pilot):
        await live(app, pilot)
        app.post_message(MachineWanted(f"replay:{never}"))
        await pilot.pause()
        await f12_is_heard(app, pilot)
        os.close(os.open(never, os.O_RDWR))


@pytest.mark.slow
async def test_f12_stands_in_the_audit_log_once_it_is_done_and_told() -> None:
    async with running() as (app, pilot):
        await live(app, pilot)
        await f12_is_heard(app, pilot)
        await until(pilot, lambda: bool(Audit().path.exists() and Audit().entries()))
        (entry,) = Audit().entries()
        assert (entry.actor, entry.act) == ("person", "panic")
        assert entry.details["runs"] == app.info.default_scheduler


@pytest.mark.slow
async def test_f12_works_and_says_so_when_the_log_cannot_be_written() -> None:
    Audit().path.mkdir(parents=True)
    async with running() as (app, pilot):
        await live(app, pilot)
        await f12_is_heard(app, pilot)
        await until(pilot, lambda: "could not be written to the log" in str(events(app)))


@pytest.mark.slow
async def test_f12_in_a_turn_of_the_kernels_own_scheduler_names_the_trial_that_it_ended(home: Path) -> None:
    async with running() as (app, pilot):
        await live(app, pilot)
        app.control.trial = trial(shelf(home), "measuring")
        await f12_is_heard(app, pilot)
        assert "The trial of brisk ended. Just then nothing of it was loaded." in panics(app)[0]
        app.control.trial = None
        await f12_is_heard(app, pilot)
        assert "nothing to take away" in panics(app)[0]
