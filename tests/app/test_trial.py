"""A trial on the screen: nothing stays that nobody kept, and every step can be left."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from msgspec.structs import replace
from textual.pilot import Pilot

from schedtui.app import _told_of
from schedtui.backend.history import in_short
from schedtui.backend.model import Frame, Scheduler, WorkloadStatus
from schedtui.backend.store import Store
from schedtui.messages import PresetWanted, TrialBegun, TrialWanted
from schedtui.screens.trial import TrialScreen
from schedtui.trying import Trial, missing_loads
from schedtui.widgets.glyphs import choose_glyphs
from schedtui.widgets.header import scheduler_parts
from tests.app.conftest import screen_text, text_of, until
from tests.app.past import BETTER, deployed
from tests.app.shelf import shelf
from tests.app.test_presets import LAB, QUIET
from tests.app.trials import trial
from tests.recordings.pictures import Pictured


class Hearing(Pictured):
    """Keeps what is asked for instead of doing it."""

    def __init__(self) -> None:
        super().__init__("busy-4-eevdf", 3, live=True)
        self.heard: list[object] = []

    def on_trial_begun(self, message: TrialBegun) -> None:
        """See App, which does not hear of it."""
        message.prevent_default()
        self.heard.append(message)

    def on_preset_wanted(self, message: PresetWanted) -> None:
        """See App, which does not hear of it."""
        message.prevent_default()
        self.heard.append(message)


@contextlib.asynccontextmanager
async def showing(home: Path, phase: str) -> AsyncIterator[tuple[Hearing, Pilot[None], Trial]]:
    """The screen over a trial that stands in this phase."""
    app = Hearing()
    app.library = shelf(home)
    it = trial(app.library, phase)
    try:
        async with app.run_test(size=(80, 24)) as pilot:
            await app.played(pilot)
            app.push_screen(TrialScreen(it, app.info, QUIET))
            await pilot.pause()
            yield app, pilot, it
    finally:
        app.close_machines()


class Begun:
    """Counts the trials that begin, in the place of what runs them."""

    asking = trial = None

    def __init__(self) -> None:
        self.trials: list[Trial] = []

    def try_out(self, it: Trial) -> None:
        """See Control."""
        self.trials.append(it)


def frame(*loads: str) -> Frame:
    """A moment of the lab with these loads."""
    statuses = tuple(WorkloadStatus(kind=each, tasks=1) for each in loads)
    return Frame(sequence=1, time=1.0, interval_s=1.0, cpus=(), scheduler=QUIET, workloads=statuses)


def answers(it: Trial) -> list[bool]:
    """What was answered so far."""
    return list(it._answers.queue)


async def test_enter_pressed_twice_begins_one_trial(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    app, begun = Pictured("busy-4-eevdf", 3, live=True), Begun()
    it = trial(shelf(home), "waiting")
    try:
        async with app.run_test(size=(80, 24)) as pilot:
            await app.played(pilot)
            monkeypatch.setattr(app, "control", begun)
            app.push_screen(TrialScreen(it, app.info, QUIET))
            await pilot.pause()
            app.screen.action_go_on()
            app.screen.action_go_on()  # before the first was heard
            await pilot.pause()
            assert begun.trials == [it]
            assert it.phase == "proving"
    finally:
        monkeypatch.undo()
        app.close_machines()


@pytest.mark.slow
async def test_in_an_idle_lab_a_load_that_fits_is_offered_before_anything_begins(home: Path) -> None:
    async with showing(home, "waiting") as (app, pilot, it):
        shown = screen_text(app)
        for words in ("Nothing to measure yet", "A game-like loop", "Background hogs", "Start it, and try"):
            assert words in shown
        await pilot.press("enter")
        assert [type(each) for each in app.heard] == [TrialBegun]
        assert it.phase == "waiting"


@pytest.mark.slow
async def test_who_does_not_want_to_wait_applies_at_once_and_is_told_what_that_skips(home: Path) -> None:
    async with showing(home, "waiting") as (app, pilot, _):
        assert "it is not proven before, nothing is measured" in text_of(app.screen.query_one("#text"))
        await pilot.press("a")
        assert app.heard == [PresetWanted("brisk", False, {"slice_us": 900})]
        assert app.screen is app.dashboard


async def test_enter_keeps_and_escape_takes_away_while_the_countdown_runs(home: Path) -> None:
    async with showing(home, "deciding") as (app, pilot, it):
        assert "It does better. Keep brisk?" in screen_text(app)
        assert "goes by itself in 12 s" in screen_text(app)
        await pilot.press("enter")
        assert answers(it) == [True]
        await pilot.press("escape")
        assert answers(it) == [True, False]
        assert isinstance(app.screen, TrialScreen)


@pytest.mark.slow
async def test_while_it_is_measured_enter_does_nothing_and_escape_ends_it(home: Path) -> None:
    async with showing(home, "measuring") as (app, pilot, it):
        assert "15.9 ms" in screen_text(app) or "16 ms" in screen_text(app)
        await pilot.press("enter")
        assert not it._stopped.is_set()
        await pilot.press("escape")
        assert it._stopped.is_set()
        assert isinstance(app.screen, TrialScreen)


@pytest.mark.slow
async def test_what_was_kept_says_how_to_go_back_and_enter_leads_to_the_dashboard(home: Path) -> None:
    async with showing(home, "kept") as (app, pilot, _):
        assert "u takes it back at any time" in screen_text(app)
        await pilot.press("enter")
        assert app.screen is app.dashboard


@pytest.mark.slow
async def test_what_does_not_pass_the_verifier_is_never_loaded_and_stands_in_the_history(home: Path) -> None:
    app = Pictured("busy-4-eevdf", 3, live=True)
    app.library = shelf(home)
    source = home / "odd.bpf.c"
    source.write_text("int nothing;\n")
    app.library.policies["odd"] = replace(app.library.policies["queue"], name="odd", source=str(source))
    try:
        async with app.run_test(size=(80, 24)) as pilot:
            await app.played(pilot)
            await until(pilot, lambda: app.control is not None)
            wanted = TrialWanted("odd", {}, "Odd")
            app.post_message(wanted)
            await until(pilot, lambda: isinstance(app.screen, TrialScreen))
            await pilot.press("enter")
            await until(pilot, lambda: app.control.trial is not None and app.control.trial.is_over, 30)
            assert "odd was not tried" in screen_text(app)
            assert [(each.policy, each.state) for each in Store().deployments()] == [("odd", "reverted")]
            assert "v Report" in " ".join(screen_text(app).split())
    finally:
        app.close_machines()


def test_a_load_is_missing_only_while_nothing_that_fits_runs() -> None:
    assert missing_loads(LAB, [frame()], "gaming") == ("frames", "hogs")
    assert missing_loads(LAB, [frame("hogs")], "gaming") == ("frames",)
    assert missing_loads(LAB, [frame("hogs"), frame("frames")], "gaming") == ()
    assert missing_loads(LAB, [frame("frames")], "compile") == ("forks",)
    assert missing_loads(LAB, [frame("forks")], "") == ()
    assert missing_loads(replace(LAB, kind="host"), [frame()], "gaming") == ()


RUNS = Scheduler(sched_ext="enabled", name="brisk", owner="schedtui", policy="brisk", digest="d1", since=1.0)


@pytest.mark.parametrize(
    ("state", "digest", "words"),
    [("kept", "d1", "kept 119 s  (by you)"), ("canary", "d1", "canary"), ("kept", "d2", "brisk")],
    ids=["kept", "canary", "another"],
)
def test_the_header_says_what_became_of_what_runs(state: str, digest: str, words: str) -> None:
    moment = replace(frame(), scheduler=RUNS, time=5000.0)
    deployment = replace(deployed("brisk", 0, state=state, digest=digest), changed=4881.0)
    parts = scheduler_parts(replace(LAB, kind="replay"), moment, choose_glyphs(), deployment)
    said = "".join(text for part in parts for text, _ in part.spans)
    assert words in said
    assert ("kept" in said or "canary" in said) == (digest == "d1")


def test_what_happened_tells_the_change_and_how_sure_it_is() -> None:
    assert in_short(BETTER) == "p99 −60 % ±7 over 12 s"
    kept = deployed("brisk", 0, digest="d1", comparison=BETTER)
    assert _told_of(kept) == ("good", "brisk kept: p99 −60 % ±7 over 12 s")
    gone = replace(kept, state="reverted", reason="It was not kept.")
    assert _told_of(gone) == ("warning", "brisk reverted (p99 −60 % ±7 over 12 s): It was not kept.")
    assert _told_of(replace(kept, state="verified")) is None
