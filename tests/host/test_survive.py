"""What a person keeps on a desktop survives the program, sleep, and CPUs that go; not the helper. Watch brings it back.

The tests of this file are one story on one guest, in order.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.conftest import until
from tests.host.desktop import DesktopGuest

pytestmark = [pytest.mark.lab, pytest.mark.soak, pytest.mark.matrix]

SLEEP = "echo +2 > /sys/class/rtc/rtc0/wakealarm && echo mem > /sys/power/state && dmesg | tail -60"
UPDATED = """
import sqlite3
from schedtui.paths import data_dir
with sqlite3.connect(data_dir() / "history.sqlite") as history:
    history.execute("UPDATE deployment SET digest = ? WHERE state = 'kept'", ("0" * 64,))
"""


NIGHTS_AT_MOST = 3
"""An emulated computer sometimes comes to no end of falling asleep: once in 40 times, under EEVDF as well."""


@pytest.fixture(scope="module")
def desktop() -> Iterator[DesktopGuest]:
    with DesktopGuest() as guest:
        furnish(guest)
        yield guest


def furnish(guest: DesktopGuest) -> None:
    guest.start_verifier()
    guest.start_helper("--allow", "1000")


def slept(desktop: DesktopGuest) -> str:
    """The kernel's log of a sleep; on a new desktop where the same is kept, when the emulator came to no end."""
    for _ in range(NIGHTS_AT_MOST):
        try:
            return desktop.run_as_root(["sh", "-c", SLEEP], 20).good().output
        except TimeoutError:
            desktop.close()
            desktop.open()
            furnish(desktop)
            desktop.keep("interactive")
    raise AssertionError("it never wakes up")


def watched(desktop: DesktopGuest, seconds: int) -> dict[str, object]:
    """What ``schedtui watch`` told, after so long."""
    data: dict[str, object] = desktop.schedtui("watch", "--for", f"{seconds}s", "--json", timeout_s=400).data
    return data


def test_what_is_kept_outlives_the_program(desktop: DesktopGuest) -> None:
    desktop.keep("interactive")
    assert desktop.stays("interactive")
    assert "interactive, started by schedtui" in desktop.schedtui("owner").good().output


@pytest.mark.timeout(1800)
def test_it_survives_sleep_and_a_cpu_that_goes(desktop: DesktopGuest) -> None:
    log = slept(desktop)
    assert "Waking up from system sleep state S3" in log
    desktop.run_as_root(["sh", "-c", "cd /sys/devices/system/cpu/cpu1 && echo 0 > online && echo 1 > online"]).good()
    told = watched(desktop, 5)
    assert (told["how"], told["state"], desktop.ops) == ("running", "kept", "interactive")


def test_when_the_helper_dies_it_goes_and_nothing_is_loaded_by_itself(desktop: DesktopGuest) -> None:
    desktop.kill_helper()
    assert until(lambda: desktop.state == "disabled")
    desktop.start_helper("--allow", "1000")
    assert desktop.schedtui("status", "--json").good().data["scheduler"] == "EEVDF"
    assert desktop.ops == ""


def test_watch_loads_it_again_with_its_token(desktop: DesktopGuest) -> None:
    told = watched(desktop, 4)
    assert (told["how"], told["state"], told["policy"]) == ("loaded", "kept", "interactive"), told
    assert desktop.stays("interactive")


def test_what_was_updated_is_measured_again_and_not_just_loaded(desktop: DesktopGuest) -> None:
    desktop.kill_helper()
    assert until(lambda: desktop.state == "disabled")
    desktop.start_helper("--allow", "1000")
    desktop.user_python(UPDATED)
    told = watched(desktop, 1)
    assert told["how"] == "measured", told
    assert (desktop.ops == "interactive") == (told["state"] == "kept"), told


def test_what_a_person_gave_back_is_not_loaded_by_watch(desktop: DesktopGuest) -> None:
    desktop.schedtui("apply", "default").good()
    refused = desktop.schedtui("watch", "--for", "1s")
    assert (refused.code, "Nothing is kept" in refused.errors) == (2, True)
