"""schedtui is killed (SIGKILL) at any step of a deployment: the next start resolves it, and says what happened."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from schedtui.backend.model import MachineKind
from tests.deploy.computer import DIGEST, Computer
from tests.deploy.conftest import Desk

pytestmark = pytest.mark.slow

STEPS = {
    "proposed": "before it was checked",
    "verified": "before it was tried",
    "before the load": "while it was tried",
    "while it is measured": "while it was tried",
    "waiting": "while it was tried",
    "while it is kept": "while it was tried",
    "while it is reverted": "while it was tried",
}
each_step = pytest.mark.parametrize("step", STEPS, ids=[each.replace(" ", "-") for each in STEPS])


def killed_at(step: str, folder: Path, kind: MachineKind = "host") -> None:
    """Deploy in another process, and kill it there."""
    with _deploying(step, folder, kind) as process:
        process.kill()


def _deploying(step: str, folder: Path, kind: MachineKind) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "tests.deploy.dies", str(folder / "history.sqlite"), step, kind]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, cwd=Path(__file__).parents[2])
    assert process.stdout is not None
    assert process.stdout.readline() == b"here\n"
    return process


@pytest.fixture
def after(tmp_path: Path) -> Iterator[Desk]:
    """The computer afterwards: its helper still holds what was loaded."""
    desk = Desk(tmp_path)
    desk.computer.put("fifo", DIGEST, {})
    yield desk


def test_what_a_dead_program_was_asked_is_ended_at_the_next_start(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    id = desk.store.add_request("my game stutters", mind="offline adviser")
    with sqlite3.connect(desk.store.path) as connection:
        connection.execute("UPDATE request SET watcher = '1:1'")
    assert desk.deployer.recover() == []
    assert desk.store.request(id).state == "stopped"


@each_step
def test_nothing_stays_that_was_not_kept(after: Desk, step: str) -> None:
    killed_at(step, after.store.path.parent)

    (resolved,) = after.deployer.recover()

    assert resolved.state == "reverted"
    assert STEPS[step] in resolved.reason
    if step not in ("proposed", "verified"):
        assert after.computer.scheduler().name == "EEVDF"
    assert after.store.deployments() == [resolved]
    assert after.deployer.recover() == [], "it is told once"


def test_what_was_kept_and_still_runs_stays(after: Desk) -> None:
    killed_at("kept", after.store.path.parent)
    assert after.deployer.recover() == []
    assert after.store.deployments()[0].state == "kept"
    assert after.computer.scheduler().policy == "fifo"


def test_what_was_kept_and_is_gone_is_told_and_not_loaded_again(tmp_path: Path) -> None:
    killed_at("kept", tmp_path)
    desk = Desk(tmp_path)
    (resolved,) = desk.deployer.recover()
    assert resolved.state == "reverted"
    assert "nothing is loaded again by itself. EEVDF runs." in resolved.reason
    assert desk.computer.calls == []


def test_another_programs_scheduler_is_left_alone(tmp_path: Path) -> None:
    killed_at("while it is measured", tmp_path)
    desk = Desk(tmp_path)
    desk.computer.put("scx_lavd", "", {}, owner="another program")
    (resolved,) = desk.deployer.recover()
    assert "scx_lavd runs" in resolved.reason
    assert desk.computer.calls == []


def test_what_was_tried_in_a_lab_ended_with_the_lab(tmp_path: Path) -> None:
    killed_at("waiting", tmp_path, "lab")
    desk = Desk(tmp_path, Computer(kind="lab"))
    (resolved,) = desk.deployer.recover()
    assert "the lab ended with it" in resolved.reason


def test_what_another_schedtui_works_on_is_left_alone(after: Desk) -> None:
    process = _deploying("while it is measured", after.store.path.parent, "host")
    try:
        assert after.deployer.recover() == []
        os.kill(process.pid, 9)
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert len(after.deployer.recover()) == 1, "dead, though nobody has asked for its end yet"
    finally:
        process.kill()
        process.wait()
        process.stdout.close()  # type: ignore[union-attr]
