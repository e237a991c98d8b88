"""The terminal program on a desktop, by its keys, in a terminal: tried, kept, left and taken up again, panicked.

The tests of this file are one story on one guest, in order.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from schedtui.backend.microvm.image import PYTHON
from tests.conftest import TRIALS_AT_MOST, until
from tests.host.desktop import DesktopGuest
from tests.host.screen import GuestScreen
from tests.host.test_story import LOADS

pytestmark = [pytest.mark.lab, pytest.mark.soak, pytest.mark.timeout(1800)]


@pytest.fixture(scope="module")
def desktop() -> Iterator[DesktopGuest]:
    with DesktopGuest() as guest:
        guest.start_verifier()
        guest.start_helper("--allow", "1000")
        guest.start([str(PYTHON), "-I", "-c", LOADS, "frames"])
        yield guest


def kept_by_keys(screen: GuestScreen) -> bool:
    """From the list of presets to “kept”."""
    screen.press("enter")
    assert screen.shows("Back to the list"), screen.text
    screen.press("enter")
    for _ in range(TRIALS_AT_MOST):
        assert screen.shows_one_of("Keep it", "Try again", "Nothing to measure yet", limit_s=400), screen.text
        if screen.holds("Keep it"):
            screen.press("enter")
            return screen.shows("is kept, and runs now")
        screen.press("enter" if screen.holds("Nothing to measure yet") else "r")
        assert screen.shows_one_of("is being proven", "is being tried"), screen.text
    return False


def test_a_preset_is_tried_kept_and_outlives_the_program_that_a_next_one_takes_up(desktop: DesktopGuest) -> None:
    screen = GuestScreen(desktop, 80, 24)
    assert screen.shows("this computer", "EEVDF", "Who waits", "F12 PANIC"), screen.text
    screen.press("p")
    assert screen.shows("Gaming", "Smooth desktop", "What it costs"), screen.text
    assert kept_by_keys(screen), screen.text
    assert desktop.ops == "interactive"
    screen.press("enter")
    assert screen.shows("interactive", "Who waits", "Undo"), screen.text
    screen.press("q")
    assert screen.job.wait(120).code == 0, screen.text
    assert desktop.ops == "interactive"


def test_the_next_one_takes_it_up_and_says_who_runs_what(desktop: DesktopGuest) -> None:
    screen = GuestScreen(desktop, 120, 40)
    assert screen.shows("interactive", "kept", "by you", "Undo"), screen.text
    screen.press("o")
    assert screen.shows("Who runs what", "interactive, started by schedtui"), screen.text
    screen.press("escape")
    assert screen.shows("What happened"), screen.text
    screen.press("O")
    assert screen.shows("The scheduler's output", "nothing is printed"), screen.text
    screen.press("escape")
    assert screen.shows("What happened"), screen.text

    screen.press("f12")
    assert screen.shows("PANIC", "EEVDF", "latched"), screen.text
    assert until(lambda: desktop.state == "disabled")
    screen.press("ctrl+p")
    assert screen.shows("Search for commands"), screen.text
    screen.press(*"panic s")
    assert screen.gone("Other programs at work over MCP"), screen.text  # only what fits is left
    assert screen.shows("Panic settings"), screen.text
    screen.press("enter")
    assert screen.shows("nothing is loaded until you release it", "The hot key is off", "Release panic"), screen.text
    screen.press("r")
    assert screen.gone("Release panic"), screen.text
    screen.press("escape")
    assert screen.shows("What happened"), screen.text  # escape and q at once would be Alt and q
    screen.press("q")
    assert screen.job.wait(120).code == 0, screen.text
    assert desktop.state == "disabled"
