"""The end: whatever happens, the terminal is given back, the exit code tells, and nothing is left behind."""

from __future__ import annotations

import os
import pty
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from tests.app.conftest import live, running

pytestmark = pytest.mark.slow

PROGRAM = "import sys; from schedtui.launch import run_app; sys.exit(run_app())"


class Terminal:
    """schedtui in a terminal of its own."""

    def __init__(self, program: str = PROGRAM) -> None:
        self.controller, device = pty.openpty()
        environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "100", "LINES": "30"}
        self.process = subprocess.Popen(
            [sys.executable, "-c", program],
            stdin=device,
            stdout=device,
            stderr=device,
            env=environment,
            start_new_session=True,
        )
        os.close(device)
        self.output = b""

    def read_until(self, text: bytes, patience_s: float = 60) -> None:
        deadline = time.monotonic() + patience_s
        while text not in self.output:
            assert time.monotonic() < deadline, self.output[-2000:].decode(errors="replace")
            self._read(0.1)

    def end(self) -> int:
        """The exit code; output is taken meanwhile, as a terminal does."""
        deadline = time.monotonic() + 60
        while self.process.poll() is None:
            assert time.monotonic() < deadline
            self._read(0.1)
        self._read(0.1)
        return self.process.returncode

    def hang_up(self) -> None:
        os.close(self.controller)
        self.controller = -1

    def _read(self, seconds: float) -> None:
        if self.controller >= 0 and select.select([self.controller], [], [], seconds)[0]:
            try:
                self.output += os.read(self.controller, 1 << 16)
            except OSError:
                time.sleep(seconds)
        elif self.controller < 0:
            time.sleep(seconds)


def family(process: subprocess.Popen[bytes]) -> list[psutil.Process]:
    return psutil.Process(process.pid).children(recursive=True)


def gone(processes: list[psutil.Process]) -> bool:
    return not psutil.wait_procs(processes, timeout=60)[1]


def test_q_ends_with_zero_and_leaves_no_process() -> None:
    terminal = Terminal()
    terminal.read_until(b"runnable")
    children = family(terminal.process)
    os.write(terminal.controller, b"q")
    assert terminal.end() == 0
    assert gone(children)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_signal_ends_it_with_its_own_code_and_gives_the_terminal_back(number: signal.Signals) -> None:
    terminal = Terminal()
    terminal.read_until(b"runnable")
    children = family(terminal.process)
    terminal.process.send_signal(number)
    assert terminal.end() == 128 + number
    assert b"\x1b[?1049l" in terminal.output
    assert gone(children)


def test_a_terminal_that_goes_away_ends_it() -> None:
    terminal = Terminal()
    terminal.read_until(b"runnable")
    children = family(terminal.process)
    terminal.hang_up()
    for number in (signal.SIGHUP, signal.SIGCONT):
        terminal.process.send_signal(number)
    terminal.end()
    assert gone(children)


def test_it_ends_by_itself_when_its_terminal_goes_away_and_no_signal_comes() -> None:
    terminal = Terminal()
    terminal.read_until(b"runnable")
    terminal.hang_up()
    assert terminal.end() == 128 + signal.SIGHUP


def test_a_machine_that_does_not_exist_is_one_sentence() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.replace("run_app()", "run_app('moon')")], capture_output=True, text=True
    )
    assert done.returncode == 1
    assert "moon" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_fault_of_its_own_is_a_sentence_and_a_log_but_no_traceback(home: Path) -> None:
    program = """
import sys
from schedtui.app import SchedtuiApp
from schedtui.launch import run_app
SchedtuiApp.action_help = lambda self: 1 / 0
sys.exit(run_app())
"""
    terminal = Terminal(program)
    terminal.read_until(b"runnable")
    os.write(terminal.controller, b"?")
    assert terminal.end() == 1
    assert b"Traceback" not in terminal.output
    assert b"a fault of its own" in terminal.output
    (log,) = (home / "cache" / "schedtui" / "log").iterdir()
    assert "ZeroDivisionError" in log.read_text()


async def test_quitting_closes_the_machine() -> None:
    async with running() as (app, pilot):
        await live(app, pilot)
        feed = app.feed
        await pilot.press("q")
    assert feed is not None
    assert feed.closed
