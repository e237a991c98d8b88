"""The helper for a session: it runs from a copy that only root can change, and ends with whoever it was started for."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from schedtui.backend.setup import session
from schedtui.backend.setup.state import state
from schedtui.backend.setup.targets import Targets
from tests.conftest import until
from tests.setup.places import needs_root, setup
from tests.terminal import Terminal

pytestmark = [
    needs_root,
    pytest.mark.soak,  # while it runs, every other test would find a helper on this computer
    pytest.mark.skipif(state().installed or state().running, reason="this computer has a helper of its own"),
]
HERE = Targets()


@pytest.fixture
def somebody() -> Iterator[subprocess.Popen[bytes]]:
    """A process whose session it is; whatever a test leaves is ended."""
    with subprocess.Popen(["sleep", "120"]) as process:
        yield process
        process.kill()
    session.end(HERE)


def helpers() -> list[psutil.Process]:
    """The processes of sessions: keeper and helper."""
    return [each for each in psutil.process_iter(["cmdline"]) if "schedtui-session" in str(each.info["cmdline"])]


def places() -> list[Path]:
    return [each for each in map(HERE.under, session.PLACES) if each.exists()]


def test_it_ends_with_the_process_that_it_was_started_for(somebody: subprocess.Popen[bytes]) -> None:
    told = setup(HERE, "--for-now", "--until", str(somebody.pid))
    assert told["running"]
    assert state().for_session
    assert len(helpers()) == 2
    assert len(places()) == 1
    somebody.kill()
    assert until(lambda: not places())
    assert until(lambda: helpers() == [])
    assert not HERE.socket.exists()


def test_it_runs_from_where_only_root_can_write_with_an_empty_environment(somebody: subprocess.Popen[bytes]) -> None:
    setup(HERE, "--for-now", "--until", str(somebody.pid))
    for each in helpers():
        assert Path(each.exe()).parts[:2] == ("/", "usr")
        assert each.cmdline()[1] == "-ISB"
        assert each.cwd() == "/"
        assert each.environ() == {}


def test_a_second_one_is_refused(somebody: subprocess.Popen[bytes]) -> None:
    setup(HERE, "--for-now", "--until", str(somebody.pid))
    told = setup(HERE, "--for-now", "--until", str(somebody.pid), code=1)
    assert told["error"]["kind"] == "not-permitted"
    assert len(helpers()) == 2


def test_when_its_keeper_is_killed_the_helper_ends_and_the_next_start_tidies(somebody: subprocess.Popen[bytes]) -> None:
    setup(HERE, "--for-now", "--until", str(somebody.pid))
    (keeper,) = [each for each in helpers() if "keep" in each.cmdline()]
    keeper.kill()
    assert until(lambda: not helpers())
    assert len(places()) == 1
    setup(HERE, "--for-now", "--until", str(somebody.pid))
    assert len(helpers()) == 2


def test_removing_ends_it(somebody: subprocess.Popen[bytes]) -> None:
    setup(HERE, "--for-now", "--until", str(somebody.pid))
    setup(HERE, "--remove")
    assert until(lambda: (helpers(), places()) == ([], []))


def test_in_the_foreground_it_runs_until_it_is_stopped() -> None:
    command = [sys.executable, "-I", "-m", "schedtui", "setup", "--for-now"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        assert until(lambda: state().running or process.poll() is not None, 120)
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=60)
        assert b"Traceback" not in said
        assert until(lambda: (helpers(), places()) == ([], []))
    finally:
        process.kill()
        session.end(HERE)


def test_from_the_screens_it_is_started_and_ends_with_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    terminal = Terminal([sys.executable, "-I", "-m", "schedtui"])
    try:
        assert terminal.shows("CPU", 30)
        terminal.press(b"!")
        assert terminal.shows("Look again", 30)
        terminal.press(b"H")
        assert terminal.shows("starts its helper as root", 30)
        assert terminal.shows("runs until you leave", 60)
        assert state().for_session
    finally:
        terminal.close()
    assert until(lambda: not places())
    assert until(lambda: helpers() == [])


def test_of_a_process_that_is_gone_nothing_is_started() -> None:
    gone = subprocess.Popen(["true"])
    gone.wait()
    setup(HERE, "--for-now", "--until", str(gone.pid), code=1)
    assert until(lambda: (helpers(), places()) == ([], []))
