"""Where a user has no home, no PATH, somebody else's cache, names that are not UTF-8: a sentence, and no traceback."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.cli.commands import COMMAND, schedtui

pytestmark = pytest.mark.slow

as_nobody = pytest.mark.skipif(os.geteuid() != 0, reason="only root can run a command as another user")
NOT_UTF_8 = os.fsdecode(b"/tmp/\xff")


def run_as_nobody(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """As a user without an entry in the system's list, hence without a home."""
    environment = {"PATH": os.environ["PATH"], **variables}
    command = ["setpriv", "--reuid=54321", "--clear-groups", str(COMMAND), *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert "Traceback" not in done.stderr and "fault of schedtui" not in done.stderr, done.stderr
    return done


@as_nobody
def test_without_a_home_everything_that_needs_none_works() -> None:
    assert run_as_nobody("status").returncode == 0
    doctor = run_as_nobody("doctor")
    assert doctor.returncode == 0
    assert "XDG_CACHE_HOME" in doctor.stdout


@as_nobody
@pytest.mark.parametrize("command", ["doctor", "status", "lab kernels"])
def test_a_home_that_may_not_be_entered_is_no_fault(command: str, tmp_path: Path) -> None:
    closed = tmp_path / "home"
    closed.mkdir(mode=0o700)
    assert run_as_nobody(*command.split(), HOME=str(closed)).returncode == 0


def test_without_the_system_s_programs_the_doctor_still_says_what_is_missing() -> None:
    ended = schedtui("doctor", PATH="/nonexistent")
    assert ended.code == 0
    assert "QEMU is not installed" in ended.out


def test_a_file_name_that_is_not_utf_8_is_told_in_json_too() -> None:
    ended = schedtui("status", "--machine", f"replay:{NOT_UTF_8}", "--json")
    assert ended.code == 1
    assert "/tmp/?" in ended.spoken["error"]["message"]


def test_a_setting_that_is_not_utf_8_is_refused() -> None:
    ended = schedtui("apply", "longest-first", "--set", f"long_job={NOT_UTF_8}", "--json")
    assert (ended.code, ended.spoken["error"]["kind"]) == (2, "bad-tunable")


def test_a_recording_of_nested_brackets_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "deep.jsonl"
    file.write_text('{"x":' + "[" * 100_000 + "]" * 100_000 + "}\n")
    ended = schedtui("status", "--machine", f"replay:{file}", "--json")
    assert (ended.code, ended.spoken["error"]["kind"]) == (1, "bad-file")


@pytest.mark.parametrize("interval", ["0.001ms", "2m"])
def test_an_interval_that_no_machine_serves_is_refused(interval: str, tmp_path: Path) -> None:
    assert schedtui("record", str(tmp_path / "file"), "--interval", interval, "--for", "200ms").code == 2
