"""The lab guest's first process: mounts, then keeps one helper alive on the virtio port.

The first process only forks and reaps, because the kernel panics when it ends. The helper is its child: kill -9 of it
drops the BPF link, so the kernel is back on its own scheduler, and a new helper is forked at once.
"""

from __future__ import annotations

import contextlib
import os
import platform
import sys
import termios
import threading
import time
import tty
from pathlib import Path

from schedtui.backend.helper import boot
from schedtui.backend.helper.control import become_realtime
from schedtui.backend.helper.handlers import Handling
from schedtui.backend.helper.latch import Latch
from schedtui.backend.helper.memory import hold_memory
from schedtui.backend.helper.program import end_left_behind
from schedtui.backend.helper.server import Server
from schedtui.backend.helper.session import Limits, PortChannel
from schedtui.backend.model import MachineInfo
from schedtui.backend.probes.kernel_id import read_kernel_id
from schedtui.backend.probes.sampler import Samplers
from schedtui.backend.probes.scheduler import default_scheduler
from schedtui.backend.probes.topology import read_topology
from schedtui.backend.workloads import Workloads

READY = "SCHEDTUI AGENT READY ON "
PROBE = Path("/schedtui/wakeup_latency.bpf.o")
LATCH = Path("/latched")
"""In the guest's memory: a helper that takes the place of another finds it."""
_MAX_UNREAD_BYTES = 64 << 20
"""While its client stands still, which is that computer's own affair."""


def main() -> None:
    """Never returns."""
    boot.mount()
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
    samplers = _ready_samplers()
    if successor:
        end_left_behind()
    else:
        boot.tell_wrong_clock()
    handling = Handling()
    server = Server(info, samplers, handling.lab(), workloads=workloads, set_clock=_set_clock, latch=Latch(LATCH))
    handling.server = server
    port = _open_port()
    print(READY + os.ttyname(port) if os.isatty(port) else READY + "virtio", flush=True)
    while True:
        server.add(PortChannel(port), Limits(unread_bytes=_MAX_UNREAD_BYTES), successor=successor)
        server.run()
        successor = False


def _end_for_a_fault(fault: threading.ExceptHookArgs) -> None:
    """A helper that lacks one of its threads is worse than a new one: the kernel reverts, and a successor says so."""
    thread = fault.thread.name if fault.thread else "a thread"
    print(f"SCHEDTUI AGENT FAILED: {thread}: {fault.exc_type.__name__}: {fault.exc_value}", flush=True)
    os._exit(1)


def _call_this_process(name: str) -> None:
    with contextlib.suppress(OSError):
        Path("/proc/self/comm").write_text(name)


def _ready_samplers() -> Samplers:
    """Made before the snapshot is taken, so that a restored guest does not load the probe anew."""
    return Samplers(lambda: PROBE.read_bytes() if PROBE.exists() else None, resident=True)


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
