"""kill -9 of the terminal program, of QEMU or of the helper at any moment: nothing is left, and the next start works.

``make test`` runs a few moments of a fixed seed; ``make soak`` many.
"""

from __future__ import annotations

import contextlib
import os
import random
import sys
import time
from pathlib import Path

import psutil
import pytest

from schedtui import paths
from schedtui.backend.bpf.compiler import compile_bpf
from schedtui.backend.errors import SchedtuiError
from schedtui.backend.lab import LabMachine
from schedtui.backend.microvm.lock import locked
from tests.conftest import DEFAULT, kernel_image, quiet, runs, until
from tests.terminal import Terminal

pytestmark = pytest.mark.lab

COMMAND = str(Path(sys.executable).parent / "schedtui")
VICTIMS = ("schedtui", "qemu")
SAMPLE = [(seed, VICTIMS[seed % 2]) for seed in (2, 3)]
MANY = [(seed, VICTIMS[seed % 2]) for seed in range(100, 160)]


@pytest.mark.parametrize(("seed", "victim"), SAMPLE)
def test_a_kill_at_a_random_moment_leaves_nothing_behind(seed: int, victim: str, own_tmp: Path) -> None:
    kill_at_a_random_moment(seed, victim, own_tmp)


@pytest.mark.soak
@pytest.mark.parametrize(("seed", "victim"), MANY)
def test_kills_at_many_random_moments_leave_nothing_behind(seed: int, victim: str, own_tmp: Path) -> None:
    kill_at_a_random_moment(seed, victim, own_tmp)


@pytest.fixture
def own_tmp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the program puts its temporary files, and no other program of this computer does."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    return tmp_path


def kill_at_a_random_moment(seed: int, victim: str, own_tmp: Path) -> None:
    """Start the program on the lab, type, and kill one of its parts between 0 and 6 s after the command."""
    kernel = str(kernel_image(DEFAULT))
    warm = LabMachine(kernel=Path(kernel), cpus=2)  # so that the snapshot is there
    warm.open(quiet)
    warm.close()
    moment_s = random.Random(seed).uniform(0, 6)
    builds = set(abandoned_builds())
    terminal = Terminal([COMMAND, "lab", "--kernel", kernel, "--cpus", "2"], 100, 30)
    try:
        terminal.drain(moment_s / 2)
        terminal.press(b"p")
        terminal.drain(moment_s / 4)
        terminal.press(b"\r\r")
        terminal.drain(moment_s / 4)
        family = psutil.Process(terminal.pid).children(recursive=True)
        kill(victim, terminal, family)
        terminal.drain(1)
        if victim != "schedtui":
            assert psutil.Process(terminal.pid).is_running(), "the program outlives its guest"
            assert "Traceback" not in terminal.text
    finally:
        terminal.close()

    assert until(lambda: not any(runs(each.pid) for each in family)), family
    assert not [each for each in own_tmp.iterdir() if "schedtui" in each.name]
    again = LabMachine(kernel=Path(kernel), cpus=2)
    again.open(quiet)
    assert again.scheduler().name == "EEVDF"
    again.close()
    assert not set(abandoned_builds()) - builds, "a build that was cut short is cleared away"


def abandoned_builds() -> list[Path]:
    """Snapshots that were begun and that nobody builds any more."""
    folder = paths.cache_dir() / "lab"
    found = []
    for each in folder.glob(".building-*"):
        with contextlib.suppress(BlockingIOError), locked(folder / f"{each.name.removeprefix('.building-')}.lock"):
            found += [each] if each.exists() else []
    return found


def kill(victim: str, terminal: Terminal, family: list[psutil.Process]) -> None:
    """Kill the program, or every QEMU that it started."""
    if victim == "schedtui":
        os.kill(terminal.pid, 9)
        return
    for each in family:
        if "qemu" in each.name():
            each.kill()


def test_kill_9_of_the_helper_at_random_moments_of_a_load_leaves_eevdf(lab: LabMachine) -> None:
    obj = compile_bpf(paths.shipped("library") / "fair" / "fair.bpf.c")
    moments = random.Random(7)
    for _ in range(4):
        helper = lab.run(["sh", "-c", "echo $PPID"], 10).output.strip()
        pause_s = moments.uniform(0, 1.5)
        with_kill = ["sh", "-c", f"(sleep {pause_s:.2f}; kill -9 {helper}) >/dev/null 2>&1 & exec setsid true"]
        lab.run(["setsid", *with_kill], 10)
        try:
            lab.load("fair", obj, {})
            time.sleep(2)
        except SchedtuiError:
            pass
        assert until(lambda: answers_disabled(lab))


def answers_disabled(machine: LabMachine) -> bool:
    try:
        return machine.scheduler().sched_ext == "disabled"
    except SchedtuiError:
        return False
