"""The timer in a process of its own: it measures, and it never outlives whoever started it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from schedtui.backend.probes.overshoot import TimerOvershoot
from tests.conftest import until


def timers() -> set[int]:
    """The timer processes that are alive now."""
    found = set()
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if b"overshoot_timer" in (folder / "cmdline").read_bytes():
                found.add(int(folder.name))
        except OSError:
            continue
    return found


def test_it_counts_every_wake_up_of_its_timer_once() -> None:
    probe = TimerOvershoot()
    try:
        assert until(lambda: (latency := probe.sample()) is not None and latency.count > 0)
        began = time.monotonic()
        time.sleep(0.5)
        latency = probe.sample()
        elapsed_s = time.monotonic() - began
        assert latency is not None
        assert latency.source == "timer-overshoot"
        assert 1 <= latency.count <= elapsed_s / 0.025 + 2
        assert latency.p50_us is not None
        assert latency.max_us is not None
        assert latency.p50_us <= latency.max_us
    finally:
        probe.close()


def test_closing_it_ends_the_process() -> None:
    before = timers()
    probe = TimerOvershoot()
    assert until(lambda: bool(timers() - before))
    probe.close()
    assert timers() <= before


def test_killing_its_owner_ends_the_process() -> None:
    before = timers()
    code = "from schedtui.backend.probes.overshoot import TimerOvershoot as T; import time; t = T(); time.sleep(60)"
    owner = subprocess.Popen([sys.executable, "-c", code])
    assert until(lambda: bool(timers() - before))
    owner.send_signal(signal.SIGKILL)
    owner.wait()
    assert until(lambda: timers() <= before)


def test_when_its_process_dies_that_is_said() -> None:
    before = timers()
    probe = TimerOvershoot()
    assert until(lambda: bool(timers() - before))
    for pid in timers() - before:
        os.kill(pid, signal.SIGKILL)
    assert until(lambda: probe.sample() is None)
    assert "ended" in probe.missing
    probe.close()
