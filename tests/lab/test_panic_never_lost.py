"""Panic is never lost: each message, and each press of the hot key, ends the scheduler, however it starves others."""

from __future__ import annotations

from pathlib import Path

import pytest

from schedtui.backend.bpf.compiler import compile_bpf
from schedtui.backend.lab import LabMachine
from schedtui.paths import shipped
from tests.benchmarks.panic import measured
from tests.conftest import SOURCES
from tests.lab.keyboard import plug_in

pytestmark = [pytest.mark.lab, pytest.mark.soak, pytest.mark.timeout(1800)]

POLICIES = {"fair": shipped("library") / "fair" / "fair.bpf.c", "starves": SOURCES / "starves.bpf.c"}
LONGEST_S = 10.0
"""After which panic itself gives up on the kernel."""
HOGS = 20
each_policy = pytest.mark.parametrize("source", POLICIES.values(), ids=POLICIES)


@each_policy
@pytest.mark.matrix
def test_a_few_panics_all_arrive(lab: LabMachine, source: Path) -> None:
    assert max(measured(lab, "message", compile_bpf(source), 5, HOGS)) < LONGEST_S


@each_policy
def test_a_hundred_panics_all_arrive(lab: LabMachine, source: Path) -> None:
    assert max(measured(lab, "message", compile_bpf(source), 100, HOGS)) < LONGEST_S


@each_policy
def test_every_press_of_the_hot_key_arrives(lab: LabMachine, source: Path) -> None:
    plug_in(lab)
    assert max(measured(lab, "key", compile_bpf(source), 20, HOGS)) < LONGEST_S
