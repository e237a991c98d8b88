"""The commands on this computer and on recordings: what they say to people and to scripts, and how they end."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest

from schedtui import __version__
from schedtui.backend.recording import read_recording
from tests.cli.commands import COMMAND, schedtui, started


def test_help_names_every_command_and_every_exit_code() -> None:
    ended = schedtui("--help")
    assert ended.code == 0
    for word in ("status", "apply", "panic", "doctor", "record", "lab", "presets", "Exit codes", "128 + N"):
        assert word in ended.out


def test_the_version_is_the_packages() -> None:
    assert schedtui("--version").out == f"schedtui {__version__}\n"


def test_status_tells_scripts_what_they_may_rely_on() -> None:
    status = schedtui("status", "--json").spoken
    assert status["machine"] == "host"
    assert status["kernel"] == os.uname().release
    assert status["sched_ext"] in ("unsupported", "disabled", "enabled")
    assert status["scheduler"]
    assert status["owner"]


def test_status_tells_people_the_same() -> None:
    spoken, ended = schedtui("status", "--json").spoken, schedtui("status")
    assert spoken["scheduler"] in ended.out
    assert spoken["kernel"] in ended.out
    assert spoken["sched_ext"] in ended.out


@pytest.mark.slow
def test_panic_on_this_computer_says_which_scheduler_runs_afterwards() -> None:
    panic = schedtui("panic", "--json")
    assert panic.code == 0
    assert panic.spoken["scheduler"] == schedtui("status", "--json").spoken["scheduler"]
    assert panic.spoken["path"] == "nothing-to-do"


@pytest.mark.skipif(Path("/sys/kernel/sched_ext").exists(), reason="schedulers can be loaded here")
def test_applying_where_nothing_can_be_loaded_fails_and_leads_to_the_lab() -> None:
    ended = schedtui("apply", "fair", "--for", "1s", "--json")
    assert ended.code == 1
    assert ended.spoken["error"]["kind"] == "not-permitted"
    assert "lab" in ended.spoken["error"]["remedy"]


def test_back_to_the_default_works_everywhere() -> None:
    ended = schedtui("apply", "default", "--json")
    assert ended.code == 0
    assert ended.spoken["after"] == schedtui("status", "--json").spoken["scheduler"]


@pytest.mark.slow
def test_doctor_examines_without_a_network_and_gives_a_remedy_for_what_is_missing(tmp_path: Path) -> None:
    findings = schedtui("doctor", "--json", XDG_CACHE_HOME=str(tmp_path)).spoken["findings"]
    kernels = next(each for each in findings if each["name"] == "lab kernels")
    assert not kernels["ok"]
    assert kernels["remedy"].startswith("schedtui lab kernels --fetch")
    assert all(each["state"] for each in findings)


def test_doctor_names_a_cache_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    findings = schedtui("doctor", "--json", XDG_CACHE_HOME=str(tmp_path / "file")).spoken["findings"]
    assert not next(each for each in findings if each["name"] == "cache")["ok"]


def test_doctor_names_a_terminal_without_abilities() -> None:
    findings = schedtui("doctor", "--json", TERM="dumb").spoken["findings"]
    assert not next(each for each in findings if each["name"] == "terminal")["ok"]


def test_presets_lists_what_apply_takes() -> None:
    spoken = schedtui("presets", "--json").spoken
    assert "default" in {each["id"] for each in spoken["presets"]}
    people = schedtui("presets").out
    for each in spoken["policies"]:
        assert each["name"] in people


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "kind", "words"),
    [
        (["apply", "fiar"], "unknown-name", "fair"),
        (["apply", "fair", "--set", "slice=1"], "bad-tunable", "slice"),
        (["apply", "fair", "--set", "slice_us=0"], "bad-tunable", "slice_us"),
        (["apply", "fair", "--set", "slice_us"], "usage", "NAME=VALUE"),
        (["apply", "fair", "--for", "soon"], "usage", "soon"),
        (["apply", "fair", "--for", "0s"], "usage", "between 0 and a week"),
        (["status", "--machine", "moon"], "unknown-name", "moon"),
        (["status", "--cpus", "2"], "usage", "--machine lab"),
        (["status", "--frobnicate"], "usage", "frobnicate"),
        (["record", "x", "--set", "a=b"], "usage", "--apply"),
        (["lab", "kernels", "--fetch", "newest"], "unknown-name", "newest"),
        (["frobnicate"], "usage", "frobnicate"),
    ],
)
def test_a_command_line_that_makes_no_sense_ends_with_2_and_says_why(
    arguments: list[str], kind: str, words: str
) -> None:
    people, script = schedtui(*arguments), schedtui(*arguments, "--json")
    assert people.code == script.code == 2
    assert people.out == ""
    assert words in people.err
    error = script.spoken["error"]
    assert error["kind"] == kind
    assert words in error["message"] + error["remedy"]


def test_a_file_that_is_no_kernel_ends_with_1() -> None:
    ended = schedtui("status", "--machine", "lab", "--kernel", "/etc/passwd", "--json")
    assert ended.code == 1
    assert ended.spoken["error"]["kind"] in ("kernel-unsuitable", "missing-tool")


@pytest.mark.slow
def test_the_machine_may_stand_before_the_command() -> None:
    assert schedtui("--machine", "moon", "status").code == 2
    assert schedtui("--machine", "moon", "status", "--machine", "host").code == 0


@pytest.mark.slow
def test_a_recording_made_here_plays_with_the_same_scheduler(tmp_path: Path) -> None:
    file = tmp_path / "here.jsonl.gz"
    made = schedtui("record", str(file), "--for", "600ms", "--interval", "200ms", "--json")
    assert made.code == 0
    assert made.spoken["frames"] == len(read_recording(file).lines) >= 2
    replayed = schedtui("status", "--machine", f"replay:{file}", "--json")
    assert replayed.code == 0
    assert replayed.spoken["machine"] == "replay"
    assert replayed.spoken["scheduler"] == schedtui("status", "--json").spoken["scheduler"]


@pytest.mark.slow
def test_a_recording_overwrites_nothing_unless_told_to(tmp_path: Path) -> None:
    file = tmp_path / "mine"
    file.write_text("precious")
    assert schedtui("record", str(file), "--for", "300ms", "--interval", "100ms").code == 1
    assert file.read_text() == "precious"
    assert schedtui("record", str(file), "--for", "300ms", "--interval", "100ms", "--overwrite").code == 0
    assert read_recording(file).lines


def test_a_recording_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    ended = schedtui("record", str(tmp_path / "gone" / "file"), "--for", "300ms")
    assert ended.code == 1
    assert "cannot be written" in ended.err


def test_a_full_disk_ends_a_recording_with_a_sentence() -> None:
    ended = schedtui("record", "/dev/full", "--overwrite", "--for", "300ms")
    assert ended.code == 1
    assert "No space left" in ended.err


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 0), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_recording_ended_by_a_signal_is_whole(tmp_path: Path, number: int, code: int) -> None:
    file = tmp_path / "live"
    process = started("record", str(file), "--interval", "100ms")
    while not file.exists() or file.read_bytes().count(b"\n") < 3:
        assert process.poll() is None
    process.send_signal(number)
    out, err = process.communicate(timeout=20)
    assert process.returncode == code, err
    assert "Traceback" not in err
    assert f"{len(read_recording(file).lines)} frames" in out


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_second_signal_does_not_disturb_the_end(tmp_path: Path, number: int) -> None:
    file = tmp_path / "live"
    process = started("record", str(file), "--for", "1h", "--interval", "100ms")
    while not file.exists() or file.read_bytes().count(b"\n") < 2:
        assert process.poll() is None
    for _ in range(20):
        process.send_signal(number)
    _, err = process.communicate(timeout=20)
    assert process.returncode == 128 + number, err
    assert "Traceback" not in err


@pytest.mark.parametrize("arguments", [["presets"], ["apply", "nothing", "--json"]])
def test_a_reader_that_has_left_is_no_failure_worth_words(arguments: list[str]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run([str(COMMAND), *arguments], stdout=writing, stderr=subprocess.PIPE, text=True, timeout=30)
    os.close(writing)
    assert done.stderr == ""
    assert done.returncode == 1


def test_a_terminal_without_unicode_gets_words_all_the_same() -> None:
    ended = schedtui("doctor", LANG="C", LC_ALL="C", PYTHONIOENCODING="ascii", PYTHONUTF8="0")
    assert ended.code == 0
    assert "sched_ext" in ended.out


def test_a_home_that_does_not_exist_and_cannot_be_made_is_no_obstacle_to_watching() -> None:
    assert schedtui("status", HOME="/proc/none", XDG_CACHE_HOME="", XDG_CONFIG_HOME="", XDG_DATA_HOME="").code == 0
