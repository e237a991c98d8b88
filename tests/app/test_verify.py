"""The verify screen: a report that reads well, and a verification that can be left at any time."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from msgspec.structs import replace
from textual.pilot import Pilot

from schedtui.backend.model import Policy, Report, Stage
from schedtui.backend.verifier.figures import figure_title, shown_figure
from schedtui.messages import Verified
from schedtui.screens.checks import Check, about
from schedtui.screens.verify import VerifyScreen, worth_reading
from schedtui.widgets.glyphs import choose_glyphs
from schedtui.widgets.report import badge_lines, report_parts
from tests.app.conftest import screen_text, until
from tests.app.shelf import FAILED, FIGURES, OLD_KERNEL, PASSED, WARNED, kernel_stage, report, shelf
from tests.recordings.pictures import Pictured


def words_of(it: Report) -> str:
    """The report as text."""
    return "\n".join(content.plain for content, _ in report_parts(it))


@contextlib.asynccontextmanager
async def verifying(
    policy: Policy, home: Path, *, report: Report | None = None, verb: str = ""
) -> AsyncIterator[tuple[Pictured, Pilot[None], list[bool | None]]]:
    """The verify screen, and what it is left with."""
    app = Pictured("busy-4-eevdf", 3, live=True)
    app.library = shelf(home)
    left: list[bool | None] = []
    try:
        async with app.run_test(size=(120, 40)) as pilot:
            await app.played(pilot)
            app.push_screen(VerifyScreen(policy, {}, report=report, verb=verb), left.append)
            await pilot.pause()
            yield app, pilot, left
    finally:
        app.close_machines()


def sourced(home: Path, text: str) -> Policy:
    """A policy with this source."""
    source = home / "odd.bpf.c"
    source.write_text(text)
    return replace(shelf(home).policies["queue"], name="odd", source=str(source))


def test_a_report_begins_with_the_verdict_and_the_kernel_it_holds_for() -> None:
    assert "queue passed on Linux 6.18.15" in words_of(PASSED).splitlines()[0]
    assert "with 1 warning" in words_of(WARNED).splitlines()[0]
    assert "failed at “Logic”" in words_of(FAILED).splitlines()[0]


def test_a_finding_says_where_what_it_means_and_what_to_do() -> None:
    text = words_of(FAILED)
    for words in ("Error", "lost-task", "queue.bpf.c:18", "never runs again", "What to do: Insert the task"):
        assert words in text


def test_stages_that_were_not_reached_are_named() -> None:
    assert "Real kernel" in words_of(FAILED)
    assert "not reached" in words_of(FAILED)
    assert "not reached" not in words_of(PASSED)


def test_what_was_measured_stands_beside_eevdf() -> None:
    line = next(line for line in words_of(PASSED).splitlines() if "p99" in line)
    assert line.split()[-4:] == ["6.3", "ms", "16", "ms"]


@pytest.mark.parametrize("name", FIGURES)
def test_every_figure_of_the_stress_suite_has_words(name: str) -> None:
    assert "_" not in figure_title(name.removeprefix("eevdf_"))
    assert shown_figure(name, FIGURES[name])


def test_a_quick_check_claims_no_more_than_it_is() -> None:
    assert "quick" in words_of(replace(PASSED, quick=True))
    assert "nothing starved" not in words_of(replace(PASSED, quick=True))


def test_there_is_a_badge_for_each_kernel_and_the_newest_report_counts() -> None:
    old = report(kernel_stage(), kernel=OLD_KERNEL)
    text = badge_lines([WARNED, PASSED, old]).plain.splitlines()
    assert ["6.18.15" in text[0], "1 warning" in text[0], "6.16.12" in text[1], "proven" in text[1]] == [True] * 4
    assert len(text) == 2


def test_signs_are_ascii_where_the_terminal_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCHEDTUI_ASCII", "1")
    choose_glyphs.cache_clear()
    try:
        assert badge_lines([PASSED]).plain.startswith("+ ")
        assert badge_lines([WARNED]).plain.startswith("! ")
        assert words_of(FAILED).startswith("X ")
    finally:
        monkeypatch.undo()
        choose_glyphs.cache_clear()


@pytest.mark.slow
async def test_enter_goes_on_after_a_pass_and_does_nothing_after_a_failure(home: Path) -> None:
    queue = shelf(home).policies["queue"]
    async with verifying(queue, home, report=FAILED, verb="Apply") as (app, pilot, left):
        assert "Apply" not in screen_text(app)
        await pilot.press("enter")
        assert not left
        await pilot.press("escape")
        await until(pilot, lambda: left == [False])
    async with verifying(queue, home, report=PASSED, verb="Apply") as (app, pilot, left):
        assert "Apply" in screen_text(app)
        await pilot.press("enter")
        await until(pilot, lambda: left == [True])


@pytest.mark.slow
async def test_a_source_that_reads_a_file_fails_at_once_without_a_lab(home: Path) -> None:
    policy = sourced(home, '#include <schedtui.bpf.h>\n#include "/etc/hostname"\n')
    async with verifying(policy, home) as (app, pilot, _):
        await until(pilot, lambda: "failed at “Source”" in screen_text(app), 30)
        shown = screen_text(app)
        assert "foreign-include" in shown
        assert "odd.bpf.c:2" in shown
        assert "not reached" in shown


@pytest.mark.slow
async def test_other_kernels_and_a_quick_check_are_offered_with_what_they_take(
    home: Path,
) -> None:
    for release in ("6.16.12+deb13-amd64", "7.3.4+deb13-amd64"):
        image = home / "cache" / "schedtui" / "kernels" / release / "vmlinuz"
        image.parent.mkdir(parents=True)
        image.touch()
    async with verifying(shelf(home).policies["queue"], home, report=PASSED) as (app, pilot, _):
        await pilot.press("o")
        await until(pilot, lambda: "All 2 kernels that are here" in screen_text(app))
        shown = screen_text(app)
        for words in ("Quick check  about 5 s", "about 10 s", "about 25 s", "7.3.4, 6.16.12", "up to a minute more"):
            assert words in shown
        await pilot.press("escape")
        await until(pilot, lambda: isinstance(app.screen, VerifyScreen))
        assert "queue passed" in screen_text(app)


@pytest.mark.slow
async def test_of_several_kernels_each_is_told_and_what_was_found_is_read_first(home: Path) -> None:
    policy = shelf(home).policies["queue"]
    async with verifying(policy, home, report=PASSED, verb="Apply") as (app, pilot, left):
        screen = app.screen
        screen._check, screen._is_over, screen._reports = Check((None, None), ("7.3.4", "6.16.12")), False, []
        screen.query("ReportView").remove()
        screen.post_message(Verified(screen._act, PASSED, last=False))
        await until(pilot, lambda: "✓ 6.18.15  proven" in screen_text(app))
        assert "Apply" not in screen_text(app)
        screen.post_message(Verified(screen._act, replace(WARNED, kernel=OLD_KERNEL), last=True))
        await until(pilot, lambda: "▲ 6.16.12  passes, with 1 warning" in screen_text(app))
        assert "queue passed on Linux 6.16.12, with 1 warning" in screen_text(app)
        assert "queue passed on Linux 6.18.15" not in screen_text(app)
        await pilot.press("enter")
        await until(pilot, lambda: left == [True])


def test_a_failure_is_read_before_a_warning_and_a_pass_only_when_there_is_nothing_else() -> None:
    assert worth_reading([PASSED, WARNED, FAILED]) == [FAILED, WARNED]
    assert worth_reading([PASSED, replace(PASSED, kernel=OLD_KERNEL)]) == [PASSED]


def test_what_is_far_is_told_in_minutes() -> None:
    assert [about(3), about(16.4), about(105)] == ["about 5 s", "about 15 s", "about 2 min"]


def test_a_quick_check_is_no_proof_and_hides_none() -> None:
    text = badge_lines([replace(PASSED, quick=True), PASSED]).plain
    assert "loads, and ran for a moment; not put under stress" in text.splitlines()[0]
    assert "proven" in text.splitlines()[1]


def test_a_quick_report_claims_no_stress() -> None:
    assert "under stress: " in words_of(PASSED)
    assert "under stress: " not in words_of(replace(PASSED, quick=True))


async def test_a_source_that_is_gone_is_said_and_can_be_tried_again(home: Path) -> None:
    policy = sourced(home, "")
    Path(policy.source).unlink()
    async with verifying(policy, home) as (app, pilot, left):
        await until(pilot, lambda: "cannot be read" in screen_text(app), 30)
        assert "Again" in screen_text(app)
        await pilot.press("escape")
        await until(pilot, lambda: left == [False])


async def test_notes_alone_let_a_policy_pass(home: Path) -> None:
    assert [PASSED.verdict, "Good to know" in words_of(PASSED), "What was found" in words_of(PASSED)] == [
        "pass",
        True,
        False,
    ]
    assert Stage(name="kernel", verdict="pass", seconds=1.0) == replace(
        kernel_stage(), figures={}, summary="", seconds=1.0
    )
