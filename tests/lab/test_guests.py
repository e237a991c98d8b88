"""Guests come from snapshots, alone, and leave nothing behind, whatever happens to them."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from schedtui import paths
from schedtui.backend.deploy import apply, resolve
from schedtui.backend.errors import KernelUnsuitable, LabFailed, SchedtuiError
from schedtui.backend.lab import LabMachine
from schedtui.backend.library.catalogue import load_library
from schedtui.backend.microvm import qemu, snapshot
from tests.conftest import DEFAULT, kernel_image, quiet, running_children, runs, until

pytestmark = pytest.mark.lab

OPEN_AND_WAIT = """
import sys, time
from pathlib import Path
from schedtui.backend.lab import LabMachine
machine = LabMachine(kernel=Path(sys.argv[1]), cpus=2)
machine.open(lambda text, seconds: print(text, flush=True))
print("OPEN", flush=True)
time.sleep(60)
"""


def guests_of(pid: int) -> list[psutil.Process]:
    """QEMUs that a process started and that run."""
    return running_children("qemu", pid)


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A cache folder of the test's own, with the kernels of the real one."""
    kernel_image(DEFAULT)
    real = paths.cache_dir()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    own = paths.cache_dir()
    own.mkdir(parents=True)
    shutil.copytree(real / "kernels", own / "kernels", symlinks=True)
    yield own
    shutil.rmtree(own, ignore_errors=True)


def only_snapshot(cache: Path) -> Path:
    (found,) = (cache / "lab").glob("*/snapshot")
    return found


def is_damaged(cache: Path) -> bool:
    """Whether the snapshot would be built again."""
    return snapshot.Snapshots(cache / "lab")._usable(only_snapshot(cache).parent) is None


def kill_9_at(moment: str) -> None:
    """Kill a program that opens the lab when it says so; its guest goes with it."""
    program = subprocess.Popen(
        [sys.executable, "-c", OPEN_AND_WAIT, str(kernel_image(DEFAULT))],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert program.stdout
    for line in program.stdout:
        if line.startswith(moment):
            break
    assert until(lambda: bool(guests_of(program.pid)))
    guests = guests_of(program.pid)
    program.send_signal(signal.SIGKILL)
    program.wait()
    assert until(lambda: not any(runs(each.pid) for each in guests))


@pytest.mark.soak
@pytest.mark.matrix
def test_a_guest_whose_build_was_killed_is_built_with_its_stages_shown_and_a_damaged_one_again(
    own_cache: Path,
) -> None:
    kill_9_at("boot:")
    stages: list[str] = []
    machine = LabMachine(cpus=2)
    machine.open(lambda text, _seconds: stages.append(text.split(":")[0]))
    machine.close()
    assert [*dict.fromkeys(stages)] == ["kernel", "guest image", "boot", "snapshot"]
    assert not list((own_cache / "lab").glob(".building-*"))

    kept = only_snapshot(own_cache)
    times = kept.stat()
    with kept.open("r+b") as file:
        beginning = file.read(1 << 20)
        file.seek(0, os.SEEK_END)
        file.write(b"longer")
        file.flush()
        os.utime(kept, ns=(times.st_atime_ns, times.st_mtime_ns))
        assert is_damaged(own_cache), "by its size"
        file.truncate(times.st_size)
        file.flush()
        os.utime(kept, ns=(times.st_atime_ns, times.st_mtime_ns))
        assert not is_damaged(own_cache)
        file.seek(0)
        file.write(os.urandom(len(beginning)))
    assert is_damaged(own_cache), "by its time"
    os.utime(kept, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert not is_damaged(own_cache), "as far as can be seen"
    again = LabMachine(cpus=2)
    again.open(quiet)
    first = next(again.frames(0.2))
    again.close()
    assert "built again" in first.events[0].text

    stages.clear()
    whole = LabMachine(cpus=2)
    whole.open(lambda text, _seconds: stages.append(text.split(":")[0]))
    whole.close()
    assert "boot" not in stages


def test_a_guest_that_is_killed_while_it_boots_is_told_and_leaves_nothing(own_cache: Path) -> None:
    machine = LabMachine(cpus=2)
    kills: list[threading.Timer] = []

    def kill_at_boot(text: str, _seconds: float) -> None:
        if text.startswith("boot"):
            kills.append(threading.Timer(1, lambda: [each.kill() for each in guests_of(os.getpid())]))
            kills[-1].start()

    with pytest.raises(LabFailed, match=r"QEMU|stopped"):
        machine.open(kill_at_boot)
    for each in kills:  # the next test has a guest too
        each.cancel()
        each.join()
    machine.close()
    assert not guests_of(os.getpid())
    assert not list((own_cache / "lab").glob("*/snapshot")) and not list((own_cache / "lab").glob(".building-*"))


@pytest.mark.soak
@pytest.mark.matrix
def test_kill_9_of_the_program_takes_its_guest_with_it_and_the_next_one_opens() -> None:
    kill_9_at("OPEN")
    machine = LabMachine(kernel=kernel_image(DEFAULT), cpus=2)
    machine.open(quiet)
    machine.close()


def test_whoever_looks_again_later_sees_nothing_old(lab: LabMachine) -> None:
    frames = lab.frames(0.1)
    next(frames)
    del frames
    lab.run(["sleep", "1"], 20)
    then = float(lab.run(["python3", "-c", "import time; print(time.time())"], 20).output)

    assert next(lab.frames(0.1)).time > then


def test_kill_9_of_qemu_ends_the_stream_with_a_sentence(lab: LabMachine) -> None:
    frames = lab.frames(0.2)
    next(frames)
    lab.guest.qemu.process.kill()
    with pytest.raises(LabFailed, match="ended unexpectedly"):
        for _ in frames:
            pass
    with pytest.raises(SchedtuiError):
        lab.scheduler()


@pytest.mark.parametrize(
    ("printed", "told"),
    [("nothing", r"stopped \(it said: .*Kernel panic"), ("int3: 0000 [#1] SMP NOPTI", "no scheduler is to blame")],
    ids=["a crash", "the emulator's"],
)
def test_a_kernel_that_crashed_is_told_with_its_last_words(lab: LabMachine, printed: str, told: str) -> None:
    crash = f"echo '<0>{printed}' > /dev/kmsg; echo c > /proc/sysrq-trigger"
    for act in (lambda: lab.run(["sh", "-c", crash], 10), lab.panic, lab.scheduler):
        with pytest.raises(LabFailed, match=told) as caught:
            act()
        assert printed in caught.value.details


def test_two_labs_at_once_have_a_guest_each(lab: LabMachine) -> None:
    other = LabMachine(kernel=kernel_image(DEFAULT), cpus=2)
    other.open(quiet)
    other.run(["sh", "-c", "echo here > /tmp/mark"], 10)
    assert lab.run(["cat", "/tmp/mark"], 10).exit_code != 0
    other.close()
    assert lab.scheduler().name == "EEVDF"


def test_closing_leaves_no_process_and_no_file(lab: LabMachine) -> None:
    files = set(Path(os.environ.get("TMPDIR", "/tmp")).iterdir())
    pid = lab.guest.qemu.process.pid
    lab.close()
    lab.close()
    assert not runs(pid)
    assert set(Path(os.environ.get("TMPDIR", "/tmp")).iterdir()) <= files


def test_the_guest_has_the_time_of_day(lab: LabMachine) -> None:
    inside = float(lab.run(["python3", "-c", "import time; print(time.time())"], 20).output)
    assert abs(inside - time.time()) < 30


def test_a_file_that_is_no_kernel_is_refused(tmp_path: Path) -> None:
    image = tmp_path / "vmlinuz"
    image.write_text("I am a letter, not a kernel.")
    with pytest.raises(KernelUnsuitable, match="not a"):
        LabMachine(kernel=image).open(quiet)


@pytest.mark.soak
@pytest.mark.matrix
def test_a_kernel_without_virtio_built_in_is_spoken_to_over_a_serial_line(
    own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The driver's start is left out: what the kernel then does is what one does that has it as a module.
    options = f"{qemu._KERNEL_OPTIONS} initcall_blacklist=virtio_pci_driver_init"
    monkeypatch.setattr(qemu, "_KERNEL_OPTIONS", options)
    machine = LabMachine(kernel=kernel_image(DEFAULT), cpus=2)
    try:
        machine.open(quiet)
        assert machine.guest.port == "/dev/ttyS1"
        assert apply(machine, resolve(load_library(), "fair"), quiet).name == "fair"
        assert next(machine.frames(0.5)).scheduler.name == "fair"
        assert machine.panic().scheduler.sched_ext == "disabled"
    finally:
        machine.close()


def test_the_guests_scheduler_clock_runs_as_fast_as_its_time(lab: LabMachine) -> None:
    """The kernel's log is stamped with the one; what is written into it says the other."""
    stamp = "read uptime rest < /proc/uptime; echo schedtui-$uptime > /dev/kmsg"
    told = lab.run(["sh", "-c", f"{stamp}; sleep 3; {stamp}; dmesg"], 30).output
    stamps = re.findall(r"\[ *([\d.]+)\] schedtui-([\d.]+)", told)[-2:]
    (clock, uptime), (clock_after, uptime_after) = [(float(one), float(other)) for one, other in stamps]
    assert (clock_after - clock) / (uptime_after - uptime) == pytest.approx(1, abs=0.1)


@pytest.mark.soak
@pytest.mark.matrix
def test_a_guest_whose_kernel_mistook_its_clock_is_not_kept(own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As if this computer had been too busy while the kernel measured it: in such a guest CPUs seem to be stuck."""
    monkeypatch.setattr(
        qemu, "_KERNEL_OPTIONS", f"{qemu._KERNEL_OPTIONS} tsc_early_khz=400000 tsc=reliable clocksource=hpet"
    )
    monkeypatch.setattr(snapshot, "_BOOTS", 1)
    machine = LabMachine(kernel=kernel_image(DEFAULT), cpus=2)
    try:
        with pytest.raises(LabFailed, match="cannot measure its clock"):
            machine.open(quiet)
    finally:
        machine.close()
    assert not list((own_cache / "schedtui" / "lab").glob("*/snapshot"))


def test_a_full_disk_is_told_before_anything_is_built(own_cache: Path) -> None:
    small = own_cache / "lab"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", str(small)], check=True)
    try:
        with pytest.raises(LabFailed, match="MB are free"):
            LabMachine(cpus=2).open(quiet)
    finally:
        subprocess.run(["umount", str(small)], check=True)
