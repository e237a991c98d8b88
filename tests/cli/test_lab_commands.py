"""The commands on a real kernel in the lab: what was asked happens, is told truthfully, and nothing is left behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from schedtui.backend.deploy import resolve
from schedtui.backend.lab import LabMachine
from schedtui.backend.library.catalogue import load_library
from schedtui.backend.recording import read_recording
from schedtui.commands.hold import apply_and_hold
from schedtui.console import Console
from tests.cli.commands import COMMAND, schedtui
from tests.conftest import DEFAULT, kernel_image, until

pytestmark = pytest.mark.lab

IN_LAB = ("--machine", "lab", "--cpus", "2")


class Running:
    """A command that runs on, and every process that came of it."""

    def __init__(self, *arguments: str, **variables: str) -> None:
        self.mark = f"SCHEDTUI_TEST={uuid.uuid4()}"
        name, _, value = self.mark.partition("=")
        self.process = subprocess.Popen(
            [str(COMMAND), *arguments],
            env={**os.environ, **variables, name: value},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def wait_for(self, words: str) -> None:
        """Until it says this on stderr."""
        assert self.process.stderr
        said = ""
        for line in self.process.stderr:
            said += line
            if words in line:
                return
        raise AssertionError(f"“{words}” was not said: {said}")

    def end(self, number: int) -> tuple[int, str]:
        """Send a signal; returns the exit code and the standard output."""
        self.process.send_signal(number)
        out, err = self.process.communicate(timeout=60)
        assert "Traceback" not in err
        return self.process.returncode, out

    def survivors(self) -> list[str]:
        """Processes that it has left behind."""
        return [path.parent.name for path in Path("/proc").glob("[0-9]*/environ") if self.mark in _read(path)]


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""


@pytest.fixture
def running() -> Iterator[list[Running]]:
    """Commands that are ended after the test, should it not have done so."""
    commands: list[Running] = []
    yield commands
    for each in commands:
        if each.process.poll() is None:
            each.process.kill()
        each.process.communicate()


def test_a_policy_runs_for_the_time_given_and_the_kernels_own_scheduler_is_back() -> None:
    ended = schedtui("apply", "fair", *IN_LAB, "--for", "2s", "--json")
    assert ended.code == 0, ended.out
    spoken = ended.spoken
    assert spoken["machine"] == "lab"
    assert spoken["policy"] == "fair"
    assert spoken["scheduler"].startswith("fair")
    assert any(spoken["statistics"].values())
    assert spoken["after"] == "EEVDF"


def test_a_preset_runs_the_policy_that_it_chose() -> None:
    library = load_library()
    preset = next(each for each in library.presets.values() if each.choices)
    spoken = schedtui("apply", preset.id, *IN_LAB, "--for", "1s", "--json").spoken
    assert spoken["preset"] == preset.id
    assert spoken["policy"] == resolve(library, preset.id).policy.name  # type: ignore[union-attr]
    assert spoken["after"] == "EEVDF"


def test_every_tunable_can_be_set_to_its_ends() -> None:
    policy = load_library().policies["fair"]
    for end in ("minimum", "maximum"):
        settings = [f"--set={each.name}={getattr(each, end)}" for each in policy.tunables if each.minimum is not None]
        ended = schedtui("apply", "fair", *settings, *IN_LAB, "--for", "1s", "--json")
        assert ended.code == 0, ended.out


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 0), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_signal_ends_a_policy_that_runs_on_and_restores(running: list[Running], number: int, code: int) -> None:
    command = Running("apply", "fair", *IN_LAB)
    running.append(command)
    command.wait_for("runs in the lab")
    ended, out = command.end(number)
    assert ended == code
    assert "EEVDF runs again." in out
    assert command.survivors() == []


def test_a_policy_stopped_before_its_time_is_said_to_be(running: list[Running]) -> None:
    command = Running("apply", "fair", *IN_LAB, "--for", "1h")
    running.append(command)
    command.wait_for("runs in the lab")
    assert command.end(signal.SIGINT)[0] == 130


def test_a_live_tunable_is_changed_by_a_typed_line_and_a_wrong_line_ends_nothing(running: list[Running]) -> None:
    command = Running("apply", "focus", *IN_LAB)
    running.append(command)
    command.wait_for("runs in the lab")
    assert command.process.stdin
    command.process.stdin.write("focus_nam=steam\nnonsense\nslice_us=9000\nfocus_name=steam\n")
    command.process.stdin.flush()
    for words in ("Did you mean “focus_name”", "no tunable called “nonsense”", "slice_us", "focus_name is steam now"):
        command.wait_for(words)
    code, out = command.end(signal.SIGINT)
    assert code == 0
    assert "EEVDF runs again." in out


def test_kill_9_leaves_no_process_of_the_lab_behind(running: list[Running]) -> None:
    command = Running("apply", "fair", *IN_LAB)
    running.append(command)
    command.wait_for("runs in the lab")
    assert len(command.survivors()) > 1
    assert command.end(signal.SIGKILL)[0] == -9
    assert until(lambda: not command.survivors())


def test_a_signal_while_the_kernel_boots_leaves_nothing_that_counts(running: list[Running], tmp_path: Path) -> None:
    image = str(kernel_image(DEFAULT))
    command = Running("lab", "prepare", "--cpus", "1", "--kernel", image, XDG_CACHE_HOME=str(tmp_path))
    running.append(command)
    command.wait_for("emulated" if not os.access("/dev/kvm", os.W_OK) else "boot:")
    assert command.end(signal.SIGTERM)[0] == 143
    assert until(lambda: not command.survivors())  # QEMU may have been started at that very moment: it ends after us
    assert not any(each.stat().st_size > 100 << 20 for each in tmp_path.rglob("*") if each.is_file())


def test_a_scheduler_that_is_taken_away_meanwhile_is_a_failure_told_with_what_runs(
    lab: LabMachine, capsys: pytest.CaptureFixture[str]
) -> None:
    def take_away() -> None:
        assert until(lambda: lab.scheduler().sched_ext == "enabled", 60)
        lab.run(["sh", "-c", "echo S > /proc/sysrq-trigger"], 20)

    sysrq = threading.Thread(target=take_away)
    sysrq.start()
    code = apply_and_hold(lab, resolve(load_library(), "fair"), 30, Console(json=True))
    sysrq.join()
    spoken: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert code == 1
    assert spoken["error"]["kind"] == "load-rejected"
    assert "did not stay" in spoken["error"]["message"]
    assert spoken["after"] == "EEVDF"


def test_a_command_runs_on_the_labs_kernel_and_its_exit_code_is_ours() -> None:
    ended = schedtui("lab", "run", "--cpus", "2", "--", "sh", "-c", "uname -r; exit 3")
    assert ended.code == 3
    assert ended.out.strip() == schedtui("status", *IN_LAB, "--json").spoken["kernel"]


def test_a_command_can_run_under_a_policy() -> None:
    command = ["cat", "/sys/kernel/sched_ext/root/ops"]
    spoken = schedtui("lab", "run", "--cpus", "2", "--apply", "fair", "--json", "--", *command).spoken
    assert spoken["exit_code"] == 0
    assert spoken["output"].strip() == spoken["scheduler"]
    assert spoken["scheduler"].startswith("fair")


def test_a_command_that_is_not_there_ends_with_125_and_one_that_takes_too_long_is_killed() -> None:
    assert schedtui("lab", "run", "--cpus", "2", "--", "no-such-command").code == 125
    assert schedtui("lab", "run", "--cpus", "2", "--timeout", "1s", "--", "sleep", "60").code == 137


def test_panic_in_the_lab_latches_and_says_what_runs() -> None:
    ended = schedtui("panic", *IN_LAB, "--json")
    assert ended.code == 0
    assert ended.spoken["scheduler"] == "EEVDF"
    assert ended.spoken["sched_ext"] == "disabled"


def test_a_recording_of_the_lab_holds_its_load_and_its_scheduler(tmp_path: Path) -> None:
    file = tmp_path / "lab.jsonl"
    ended = schedtui("record", str(file), *IN_LAB, "--for", "3s", "--workload", "hogs", "--apply", "fair")
    assert ended.code == 0, ended.err
    recording = read_recording(file)
    last = recording.frame(len(recording.lines) - 1)
    assert last.scheduler.name.startswith("fair")
    assert {each.kind for each in last.workloads} == {"hogs"}


def test_the_kernels_that_can_boot_are_listed_with_the_default_first() -> None:
    kernel_image(DEFAULT)
    kernels = schedtui("lab", "kernels", "--json").spoken["kernels"]
    assert all(Path(each["image"]).exists() for each in kernels)
    assert schedtui("status", "--machine", "lab", "--json").spoken["kernel"] == kernels[0]["release"]
