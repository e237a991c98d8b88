"""Frames of this machine, and of machines that lack things."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import msgspec

from schedtui.backend.model import Frame
from schedtui.backend.probes.sampler import Sampler, Samplers
from tests.probes.trees import STAT, eight_cpus_two_caches, write, write_sched_ext


def test_a_frame_of_this_machine_holds_what_the_kernel_offers() -> None:
    sampler = Sampler()
    time.sleep(0.15)
    frame = sampler.sample()
    sampler.close()
    assert len(frame.cpus) == os.sysconf("SC_NPROCESSORS_ONLN")
    assert 0.15 <= frame.interval_s < 60
    assert frame.activity.tasks > 1
    assert frame.latency is not None
    assert frame.latency.source in ("run-delay", "timer-overshoot")
    assert frame.sequence == 1
    for source, there in (("frequency", frame.cpus[0].frequency_mhz), ("schedstat", frame.cpus[0].waiting_percent)):
        assert (there is None) == (source in frame.missing)


def test_frames_survive_the_journey_as_json() -> None:
    sampler = Sampler()
    frame = sampler.sample()
    sampler.close()
    assert msgspec.json.decode(msgspec.json.encode(frame), type=Frame) == frame


def test_what_a_machine_lacks_is_named_with_its_reason(tmp_path: Path) -> None:
    write(tmp_path, {"proc/stat": STAT, "proc/loadavg": "0 0 0 1/2 3\n"})
    sampler = Sampler(root=tmp_path)
    frame = sampler.sample()
    sampler.close()
    assert frame.missing.keys() >= {"frequency", "pressure", "pressure.cpu", "schedstat", "waiters"}
    assert all(frame.missing.values())
    assert (frame.pressure, frame.waiters) == ({}, ())


def test_a_kernel_without_run_delay_is_measured_with_a_timer(tmp_path: Path) -> None:
    write(tmp_path, {"proc/stat": STAT, "proc/loadavg": "0 0 0 1/2 3\n"})
    sampler = Sampler(root=tmp_path)
    deadline = time.monotonic() + 20
    count = 0
    while not count and time.monotonic() < deadline:
        time.sleep(0.1)
        latency = sampler.sample().latency
        assert latency is not None
        assert latency.source == "timer-overshoot"
        count = latency.count
    sampler.close()
    assert count


def test_a_probe_that_cannot_be_loaded_is_named_and_replaced() -> None:
    watcher = Samplers(lambda: b"no object at all").watch()
    frame = watcher.sample()
    watcher.close()
    assert frame is not None
    assert frame.missing["wakeup-probe"]
    assert frame.latency is not None
    assert frame.latency.source != "wakeup-probe"


def test_a_loaded_scheduler_and_eight_cpus_are_seen(tmp_path: Path) -> None:
    eight_cpus_two_caches(tmp_path)
    write_sched_ext(tmp_path)
    write(tmp_path, {"proc/stat": STAT, "proc/loadavg": "0 0 0 1/2 3\n", "proc/self/schedstat": "1 1 1\n"})
    sampler = Sampler(root=tmp_path)
    frame = sampler.sample()
    sampler.close()
    assert frame.scheduler.name == "lavd_1.0.18"
    assert [cpu.frequency_mhz for cpu in frame.cpus] == [1000, 1100]


def test_closing_a_sampler_gives_every_descriptor_back() -> None:
    before = set(os.listdir("/proc/self/fd"))  # noqa: PTH208
    sampler = Sampler()
    sampler.sample()
    sampler.close()
    assert set(os.listdir("/proc/self/fd")) <= before  # noqa: PTH208


def test_the_probes_need_neither_a_user_interface_nor_ctypes() -> None:
    heavy = "('ctypes', 'textual', 'rich', 'psutil')"
    code = f"import schedtui.backend.host, sys; print([name for name in {heavy} if name in sys.modules])"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"
