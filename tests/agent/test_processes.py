"""Which programs run: read from /proc, on this computer and in the lab, whatever they call themselves."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from schedtui.agent import processes
from schedtui.backend.host import HostMachine
from schedtui.backend.lab import LabMachine
from schedtui.backend.machine import Machine
from tests.conftest import until

BUSY = r"""
import ctypes
ctypes.CDLL(None).prctl(15, b"a) R 1 (evil\n")
while True: pass
"""


@pytest.fixture
def busy() -> Iterator[int]:
    """A process that computes, under a name that looks like the end of its own line."""
    child = subprocess.Popen([sys.executable, "-c", BUSY])
    assert until(lambda: "evil" in Path(f"/proc/{child.pid}/comm").read_text())
    yield child.pid
    child.kill()
    child.wait()


@pytest.mark.slow
def test_a_process_is_seen_with_its_use_parent_and_command(busy: int) -> None:
    machine: Machine = HostMachine()
    (found,) = (each for each in processes.look_at(machine, "host") if each.pid == busy)
    assert found.used_percent > 0
    assert found.parent == os.getpid()
    assert found.command.startswith(sys.executable)
    assert found.name.strip() == "a) R 1 (evil"


def test_programs_are_told_as_trees_with_the_busiest_first() -> None:
    def process(pid: int, parent: int, name: str, used: float) -> processes.Process:
        return processes.Process(
            pid=pid, parent=parent, name=name, command=name, threads=1, nice=0, used_percent=used, age_s=5.0
        )

    found = processes.trees(
        [
            process(1, 0, "systemd", 0),
            process(10, 1, "bash", 0),
            process(11, 10, "make", 1),
            process(12, 11, "cc1", 90),
            process(13, 11, "cc1", 80),
            process(20, 1, "game", 60),
        ]
    )
    assert [(each.root.name, each.members) for each in found[:2]] == [("make", 3), ("game", 1)]
    told = processes.in_words(found, most=1)
    assert told.startswith("make: 171 % of a CPU, 3 processes (cc1, make)")
    assert "more" in told


@pytest.mark.lab
def test_the_programs_of_the_lab_are_seen_too(lab: LabMachine) -> None:
    lab.start_workload("hogs")
    found = processes.trees(processes.look_at(lab, "lab"))
    assert any("hog" in name for each in found for name in each.names)
