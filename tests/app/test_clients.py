"""Agents at work: what other programs do over MCP is seen on the screens as it happens, and a person's keys reach them.

The server is real and announces over its socket; what is done with a person's wish is written down.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace
from textual.pilot import Pilot
from textual.widgets import OptionList

from schedtui import app as program
from schedtui.agent.events import Answered, Asked, Called, Deployed, Returned
from schedtui.app import SchedtuiApp
from schedtui.clients import AT_WORK_S
from schedtui.mcp.announce import Announcer
from schedtui.screens import clients as screen
from schedtui.screens.clients import ClientsScreen
from schedtui.widgets.header import whom
from schedtui.widgets.timeline import Timeline
from tests.app import tale
from tests.app.agents import CLAUDE, CURSOR, connected
from tests.app.conftest import screen_text, until
from tests.recordings.pictures import Pictured

LOOKS = Called(at_s=1.0, role="observe", tool="processes", arguments={}, title="Looks at the programs")
LOOKED = Returned(at_s=2.0, role="observe", tool="processes", ok=True, summary="12 programs")
TRY = Asked(at_s=3.0, question=tale.TRY)


class Person:
    """Writes down what a person wants."""

    def __init__(self) -> None:
        self.wanted: list[tuple[object, ...]] = []

    def answer(self, client: int, question: str, choice: str) -> str:
        self.wanted.append((client, question, choice))
        return "It was told."

    def take_back(self, client: int | None) -> str:
        self.wanted.append(("take-back", client))
        return "Taken back from claude-code. EEVDF runs there now."

    def give_back(self, client: int | None) -> str:
        self.wanted.append(("give-back", client))
        return "Given back."

    def disconnect(self, client: int) -> str:
        self.wanted.append(("disconnect", client))
        return "Sent away."


@pytest.fixture
def person() -> Person:
    return Person()


@pytest.fixture
def server(home: Path, person: Person) -> Iterator[Announcer]:
    """With claude-code at work."""
    announcer = Announcer("lab", person)
    announcer.start()
    announcer.seen(CLAUDE)
    yield announcer
    announcer.close()


@pytest.fixture(autouse=True)
def no_haste(monkeypatch: pytest.MonkeyPatch) -> None:
    """Servers are looked for at once, and a key answers as soon as the question is there."""
    monkeypatch.setattr(program, "FOLLOWED_AFTER_S", 0.01)
    monkeypatch.setattr(screen, "SURPRISE_S", 0.0)


@contextlib.asynccontextmanager
async def watching() -> AsyncIterator[tuple[SchedtuiApp, Pilot[None]]]:
    """The program, on a recording."""
    app = Pictured("busy-4-eevdf", 3)
    try:
        async with app.run_test(size=(120, 40)) as pilot:
            await app.played(pilot)
            yield app, pilot
    finally:
        app.close_machines()


def words(app: SchedtuiApp) -> str:
    return " ".join(screen_text(app).split())


def toasts(app: SchedtuiApp) -> str:
    """What was told over the screen."""
    return " ".join(f"{each.title} {each.message}" for each in app._notifications)


async def test_the_dashboard_says_who_is_at_work_and_falls_silent_when_they_are_gone(server: Announcer) -> None:
    async with watching() as (app, pilot):
        await until(pilot, lambda: len(app.clients.all) == 1)
        assert "A to look" not in words(app), "who is only connected is not at work"
        server.happened(1, LOOKS)
        await until(pilot, lambda: "claude-code works on a lab: Looks at the programs · A to look" in words(app))
        server.gone(1, "It left.")
        await until(pilot, lambda: "A to look" not in words(app))


@pytest.mark.slow
async def test_what_was_done_before_the_screen_opened_is_shown_and_goes_on(server: Announcer) -> None:
    server.happened(1, LOOKS)
    async with watching() as (app, pilot):
        await until(pilot, lambda: "A to look" in words(app))
        await pilot.press("A")
        await until(pilot, lambda: "Looks at the programs" in words(app) and "calls: 14 of 600 a minute" in words(app))
        server.happened(1, LOOKED)
        await until(pilot, lambda: "12 programs" in words(app))
        await pilot.press("escape")
        await until(pilot, lambda: app.screen is app.dashboard)


@pytest.mark.slow
async def test_a_question_comes_to_the_person_says_who_asks_and_the_answer_goes_back(
    server: Announcer, person: Person
) -> None:
    async with watching() as (app, pilot):
        await until(pilot, lambda: server.attended)
        server.happened(1, TRY)
        await until(pilot, lambda: isinstance(app.screen, ClientsScreen))
        await until(pilot, lambda: "claude-code (Claude Code 2.1) asks, on a lab of its own" in words(app))
        assert "Try brisk?" in words(app)
        await pilot.press("enter")
        await until(pilot, lambda: person.wanted == [(1, "try-1", "yes")])
        server.happened(1, Answered(at_s=4.0, question_id="try-1", choice="yes", by="person"))
        await until(pilot, lambda: "asks, on" not in words(app))


@pytest.mark.slow
async def test_whoever_reads_something_else_is_told_and_not_disturbed(server: Announcer) -> None:
    async with watching() as (app, pilot):
        await until(pilot, lambda: server.attended)
        await pilot.press("question_mark")
        server.happened(1, TRY)
        await until(pilot, lambda: "claude-code: Try brisk?" in toasts(app))
        assert not isinstance(app.screen, ClientsScreen)
        await pilot.press("escape", "A")
        await until(pilot, lambda: "asks, on a lab of its own" in words(app))


@pytest.mark.slow
async def test_one_key_takes_the_machine_back_and_another_gives_it_back(server: Announcer, person: Person) -> None:
    async with watching() as (app, pilot):
        await until(pilot, lambda: len(app.clients.all) == 1)
        await pilot.press("A", "t")
        await until(pilot, lambda: person.wanted == [("take-back", 1)])
        await until(pilot, lambda: "EEVDF runs there now." in toasts(app))
        server.seen(replace(CLAUDE, taken=True))
        await until(pilot, lambda: "g Give it back" in words(app))
        await pilot.press("g")
        await until(pilot, lambda: person.wanted[1:] == [("give-back", 1)])


@pytest.mark.slow
async def test_sending_a_program_away_is_asked_first(server: Announcer, person: Person) -> None:
    async with watching() as (app, pilot):
        await until(pilot, lambda: len(app.clients.all) == 1)
        await pilot.press("A", "x")
        await until(pilot, lambda: "Send claude-code away?" in words(app))
        await pilot.press("escape")
        await until(pilot, lambda: "Send claude-code away?" not in words(app))
        assert person.wanted == []
        await pilot.press("x", "enter")
        await until(pilot, lambda: person.wanted == [("disconnect", 1)])


@pytest.mark.slow
async def test_of_several_programs_the_chosen_one_is_shown(server: Announcer) -> None:
    server.happened(1, LOOKS)
    server.seen(CURSOR)
    server.happened(2, replace(LOOKS, title="Reads the history"))
    async with watching() as (app, pilot):
        await until(pilot, lambda: len(app.clients.all) == 2 and bool(app.clients.all[1].doing))
        await pilot.press("A")
        await until(pilot, lambda: isinstance(app.focused, Timeline))
        await pilot.press("shift+tab")
        await until(pilot, lambda: isinstance(app.focused, OptionList))
        await pilot.press("down")
        await until(pilot, lambda: "Cursor: is connected over MCP" in words(app))
        await pilot.press("home")
        await until(pilot, lambda: "Claude Code 2.1: is connected over MCP" in words(app))


async def test_without_any_the_screen_says_how_to_connect_one(home: Path) -> None:
    async with watching() as (app, pilot):
        await pilot.press("A")
        await until(pilot, lambda: "schedtui mcp --print-config claude" in words(app))


@pytest.mark.slow
async def test_a_server_that_dies_is_forgotten_and_what_its_programs_did_can_still_be_read(server: Announcer) -> None:
    server.happened(1, LOOKS)
    async with watching() as (app, pilot):
        await until(pilot, lambda: bool(app.clients.all) and bool(app.clients.all[0].doing))
        await pilot.press("A")
        server.close()
        await until(pilot, lambda: "Its server ended." in words(app))
        assert "Looks at the programs" in words(app)


def test_who_did_nothing_for_a_while_is_not_at_work_any_more() -> None:
    clients = connected(tale.looked(), others=False)
    (client,) = clients.all
    assert clients.at_work == [client]
    assert not client.is_at_work(clients.now + AT_WORK_S + 1)
    assert connected(tale.proven(), others=False).all[0].is_at_work(clients.now + 10 * AT_WORK_S), "it asks"


def test_whoever_asked_for_a_scheduler_is_named_in_words() -> None:
    assert whom("mcp:claude-code") == "claude-code over MCP"
    assert (whom("person"), whom("offline adviser")) == ("you", "offline adviser")


async def test_what_a_program_keeps_on_this_computer_shows_in_the_header(home: Path, person: Person) -> None:
    announcer = Announcer("host", person)
    announcer.start()
    try:
        async with watching() as (app, pilot):
            assert app.info and app.frame
            app.feed.info = replace(app.info, kind="host")  # type: ignore[union-attr]
            running = replace(app.frame.scheduler, sched_ext="enabled", owner="schedtui", digest="d1", name="brisk")
            announcer.seen(CLAUDE)
            kept = replace(tale.deployed("kept", "brisk was kept."), asked_by="mcp:claude-code", machine="host")
            announcer.happened(1, Deployed(at_s=1.0, deployment=kept))
            await until(pilot, lambda: "claude-code over MCP: brisk kept" in words(app))
            app.dashboard.show_machine(app.info)
            app.dashboard.show_frame(replace(app.frame, scheduler=running))
            app.dashboard.show_deployment(kept)
            await until(pilot, lambda: "(by claude-code over MCP)" in words(app))
    finally:
        announcer.close()
