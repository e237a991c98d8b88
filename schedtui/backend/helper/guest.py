"""The lab guest's first process: mounts, then keeps one helper alive on the virtio port.

The first process only forks and reaps, because the kernel panics when it ends. The helper is its child: kill -9 of it
drops the BPF link, so the kernel is back on its own scheduler, and a new helper is forked at once.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import platform
import sys
import termios
import threading
import time
import tty
from pathlib import Path

from schedtui.backend.helper.control import become_realtime
from schedtui.backend.helper.memory import hold_memory
from schedtui.backend.helper.server import Channel, Server
from schedtui.backend.model import MachineInfo
from schedtui.backend.probes.kernel_id import read_kernel_id
from schedtui.backend.probes.sampler import Sampler, make_sampler
from schedtui.backend.probes.scheduler import default_scheduler
from schedtui.backend.probes.topology import read_topology
from schedtui.backend.workloads import Workloads

READY = "SCHEDTUI AGENT READY ON "
CLOCK_WRONG = "SCHEDTUI CLOCK WRONG: "
CLOCK_TOLERANCE = 0.1
_CLOCK_S = 0.3
PROBE = Path("/schedtui/wakeup_latency.bpf.o")
_MOUNTS = (
    ("proc", "/proc"),
    ("sysfs", "/sys"),
    ("devtmpfs", "/dev"),
    ("tmpfs", "/tmp"),
    ("cgroup2", "/sys/fs/cgroup"),
    ("bpf", "/sys/fs/bpf"),
    ("debugfs", "/sys/kernel/debug"),
    ("tracefs", "/sys/kernel/tracing"),
)


def main() -> None:
    """Never returns."""
    _mount()
    _call_this_process("schedtui-init")
    os.environ.update(PATH="/bin:/usr/bin", HOME="/root", LANG="C.UTF-8")
    with contextlib.suppress(OSError):
        Path("/proc/sys/kernel/sysrq").write_text("1")
        Path("/proc/sys/kernel/printk_devkmsg").write_text("on")
    helper = _fork_helper(successor=False)
    while True:
        try:
            ended, _ = os.wait()
        except ChildProcessError:
            ended = helper
        if ended == helper:
            helper = _fork_helper(successor=True)


def _mount() -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    for kind, where in _MOUNTS:
        libc.mount(kind.encode(), where.encode(), kind.encode(), 0, None)


def _fork_helper(*, successor: bool) -> int:
    child = os.fork()
    if child:
        return child
    try:
        _serve(successor=successor)
    except BaseException as error:  # noqa: BLE001 - a child must never fall through into the first process's code
        print(f"SCHEDTUI AGENT FAILED: {type(error).__name__}: {error}", flush=True)
        time.sleep(1)
    os._exit(1)


def _serve(*, successor: bool) -> None:
    os.setsid()
    _call_this_process("schedtui-helper")
    threading.excepthook = _end_for_a_fault
    workloads = Workloads.prepare()
    hold_memory()
    become_realtime()
    info = MachineInfo(
        kind="lab",
        name="lab",
        kernel=platform.release(),
        sched_ext=Path("/sys/kernel/sched_ext").is_dir(),
        default_scheduler=default_scheduler(),
        can_load=Path("/sys/kernel/sched_ext").is_dir(),
        cpus=read_topology(),
        memory_mib=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") >> 20,
        kernel_id=read_kernel_id(),
    )
    sampler = _ready_sampler()
    if not successor and abs((rate := scheduler_clock_rate()) - 1) > CLOCK_TOLERANCE:
        print(f"{CLOCK_WRONG}{rate:.2f}", flush=True)
    server = Server(info, lambda: sampler, workloads, _set_clock)
    port = _open_port()
    print(READY + os.ttyname(port) if os.isatty(port) else READY + "virtio", flush=True)
    while True:
        server.serve(Channel(port, port), successor=successor)
        successor = False


def scheduler_clock_rate() -> float:
    """How fast the clock that the kernel schedules and finds lock-ups by runs, against the one that people's time is.

    A kernel that boots while its emulated CPUs are held up measures their time stamp counter wrongly, and then sees a
    CPU stuck for 20 s after a few. The kernel's log is stamped with that clock. 1.0 where there is no log to read.
    """
    try:
        log = os.open("/dev/kmsg", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return 1.0
    try:
        first = _stamps(log)
        time.sleep(_CLOCK_S)
        second = _stamps(log)
    finally:
        os.close(log)
    return (second[0] - first[0]) / (second[1] - first[1])


def _stamps(log: int) -> tuple[float, float]:
    """Seconds of the kernel's scheduler clock, and of its monotonic clock, at the same moment."""
    os.lseek(log, 0, os.SEEK_END)
    os.write(log, b"schedtui reads the clock\n")
    now = time.monotonic()
    record = os.read(log, 8192)
    return int(record.split(b",", 3)[2]) / 1e6, now


def _end_for_a_fault(fault: threading.ExceptHookArgs) -> None:
    """A helper that lacks one of its threads is worse than a new one: the kernel reverts, and a successor says so."""
    thread = fault.thread.name if fault.thread else "a thread"
    print(f"SCHEDTUI AGENT FAILED: {thread}: {fault.exc_type.__name__}: {fault.exc_value}", flush=True)
    os._exit(1)


def _call_this_process(name: str) -> None:
    with contextlib.suppress(OSError):
        Path("/proc/self/comm").write_text(name)


def _ready_sampler() -> Sampler:
    """Made before the snapshot is taken, so that a restored guest does not load the probe anew."""
    return make_sampler(PROBE.read_bytes() if PROBE.exists() else None)


def _open_port() -> int:
    """The virtio port that the lab listens on, else (a kernel without virtio built in) the second serial line."""
    for _ in range(200):
        for each in sorted(Path("/dev").glob("vport*p1")):
            with contextlib.suppress(OSError):
                return os.open(each, os.O_RDWR | os.O_CLOEXEC)
        if not any(Path("/sys/bus/virtio/devices").glob("*")) and Path("/dev/ttyS1").exists():
            line = os.open("/dev/ttyS1", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
            tty.setraw(line, termios.TCSANOW)
            return line
        time.sleep(0.05)
    sys.exit("no port to the lab")


def _set_clock(unix_time_ns: int) -> None:
    """After a restore the guest's clock stands where the snapshot was taken."""
    with contextlib.suppress(OSError, OverflowError):
        time.clock_settime_ns(time.CLOCK_REALTIME, unix_time_ns)
