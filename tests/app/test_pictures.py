"""Pictures of the screens, from recordings made in the lab: at three sizes, in three themes, and in ASCII.

A picture that differs is shown in snapshot_report.html; ``pytest tests/app/test_pictures.py --snapshot-update`` takes
all anew. Policies, presets and reports are those of shelf.py, which never change.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace
from textual.pilot import Pilot
from textual.screen import Screen

from schedtui.agent.models import ModelChoice, choose_model
from schedtui.agent.trust import Trust, TrustLevel
from schedtui.backend.library.catalogue import Library
from schedtui.backend.model import Report
from schedtui.messages import Dived
from schedtui.screens.checks import ChecksScreen
from schedtui.screens.clients import ClientsScreen
from schedtui.screens.describe import DescribeScreen
from schedtui.screens.history import HistoryScreen
from schedtui.screens.model import ModelScreen
from schedtui.screens.probe import ProbeScreen
from schedtui.screens.settings import SettingsScreen
from schedtui.screens.trial import TrialScreen
from schedtui.screens.verify import VerifyScreen
from schedtui.widgets.glyphs import choose_glyphs
from tests.app import agents, past, tale, trials
from tests.app.conftest import screen_text, until
from tests.app.shelf import FAILED, NAMED, PASSED, WARNED, shelf
from tests.app.test_presets import QUIET
from tests.app.test_probe import result
from tests.recordings.pictures import Pictured

pytestmark = pytest.mark.slow

SIZES = [(80, 24), (120, 40), (200, 60)]
COMFORTABLE = (120, 40)
RECORDINGS = {"idle-4": 20, "busy-4-eevdf": 25, "busy-4-interactive": 40, "thrown-out": 12, "busy-64": 20}
SEEN = "busy-4-interactive"

Compare = Callable[..., bool]
Take = Callable[..., bool]


@pytest.fixture(autouse=True)
def the_same_everywhere(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Pictures know no time zone, no locale and no wish for other colours."""
    monkeypatch.setenv("TZ", "UTC")
    monkeypatch.setenv("SCHEDTUI_ASCII", "0")
    for name in ("NO_COLOR", "TEXTUAL_THEME", "TEXTUAL_COLOR_SYSTEM"):
        monkeypatch.delenv(name, raising=False)
    time.tzset()
    choose_glyphs.cache_clear()
    yield
    monkeypatch.undo()
    time.tzset()
    choose_glyphs.cache_clear()


@pytest.fixture
def looks_as_before(snap_compare: Compare, home: Path) -> Take:
    """Plays the recording, presses keys, waits until words and widget are there, and compares the picture.

    ``over`` is a screen that is opened first, made from the library.
    """

    def take(
        app: Pictured,
        *keys: str,
        size: tuple[int, int] = COMFORTABLE,
        words: str = "F12",
        widget: str = "*",
        over: Callable[[Library], Screen[Any]] | None = None,
    ) -> bool:
        app.library = shelf(home)

        async def go(pilot: Pilot[None]) -> None:
            await app.played(pilot)
            if over:
                app.push_screen(over(app.library))
                await pilot.pause()
            await pilot.press(*keys)
            await until(pilot, lambda: words in " ".join(screen_text(app).split()))
            await until(pilot, lambda: bool(app.screen.query(widget)))

        try:
            return snap_compare(app, terminal_size=size, run_before=go)
        finally:
            app.close_machines()

    return take


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize("name", RECORDINGS)
def test_the_dashboard(looks_as_before: Take, name: str, size: tuple[int, int]) -> None:
    assert looks_as_before(Pictured(name, RECORDINGS[name]), size=size)


@pytest.mark.parametrize("theme", ["schedtui-light", "schedtui-contrast"])
def test_the_dashboard_in_another_theme(looks_as_before: Take, theme: str) -> None:
    assert looks_as_before(Pictured(SEEN, 40, theme=theme))


def test_the_dashboard_in_ascii(looks_as_before: Take, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCHEDTUI_ASCII", "1")
    choose_glyphs.cache_clear()
    assert looks_as_before(Pictured(SEEN, 40))


@pytest.mark.parametrize("size", SIZES[:2], ids=lambda size: f"{size[0]}x{size[1]}")
def test_the_presets(looks_as_before: Take, size: tuple[int, int]) -> None:
    assert looks_as_before(Pictured("busy-4-eevdf", live=True), "p", size=size, words="What it costs")


@pytest.mark.parametrize("size", SIZES[:2], ids=lambda size: f"{size[0]}x{size[1]}")
def test_the_preview_of_a_preset(looks_as_before: Take, size: tuple[int, int]) -> None:
    app = Pictured("busy-4-eevdf", live=True)
    assert looks_as_before(app, "p", "enter", size=size, words="Back to the list")


def test_a_preset_where_nothing_can_be_loaded(looks_as_before: Take) -> None:
    assert looks_as_before(Pictured(SEEN), "p", "enter", words="Why not here")


@pytest.mark.parametrize("size", SIZES[:2], ids=lambda size: f"{size[0]}x{size[1]}")
def test_the_machine_switch(looks_as_before: Take, size: tuple[int, int]) -> None:
    assert looks_as_before(Pictured(SEEN), "m", size=size, words="watched now" if size[0] > 100 else "This computer")


@pytest.mark.parametrize("size", SIZES[:2], ids=lambda size: f"{size[0]}x{size[1]}")
def test_the_loads_that_can_be_started(looks_as_before: Take, size: tuple[int, int]) -> None:
    assert looks_as_before(Pictured("busy-4-eevdf", live=True), "w", size=size, words="enter starts")


@pytest.mark.parametrize("size", SIZES[:2], ids=lambda size: f"{size[0]}x{size[1]}")
def test_a_deep_dive(looks_as_before: Take, size: tuple[int, int]) -> None:
    app = Pictured(SEEN, 40)
    assert looks_as_before(app, size=size, words="3 were not timed" if size[1] > 30 else "p99", over=dived(app))


def dived(app: Pictured) -> Callable[[Library], Screen[Any]]:
    """The screen of the deep dives with an answer."""

    def opened(_library: Library) -> Screen[Any]:
        assert app.control is not None
        screen = ProbeScreen(app.control.machine, app.control.info, None)
        screen.call_after_refresh(lambda: screen.post_message(Dived("", result())))
        return screen

    return opened


@pytest.mark.parametrize("size", SIZES[:2], ids=lambda size: f"{size[0]}x{size[1]}")
def test_the_help(looks_as_before: Take, size: tuple[int, int]) -> None:
    assert looks_as_before(Pictured("idle-4", 3), "question_mark", size=size, words="Palette:")


def test_what_panic_says(looks_as_before: Take) -> None:
    assert looks_as_before(Pictured(SEEN), "f12", words="Panic: this is a recording", widget="Toast")


def judged(report: Report) -> Callable[[Library], Screen[Any]]:
    """The verify screen with a report on a policy of the shelf."""
    return lambda library: VerifyScreen(library.policies["queue"], {}, report=report, verb="Apply")


def set_up(library: Library) -> Screen[Any]:
    """The settings of a policy that runs."""
    policy = library.policies["brisk"]
    policy = replace(policy, tunables=(*policy.tunables, NAMED))
    return SettingsScreen(policy, {"boost": False}, running=True)


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
def test_the_library(looks_as_before: Take, size: tuple[int, int]) -> None:
    assert looks_as_before(Pictured("busy-4-eevdf", live=True), "l", size=size, words="not verified yet")


def test_an_external_scheduler_in_the_library(looks_as_before: Take) -> None:
    app = Pictured("busy-4-eevdf", live=True)
    assert looks_as_before(app, "l", "end", "enter", words="scx_swift is not installed")


def test_the_source_of_a_policy(looks_as_before: Take) -> None:
    assert looks_as_before(Pictured("busy-4-eevdf", live=True), "l", "s", words="queue_enqueue")


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
def test_the_settings_of_a_policy(looks_as_before: Take, size: tuple[int, int]) -> None:
    app = Pictured("busy-4-eevdf", live=True)
    assert looks_as_before(app, *"70", size=size, words="It takes 500", over=set_up)


def test_the_checks_that_can_be_made(looks_as_before: Take) -> None:
    kernels = [(Path(release), release) for release in ("6.18.15+deb13-amd64", "7.3.4+deb13-amd64")]

    def over(_library: Library) -> Screen[Any]:
        screen = ChecksScreen("Brisk")
        screen.call_after_refresh(screen.post_message, ChecksScreen.KernelsFound(kernels))
        return screen

    assert looks_as_before(Pictured("busy-4-eevdf", live=True), words="All 2 kernels", over=over)


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
def test_a_report_with_a_warning(looks_as_before: Take, size: tuple[int, int]) -> None:
    app = Pictured("busy-4-eevdf", live=True)
    assert looks_as_before(app, size=size, words="What was found", over=judged(WARNED))


def test_a_report_of_a_pass(looks_as_before: Take) -> None:
    app = Pictured("busy-4-eevdf", live=True, theme="schedtui-light")
    assert looks_as_before(app, words="What this holds for", over=judged(PASSED))


def test_a_report_of_a_failure(looks_as_before: Take) -> None:
    app = Pictured("busy-4-eevdf", live=True, theme="schedtui-contrast")
    assert looks_as_before(app, words="not reached", over=judged(FAILED))


def test_a_report_in_ascii(looks_as_before: Take, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCHEDTUI_ASCII", "1")
    choose_glyphs.cache_clear()
    assert looks_as_before(Pictured("busy-4-eevdf", live=True), words="not reached", over=judged(FAILED))


@pytest.mark.parametrize("size", SIZES[:2], ids=lambda size: f"{size[0]}x{size[1]}")
def test_the_line_in_which_to_describe(looks_as_before: Take, size: tuple[int, int]) -> None:
    assert looks_as_before(Pictured("busy-4-eevdf", live=True), "d", size=size, words="to a friend")


DESCRIBED = {
    "working": (tale.proving, "Proves brisk"),
    "proposal": (tale.proven, "enter Try it"),
    "canary": (tale.measuring, "goes on until"),
    "decision": (tale.kept_or_not, "then by itself"),
    "result": (tale.kept, "brisk runs now"),
    "unknown": (tale.unknown, "None of these"),
    "failure": (tale.failed, "cannot be reached"),
}


@pytest.mark.parametrize("size", SIZES[:2], ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize("name", DESCRIBED)
def test_a_request(looks_as_before: Take, name: str, size: tuple[int, int]) -> None:
    events, words = DESCRIBED[name]
    asking, _ = tale.asking(events())
    if asking.ended:
        asking.close()
    app = Pictured("busy-4-eevdf", live=True)

    def over(library: Library) -> Screen[Any]:
        assert app.info and app.control
        return DescribeScreen(library, app.info, asking=asking, recent=app.control.recent)

    assert looks_as_before(app, size=size, words=words, over=over)


CONNECTED = {
    "at-work": (lambda: agents.connected(tale.proving()), "kernel: under stress"),
    "asks": (lambda: agents.connected(tale.proven()), "enter Try it"),
    "decision": (lambda: agents.connected(tale.kept_or_not(), others=False), "then by itself"),
    "taken": (lambda: agents.taken(agents.connected(tale.kept())), "g Give it back"),
}


@pytest.mark.parametrize("size", SIZES[:2], ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize("name", CONNECTED)
def test_the_programs_that_are_connected(looks_as_before: Take, name: str, size: tuple[int, int]) -> None:
    made, words = CONNECTED[name]
    app = Pictured("busy-4-eevdf", live=True)
    assert looks_as_before(app, size=size, words=words, over=lambda _: ClientsScreen(made(), app.info, app.frame))


@pytest.mark.parametrize("size", SIZES[:2], ids=lambda size: f"{size[0]}x{size[1]}")
def test_the_dashboard_while_a_program_is_at_work(looks_as_before: Take, size: tuple[int, int]) -> None:
    class Watched(Pictured):
        async def played(self, pilot: Pilot[None]) -> None:
            await super().played(pilot)
            self.dashboard.show_clients(agents.connected(tale.proving()))

    assert looks_as_before(Watched("busy-4-eevdf", live=True), size=size, words="A to look")


@pytest.mark.parametrize("size", SIZES[:2], ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize("phase", ["waiting", "measuring", "deciding", "kept"])
def test_a_trial(looks_as_before: Take, phase: str, size: tuple[int, int]) -> None:
    app = Pictured("busy-4-eevdf", live=True)

    def over(library: Library) -> Screen[Any]:
        assert app.info
        return TrialScreen(trials.trial(library, phase), app.info, QUIET)

    assert looks_as_before(app, size=size, words="Trial", over=over)


@pytest.mark.parametrize("size", SIZES[:2], ids=lambda size: f"{size[0]}x{size[1]}")
def test_the_history(looks_as_before: Take, size: tuple[int, int]) -> None:
    past.fill()
    app = Pictured("busy-4-eevdf", live=True)

    def over(library: Library) -> Screen[Any]:
        assert app.info
        return HistoryScreen(library, app.info, QUIET, today=past.NOON)

    assert looks_as_before(app, size=size, words="Understood as", over=over)


@pytest.mark.parametrize("size", SIZES[:2], ids=lambda size: f"{size[0]}x{size[1]}")
def test_the_model(looks_as_before: Take, size: tuple[int, int]) -> None:
    choose_model(ModelChoice(model="ollama/qwen3", address="http://127.0.0.1:11434"))
    Trust("ollama/qwen3").note(TrustLevel.LIBRARY, "kept", asked=True)
    app = Pictured("busy-4-eevdf", live=True)
    assert looks_as_before(app, size=size, words="none is needed", over=lambda _: ModelScreen())
