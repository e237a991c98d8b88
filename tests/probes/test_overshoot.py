"""The timer in a process of its own: it measures, and it never outlives whoever started it."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

from schedtui.backend.model import Latency
from schedtui.backend.probes.overshoot import TimerOvershoot
from tests.conftest import runs, until


def timers(owner: int) -> set[int]:
    """The timer processes of an owner that run now."""
    found = set()
    for each in psutil.Process(owner).children():
        with contextlib.suppress(psutil.NoSuchProcess):
            if "overshoot_timer" in " ".join(each.cmdline()):
                found.add(each.pid)
    return found


@pytest.mark.slow
def test_it_counts_every_wake_up_of_its_timer_once() -> None:
    began = time.monotonic()
    probe = TimerOvershoot()
    readings: list[Latency] = []
    try:
        while sum(latency.count for latency in readings) < 20 and time.monotonic() < began + 20:
            time.sleep(0.05)
            latency = probe.sample()
            assert latency is not None
            readings.append(latency)
    finally:
        probe.close()
    assert {latency.source for latency in readings} == {"timer-overshoot"}
    assert 20 <= sum(latency.count for latency in readings) <= (time.monotonic() - began) / 0.025 + 1
    assert all(latency.max_us for latency in readings if latency.count)


def test_closing_it_ends_the_process() -> None:
    before = timers(os.getpid())
    probe = TimerOvershoot()
    assert until(lambda: bool(timers(os.getpid()) - before))
    probe.close()
    assert timers(os.getpid()) <= before


def test_killing_its_owner_ends_the_process() -> None:
    code = "from schedtui.backend.probes.overshoot import TimerOvershoot as T; import time; t = T(); time.sleep(60)"
    owner = subprocess.Popen([sys.executable, "-c", code])
    assert until(lambda: bool(timers(owner.pid)))
    found = timers(owner.pid)
    owner.send_signal(signal.SIGKILL)
    owner.wait()
    assert until(lambda: not any(runs(each) for each in found))


def test_when_its_process_dies_that_is_said() -> None:
    before = timers(os.getpid())
    probe = TimerOvershoot()
    assert until(lambda: bool(timers(os.getpid()) - before))
    for pid in timers(os.getpid()) - before:
        os.kill(pid, signal.SIGKILL)
    assert until(lambda: probe.sample() is None)
    assert "ended" in probe.missing
    probe.close()
