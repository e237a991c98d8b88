"""Counters that only grow: which processes a focus means, and what can be counted without privileges."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from schedtui.backend.host import HostMachine
from schedtui.backend.probes.counters import RunDelayCounters, family
from tests.conftest import quiet, until

NAME = f"counted-{os.getpid()}"
"""Of the tests of this process alone: others run beside it."""
NAPPING = "import time\nwhile True: time.sleep(0.001)"
PARENT = f"""
import subprocess, sys, pathlib
pathlib.Path("/proc/self/comm").write_text("{NAME}")
subprocess.run([sys.executable, "-c", {NAPPING!r}])
"""


@pytest.fixture
def parent() -> Iterator[subprocess.Popen[bytes]]:
    """A process that calls itself so, and has a child that sleeps and wakes without end."""
    process = subprocess.Popen([sys.executable, "-c", PARENT], start_new_session=True)
    assert until(lambda: len(family([NAME])) == 2)
    yield process
    os.killpg(process.pid, 9)
    process.wait()


def test_a_focus_means_the_named_processes_and_their_descendants(parent: subprocess.Popen[bytes]) -> None:
    members = family([NAME])
    assert parent.pid in members
    assert os.getpid() not in members


def test_a_name_is_found_as_the_kernel_cuts_it(parent: subprocess.Popen[bytes]) -> None:
    assert family([f"{NAME}-with-a-longer-name"]) == set()
    assert family(["nobody-is-called-so"]) == set()
    with subprocess.Popen(["sleep", "60"], executable="/bin/sleep") as asleep:
        assert asleep.pid in family(["sleep"])
        asleep.kill()


def test_the_waits_of_processes_in_focus_are_counted_apart(parent: subprocess.Popen[bytes]) -> None:
    counters = RunDelayCounters()
    assert counters.read().focus_wakeups == ()
    counters.focus([NAME])

    def focused() -> int:
        return sum(counters.read().focus_wakeups)

    assert until(lambda: focused() > 20)
    counts = counters.read()
    assert sum(counts.wakeups) >= sum(counts.focus_wakeups)
    assert counts.source == "run-delay"
    assert counts.longest_wait_ms is None, "that is not known from run delay"


def test_processes_that_begin_later_come_into_focus() -> None:
    counters = RunDelayCounters()
    counters.focus([NAME])
    process = subprocess.Popen([sys.executable, "-c", PARENT], start_new_session=True)
    try:
        assert until(lambda: len(family([NAME])) == 2)
        counters.rescan()
        assert until(lambda: sum(counters.read().focus_wakeups) > 0)
    finally:
        os.killpg(process.pid, 9)
        process.wait()


def test_a_sample_of_this_computer_only_grows_and_says_its_source() -> None:
    machine = HostMachine()
    machine.open(quiet)
    first = machine.sample()
    assert until(lambda: sum(machine.sample().wakeups) > sum(first.wakeups))
    second = machine.sample()
    machine.close()
    assert all(now >= then for then, now in zip(first.wakeups, second.wakeups, strict=False))
    assert second.time_s > first.time_s
    assert (second.source, second.work) == ("run-delay", {})
