"""The desktop's guest is what it says: users, rights, a kernel with sched_ext, and schedtui in it."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest

from tests.host.desktop import DesktopGuest
from tests.host.inside import LIBRARY, OTHER
from tests.host.link import DesktopFailed

pytestmark = pytest.mark.lab


@pytest.fixture(scope="module")
def desktop() -> Iterator[DesktopGuest]:
    with DesktopGuest() as guest:
        yield guest


def test_a_person_works_there_as_uid_1000_in_a_home_of_his_own(desktop: DesktopGuest) -> None:
    said = desktop.run_as_user(["sh", "-c", "id -u; pwd; touch mine && ls"]).good().output
    assert said.split() == ["1000", "/home/user", "mine"]
    assert desktop.run_as_user(["id", "-u"], uid=OTHER).output == "1001\n"
    assert desktop.run_as_root(["id", "-u"]).output == "0\n"


def test_what_is_installed_is_roots_in_every_folder_above(desktop: DesktopGuest) -> None:
    refused = desktop.run_as_user(["sh", "-c", f"echo evil >> {LIBRARY}/schedtui/__init__.py"])
    assert refused.code != 0
    found = desktop.run_as_root(
        ["find", "/usr", LIBRARY, "(", "!", "-user", "0", "-o", "-perm", "-2", ")", "!", "-type", "l"]
    )
    assert found.good().output == ""
    assert desktop.run_as_root(["stat", "-c", "%a", "/"]).output == "755\n"


def test_the_command_says_the_same_loaded_before_or_started_anew(desktop: DesktopGuest) -> None:
    loaded = desktop.schedtui("status", "--json").good()
    started = desktop.run_as_user(["schedtui", "status", "--json"]).good()
    assert loaded.data == started.data
    assert loaded.data["scheduler"] == "EEVDF"
    assert (desktop.state, desktop.ops) == ("disabled", "")


def test_python_as_the_user_goes_on_from_one_call_to_the_next(desktop: DesktopGuest) -> None:
    desktop.user_python("import os; number = os.getuid()")
    assert desktop.user_python("number + 1") == 1001
    with pytest.raises(DesktopFailed, match="ZeroDivisionError"):
        desktop.user_python("1 / 0")


def test_a_job_goes_on_in_a_terminal_and_takes_keys_and_signals(desktop: DesktopGuest) -> None:
    job = desktop.start(["sh"], terminal=(80, 24))
    job.press(b"stty size; tty\n")
    assert job.shows("24 80")
    assert job.shows("/dev/pts/")
    job.signal(signal.SIGKILL)
    assert job.wait(10).code == -signal.SIGKILL


def test_a_file_is_written_for_whom_it_is_for(desktop: DesktopGuest) -> None:
    desktop.write("/home/user/some/notes", b"words", uid=1000, mode=0o600)
    assert desktop.run_as_user(["cat", "some/notes"]).output == "words"
    assert desktop.run_as_user(["cat", "/home/user/some/notes"], uid=OTHER).code != 0
    assert desktop.read("/home/user/some/notes") == b"words"
    with pytest.raises(FileNotFoundError):
        desktop.read("/home/user/nothing")
