"""The library: everything is found by words, and says what is known of it here; nothing is applied unread."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from msgspec.structs import replace
from textual.pilot import Pilot
from textual.widgets import OptionList

from schedtui.backend.bpf.compiler import compile_bpf
from schedtui.backend.model import Scheduler
from schedtui.backend.store import Outcome, Store
from schedtui.backend.verifier import reports
from schedtui.messages import PresetWanted, TrialWanted
from schedtui.screens.library import LibraryChoices
from tests.app.conftest import screen_text, text_of, until
from tests.app.shelf import OLD_KERNEL, PASSED, kernel_stage, report, shelf
from tests.app.test_presets import LAB, LATCHED, QUIET
from tests.recordings.pictures import Pictured


@contextlib.asynccontextmanager
async def in_the_library(
    home: Path, *, size: tuple[int, int] = (120, 40)
) -> AsyncIterator[tuple[Pictured, Pilot[None]]]:
    """The library screen over a lab's recording, with the policies of the shelf."""
    app = Pictured("busy-4-eevdf", 3, live=True)
    app.library = shelf(home)
    try:
        async with app.run_test(size=size) as pilot:
            await app.played(pilot)
            await pilot.press("l")
            await until(pilot, lambda: "Built in" in screen_text(app))
            yield app, pilot
    finally:
        app.close_machines()


def listed(app: Pictured) -> list[str]:
    """The ids in the list, in order; a heading is an empty one."""
    return [option.id or "" for option in app.screen.query_one("#choices", OptionList).options]


def details(app: Pictured) -> str:
    """What is said of the chosen policy."""
    return text_of(app.screen.query_one("#text"))


async def choose(app: Pictured, pilot: Pilot[None], name: str) -> None:
    """Go to a policy in the list."""
    choices = app.screen.query_one("#choices", OptionList)
    choices.highlighted = listed(app).index(name)
    await pilot.pause()


def choices_of(home: Path, scheduler: Scheduler = QUIET) -> LibraryChoices:
    """The shelf, as it stands in a lab."""
    return LibraryChoices(shelf(home), LAB, scheduler)


@pytest.mark.slow
async def test_policies_are_grouped_by_where_they_come_from(home: Path) -> None:
    async with in_the_library(home) as (app, _):
        assert listed(app) == ["", "queue", "brisk", "", "mine", "", "made-7f3a", "", "scx_swift"]
        shown = screen_text(app)
        for group in ("Built in", "Yours", "Generated", "External schedulers"):
            assert group in shown


def test_what_holds_every_word_is_there_at_once(home: Path) -> None:
    choices = choices_of(home)
    choices.show_containing("smooth desktops")
    assert [entry.id for entry in choices.entries()] == ["brisk"]
    choices.show_containing("smooth nonsense")
    assert choices.entries() == []
    choices.show_all()
    assert len(choices.entries()) == 5


@pytest.mark.slow
async def test_escape_brings_everything_back_and_then_leaves(home: Path) -> None:
    async with in_the_library(home) as (app, pilot):
        await pilot.press("slash", *"smooth")
        await until(pilot, lambda: listed(app)[:2] == ["", "brisk"])
        await pilot.press("escape")
        assert len(listed(app)) == 9
        await pilot.press("slash", *"smooth", "down", "escape")
        assert len(listed(app)) == 9
        await pilot.press("escape")
        assert app.screen is app.dashboard


@pytest.mark.slow
async def test_words_that_stand_nowhere_find_by_meaning(home: Path) -> None:
    async with in_the_library(home) as (app, pilot):
        await pilot.press("slash", *"playing a shooter")
        await until(pilot, lambda: listed(app)[:2] == ["", "brisk"])
        assert "Best matches" in screen_text(app)


@pytest.mark.slow
async def test_a_letter_typed_into_the_search_is_no_command(home: Path) -> None:
    async with in_the_library(home) as (app, pilot):
        await pilot.press("slash", *"vsq")
        assert app.screen.query_one("#question").value == "vsq"
        assert "To the list" in screen_text(app)


@pytest.mark.slow
async def test_reports_become_badges_for_each_kernel(home: Path) -> None:
    library = shelf(home)
    digest = hashlib.sha256(compile_bpf(Path(library.policies["queue"].source))).hexdigest()
    current = {"digest": digest, "rules": reports.rules_version()}
    reports.save(replace(PASSED, **current))
    reports.save(replace(report(kernel_stage(), kernel=OLD_KERNEL), **current, settings={"slice_us": 500}))
    async with in_the_library(home) as (app, pilot):
        await choose(app, pilot, "queue")
        await until(pilot, lambda: "✓ 6.18.15 proven 2026" in details(app))
        assert "✓ 6.16.12 proven with slice_us = 500 2026" in details(app)
        assert "✓ First come" in screen_text(app)


@pytest.mark.slow
async def test_a_report_for_other_settings_says_so_and_is_no_badge_of_the_policy(home: Path) -> None:
    library = shelf(home)
    digest = hashlib.sha256(compile_bpf(Path(library.policies["queue"].source))).hexdigest()
    reports.save(replace(PASSED, digest=digest, rules=reports.rules_version(), settings={"slice_us": 500}))
    async with in_the_library(home) as (app, pilot):
        await choose(app, pilot, "queue")
        await until(pilot, lambda: "✓ 6.18.15 proven with slice_us = 500" in details(app))
        assert "· not verified yet with its defaults" in details(app)
        assert "· First come" in screen_text(app)


@pytest.mark.slow
async def test_a_policy_without_a_report_says_so(home: Path) -> None:
    async with in_the_library(home) as (app, pilot):
        await choose(app, pilot, "queue")
        assert "· not verified yet" in details(app)


@pytest.mark.slow
async def test_what_a_policy_did_here_is_shown(home: Path) -> None:
    Store().add_outcome(Outcome(policy="brisk", metric="wakeup_p99_us", before=1000.0, after=500.0))
    async with in_the_library(home) as (app, pilot):
        await choose(app, pilot, "brisk")
        await until(pilot, lambda: "On this machine" in details(app))
        assert "−50 %" in details(app)


@pytest.mark.slow
async def test_an_external_scheduler_that_is_missing_says_so_and_cannot_be_applied(home: Path) -> None:
    async with in_the_library(home) as (app, pilot):
        await choose(app, pilot, "scx_swift")
        assert "scx_swift is not installed" in details(app)
        await pilot.press("v", "s", "enter", "enter")
        await pilot.pause()
        assert type(app.screen).__name__ == "LibraryScreen"
        assert app._preset_act is None


@pytest.mark.slow
async def test_an_installed_external_scheduler_shows_its_version_and_what_it_lacks(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = home / "scx_swift"
    program.write_text(
        "#!/bin/sh\n[ $1 = --version ] && echo scx_swift 1.4.2\n[ $1 = --help ] && echo '  -p, --performance'\nexit 0\n"
    )
    program.chmod(0o755)
    for folder in (home, *home.parents[:3]):  # for “nobody”, who asks when root does
        folder.chmod(folder.stat().st_mode | 0o711)
    monkeypatch.setenv("PATH", str(home), prepend=":")
    async with in_the_library(home) as (app, pilot):
        await choose(app, pilot, "scx_swift")
        await until(pilot, lambda: "version 1.4.2" in details(app))
        assert "lacks --slice-us" in details(app)


@pytest.mark.slow
async def test_the_source_is_shown_with_the_numbers_of_its_lines(home: Path) -> None:
    async with in_the_library(home) as (app, pilot):
        await choose(app, pilot, "queue")
        await pilot.press("s")
        await until(pilot, lambda: "queue_enqueue" in screen_text(app))
        assert " 3   * queue: who came first runs first." in screen_text(app)
        await pilot.press("escape")
        assert type(app.screen).__name__ == "LibraryScreen"


@pytest.mark.slow
async def test_a_source_that_is_gone_is_said_to_be(home: Path) -> None:
    async with in_the_library(home) as (app, pilot):
        Path(app.library.policies["queue"].source).unlink()
        await choose(app, pilot, "queue")
        await pilot.press("s")
        await until(pilot, lambda: "cannot be read" in screen_text(app))


def test_every_tunable_says_what_it_does_what_it_costs_and_its_range(home: Path) -> None:
    text = choices_of(home).preview("brisk").plain
    for words in ("How long a task runs", "whoever waits, waits longer", "500 to 100000 µs", "boost  on", "on or off"):
        assert words in text


def test_choosing_a_policy_asks_the_app_to_try_it(home: Path) -> None:
    chosen = choices_of(home).chosen("brisk")
    assert isinstance(chosen, TrialWanted)
    assert (chosen.policy, chosen.release) == ("brisk", False)


def test_a_policy_can_be_applied_at_once(home: Path) -> None:
    wanted = choices_of(home).at_once("brisk")
    assert isinstance(wanted, PresetWanted)
    assert (wanted.preset, wanted.release) == ("brisk", False)


def test_after_a_panic_the_first_enter_only_asks(home: Path) -> None:
    choices = choices_of(home, LATCHED)
    assert choices.chosen("brisk") is None
    assert "once more" in choices.preview("brisk").plain
    chosen = choices.chosen("brisk")
    assert isinstance(chosen, TrialWanted)
    assert chosen.release


def test_a_note_is_shown_without_its_markup(home: Path) -> None:
    note = "# How `it` decides\n\nA line that\ngoes on. **Bold** words.\n\n1. one\n2. two\n- three\n  goes on\n"
    library = shelf(home)
    library.policies["brisk"] = replace(library.policies["brisk"], note=note)
    text = LibraryChoices(library, LAB, QUIET).preview("brisk").plain
    assert "How it decides\n\nA line that goes on. Bold words.\n\n1. one\n2. two\n· three goes on" in text
