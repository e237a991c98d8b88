"""Describe: words become a request, its timeline can be read while it grows, and a person answers what it asks."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterable
from pathlib import Path

import pytest
from textual.pilot import Pilot
from textual.widgets import Input

from schedtui.agent import events as happened
from schedtui.agent.events import AnyEvent, Ended
from schedtui.asking import Asking
from schedtui.messages import AskingEnded, AskingTold, ReplyGiven, RequestWanted, SteeringGiven, StopWanted
from schedtui.screens import describe
from schedtui.screens.describe import EXAMPLES, DescribeScreen
from schedtui.widgets.timeline import Piece
from tests.app import tale
from tests.app.conftest import screen_text, text_of, until
from tests.app.shelf import shelf
from tests.recordings.pictures import Pictured


class Listening(Pictured):
    """The program, which writes down what the screens want of it and does none of it."""

    def __init__(self) -> None:
        super().__init__("busy-4-eevdf", 3, live=True)
        self.wanted: list[object] = []

    def on_request_wanted(self, message: RequestWanted) -> None:
        """Written down."""
        message.prevent_default()
        self.wanted.append(message.words)

    def on_reply_given(self, message: ReplyGiven) -> None:
        """Written down."""
        message.prevent_default()
        self.wanted.append((message.question_id, message.choice))

    def on_steering_given(self, message: SteeringGiven) -> None:
        """Written down."""
        message.prevent_default()
        self.wanted.append(message.words)

    def on_stop_wanted(self, message: StopWanted) -> None:  # type: ignore[override]
        """Written down."""
        message.prevent_default()
        self.wanted.append(StopWanted)


@contextlib.asynccontextmanager
async def describing(
    home: Path, events: Iterable[AnyEvent] | None = None, *, size: tuple[int, int] = (120, 40)
) -> AsyncIterator[tuple[Listening, Pilot[None], Asking | None]]:
    """The screen; with a request in which ``events`` happened so far."""
    app = Listening()
    app.library = shelf(home)
    try:
        async with app.run_test(size=size) as pilot:
            await app.played(pilot)
            asking = None
            if events is not None:
                asking, _ = tale.asking(events)
                if asking.ended:
                    asking.close()
                assert app.control
                app.control.asking = asking
            await pilot.press("d")
            await until(pilot, lambda: isinstance(app.screen, DescribeScreen))
            await pilot.pause()
            yield app, pilot, asking
    finally:
        app.close_machines()


@pytest.fixture(autouse=True)
def no_haste(monkeypatch: pytest.MonkeyPatch) -> None:
    """A key answers as soon as the question is there."""
    monkeypatch.setattr(describe, "SURPRISE_S", 0.0)


def asked(app: Pictured) -> list[Asking]:
    """The request that the program works on, if there is one."""
    return [app.control.asking] if app.control and app.control.asking else []


def story(app: Listening) -> str:
    return " ".join(text_of(piece) for piece in app.screen.query(Piece))


@pytest.mark.slow
async def test_plain_words_become_a_request(home: Path) -> None:
    async with describing(home) as (app, pilot, _):
        app.screen.query_one("#question", Input).value = "  my shooter   stutters "
        await pilot.press("enter")
        await until(pilot, lambda: app.wanted == ["my shooter stutters"])


@pytest.mark.slow
async def test_who_does_not_know_what_to_write_takes_an_example(home: Path) -> None:
    async with describing(home) as (app, pilot, _):
        assert EXAMPLES[0] in screen_text(app)
        await pilot.press("down", "down", "enter")
        await until(pilot, lambda: app.wanted == [EXAMPLES[1]])


@pytest.mark.slow
async def test_nothing_said_is_nothing_asked(home: Path) -> None:
    async with describing(home) as (app, pilot, _):
        await pilot.press("1", "question_mark", "enter")
        await pilot.pause()
        assert app.wanted == []
        await pilot.press("escape")
        assert app.screen is app.dashboard


@pytest.mark.slow
async def test_a_proposal_says_what_why_and_at_what_risk_and_enter_tries_it(home: Path) -> None:
    async with describing(home, tale.proven()) as (app, pilot, _):
        card = text_of(app.screen.query_one("#asked"))
        assert "What: brisk with slice_us = 500" in card
        assert "Expected: Frames come on time" in card
        assert "Risk: What only computes" in card
        await pilot.press("enter")
        await until(pilot, lambda: app.wanted == [("try-1", "yes")])


@pytest.mark.slow
async def test_escape_leaves_everything_as_it_is(home: Path) -> None:
    async with describing(home, tale.proven()) as (app, pilot, _):
        await pilot.press("escape")
        await until(pilot, lambda: app.wanted == [("try-1", "no")])
        assert isinstance(app.screen, DescribeScreen)


@pytest.mark.slow
async def test_a_key_meant_for_what_stood_there_before_answers_nothing(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(describe, "SURPRISE_S", 3600.0)
    async with describing(home, tale.proven()) as (app, pilot, _):
        await pilot.press("enter")
        await pilot.pause()
        assert app.wanted == []


@pytest.mark.slow
async def test_the_report_and_the_source_are_a_key_away(home: Path) -> None:
    async with describing(home, tale.proven()) as (app, pilot, _):
        await pilot.press("v")
        await until(pilot, lambda: "What was looked at" in screen_text(app))
        await pilot.press("escape", "s")
        await until(pilot, lambda: "brisk_enqueue" in screen_text(app) or "Source" in screen_text(app))
        assert app.wanted == []


@pytest.mark.slow
async def test_a_result_counts_down_and_enter_keeps_it(home: Path) -> None:
    async with describing(home, tale.kept_or_not()) as (app, pilot, _):
        card = text_of(app.screen.query_one("#asked"))
        assert "30 s, then by itself: take it away" in card
        assert "before 12 ms" in story(app) and "after 4.7 ms" in story(app)
        await pilot.press("enter")
        await until(pilot, lambda: app.wanted == [("keep-1", "keep")])


@pytest.mark.slow
async def test_a_result_can_be_taken_away_at_once(home: Path) -> None:
    async with describing(home, tale.kept_or_not()) as (app, pilot, _):
        await pilot.press("r")
        await until(pilot, lambda: app.wanted == [("keep-1", "revert")])


@pytest.mark.slow
async def test_words_that_fit_nothing_are_asked_back_by_number(home: Path) -> None:
    async with describing(home, tale.unknown()) as (app, pilot, _):
        assert "2 Games" in text_of(app.screen.query_one("#asked"))
        await pilot.press("2")
        await until(pilot, lambda: app.wanted == [("clarify", "gaming")])


@pytest.mark.slow
async def test_it_can_be_told_something_more_while_it_works(home: Path) -> None:
    async with describing(home, tale.proving()) as (app, pilot, _):
        await pilot.press("slash")
        await until(pilot, lambda: app.screen.query_one("#question").has_focus)
        await pilot.press(*"no lag", "enter")
        await until(pilot, lambda: app.wanted == ["no lag"])


@pytest.mark.slow
async def test_leaving_while_it_works_asks_whether_to_stop_it(home: Path) -> None:
    async with describing(home, tale.proving()) as (app, pilot, _):
        await pilot.press("escape")
        assert "It is still at work" in screen_text(app)
        await pilot.press("escape")
        assert "It is still at work" not in screen_text(app)
        await pilot.press("escape", "enter")
        await until(pilot, lambda: app.wanted == [StopWanted])
        await pilot.press("escape", "d")
        await until(pilot, lambda: app.screen is app.dashboard)
        await pilot.press("d")
        await until(pilot, lambda: "Proves brisk" in screen_text(app))


@pytest.mark.slow
async def test_what_was_taken_away_is_told_with_its_numbers_once(home: Path) -> None:
    ended: list[AnyEvent] = [
        happened.Deployed(at_s=31.0, deployment=tale.deployed("reverted", "The kernel threw brisk out. EEVDF runs.")),
        happened.Measured(at_s=31.0, comparison=tale.compared("inconclusive"), side="after", final=True),
    ]
    async with describing(home, [*tale.measuring(), *ended]) as (app, _, _):
        told = story(app)
        assert "The kernel threw brisk out" in told
        assert told.count("before 12 ms") == 1
        assert "verdict not sure" in told


@pytest.mark.slow
async def test_details_open_and_close(home: Path) -> None:
    async with describing(home, tale.looked()) as (app, pilot, _):
        await pilot.press("up", "space")
        await until(pilot, lambda: "obs 3.1 ms/s" in story(app))
        await pilot.press("space")
        await until(pilot, lambda: "obs 3.1 ms/s" not in story(app))


@pytest.mark.slow
async def test_the_cost_is_shown_against_what_may_be_spent(home: Path) -> None:
    async with describing(home, tale.proven()) as (app, _, _):
        budget = text_of(app.screen.query_one("#budget"))
        assert "$0.024 of $0.25" in budget
        assert "6 of 25 calls" in budget
        assert "13k of 120k tokens" in budget


@pytest.mark.slow
async def test_what_happens_is_drawn_as_it_happens(home: Path) -> None:
    async with describing(home, tale.planned()) as (app, pilot, asking):
        assert asking is not None
        for event in tale.proven()[len(tale.planned()) :]:
            asking.add(event)
        assert isinstance(app.screen, DescribeScreen)
        app.screen.show_asking(asking)
        await until(pilot, lambda: "Try brisk?" in text_of(app.screen.query_one("#asked")))


@pytest.mark.slow
async def test_the_end_is_told_with_both_numbers_and_seen_once(home: Path) -> None:
    async with describing(home, tale.kept(), size=(80, 24)) as (app, pilot, asking):
        assert asking is not None
        await until(pilot, lambda: "12 ms → 4.7 ms" in screen_text(app))
        assert asking.seen
        await pilot.press("enter")
        await until(pilot, lambda: app.screen.query_one("#question").has_focus)
        assert EXAMPLES[0] in screen_text(app)


@pytest.mark.slow
async def test_a_failure_says_what_to_do(home: Path) -> None:
    async with describing(home, tale.failed(), size=(80, 24)) as (app, pilot, _):
        await until(pilot, lambda: "cannot be reached" in screen_text(app))
        assert "What to do: Try again later" in screen_text(app)


@pytest.mark.slow
async def test_at_80_columns_the_machine_stays_in_sight(home: Path) -> None:
    async with describing(home, tale.proving(), size=(80, 24)) as (app, _, _):
        assert "waits: usual" in text_of(app.screen.query_one("#strip"))
        assert not app.screen.query_one("#live").display


async def elsewhere(home: Path, events: list[AnyEvent], last: AnyEvent) -> tuple[bool, str, str]:
    """Whether Describe came up when ``last`` happened while the user was at the dashboard, and what was said there."""
    app = Listening()
    app.library = shelf(home)
    try:
        async with app.run_test(size=(120, 40)) as pilot:
            await app.played(pilot)
            asking, _ = tale.asking(events)
            assert app.control
            app.control.asking = asking
            app.post_message(AskingTold(asking, last))
            if isinstance(last, Ended):
                app.post_message(AskingEnded(asking, error=None))
            await pilot.pause()
            toasts = " ".join(each.message for each in app._notifications)
            return isinstance(app.screen, DescribeScreen), toasts, screen_text(app)
    finally:
        app.close_machines()


@pytest.mark.slow
async def test_a_countdown_comes_to_the_user_wherever_they_are(home: Path) -> None:
    *before, last = tale.kept_or_not()
    came, _, _ = await elsewhere(home, before, last)
    assert came


@pytest.mark.slow
async def test_a_question_that_waits_is_only_announced(home: Path) -> None:
    *before, last = tale.proven()
    came, toasts, _ = await elsewhere(home, before, last)
    assert not came
    assert "Press d to answer" in toasts


@pytest.mark.slow
async def test_an_end_that_nobody_watched_is_in_what_happened(home: Path) -> None:
    *before, last = tale.kept()
    came, toasts, screen = await elsewhere(home, before, last)
    assert not came
    assert "Press d to read it" in toasts
    assert "brisk runs now" in screen


async def test_one_request_at_a_time(home: Path) -> None:
    app = Pictured("busy-4-eevdf", 3, live=True)
    try:
        async with app.run_test(size=(120, 40)) as pilot:
            await app.played(pilot)
            asking, _ = tale.asking(tale.proving())
            assert app.control
            app.control.asking = asking
            app.post_message(RequestWanted("and something else"))
            await pilot.pause()
            assert app.control.asking is asking
            assert any("tried already" in each.message for each in app._notifications)
    finally:
        app.close_machines()


@pytest.mark.slow
async def test_a_request_that_is_stopped_ends_and_says_what_runs(home: Path) -> None:
    app = Pictured("busy-4-eevdf", 3)
    try:
        async with app.run_test(size=(120, 40)) as pilot:
            await app.played(pilot)
            await pilot.press("d")
            await pilot.press(*"my game stutters", "enter")
            await until(pilot, lambda: any(asking.events for asking in asked(app)), 60)
            (asking,) = asked(app)
            assert not asking.is_over
            await pilot.press("ctrl+c")
            await until(pilot, lambda: asking.is_over, 60)
            ended = asking.ended
            assert isinstance(ended, Ended) and ended.state == "stopped"
            assert "EEVDF runs now" in " ".join(screen_text(app).split())
    finally:
        app.close_machines()
