"""Which scheduler the kernel reports, from /sys/kernel/sched_ext, and what its own scheduler is called.

Who loaded it is owner.py's to find out: here it is the kernel, or 'another program'.
"""

from __future__ import annotations

import os
import zlib
from pathlib import Path
from typing import get_args

from schedtui.backend.model import Event, SchedExt, Scheduler
from schedtui.backend.probes.files import read_number, read_small

ROOT = Path("/")
_GZIP = 31
"""zlib's number for the gzip format."""
_STATES: dict[str, SchedExt] = {state: state for state in get_args(SchedExt)}


def read_scheduler(root: Path = ROOT) -> Scheduler:
    """The kernel's present state; well under a millisecond.

    ``owner`` is 'kernel' while nothing is loaded, else 'another program'. A state that this version does
    not know counts as 'disabled' only when no scheduler is named beside it.
    """
    folder = root / "sys/kernel/sched_ext"
    own = default_scheduler(root)
    try:
        state = read_small(folder / "state").decode()
    except OSError:
        return Scheduler(sched_ext="unsupported", name=own, owner="kernel")
    name = _loaded_name(folder / "root/ops") if state != "disabled" else ""
    return Scheduler(
        sched_ext=_STATES.get(state, "enabled" if name else "disabled"),
        name=name or own,
        owner="another program" if name else "kernel",
        switch_all=read_number(folder / "switch_all") == 1 if name else True,
        enable_seq=read_number(folder / "enable_seq") or 0,
        rejected=read_number(folder / "nr_rejected") or 0,
        events=_read_events(folder / "root/events") if name else {},
    )


def default_scheduler(root: Path = ROOT) -> str:
    """The name of the kernel's own scheduler for normal tasks: EEVDF from Linux 6.6, CFS before, or a patched one.

    BORE, MuQSS and the PDS/BMQ family are told by the sysctls that only their patches add (kernel.sched_bore,
    kernel.rr_interval with kernel.interactive, kernel.yield_type alone).
    """
    own = _own_schedulers.get(root)
    if own is None:
        own = _own_schedulers[root] = _find_default(root)
    return own


def describe_change(before: Scheduler, after: Scheduler, now: float) -> Event | None:
    """What a person should read when the kernel's scheduler changed between two samples; None when it did not."""
    if after.name == before.name and after.enable_seq == before.enable_seq:
        return None
    if after.owner == "kernel":
        return Event(time=now, kind="info", text=f"{before.name} is gone: {after.name} schedules again")
    if after.name == before.name:
        return Event(time=now, kind="info", text=f"{after.name} was loaded again by {after.owner}")
    return Event(time=now, kind="info", text=f"{after.name} was loaded by {after.owner}")


_own_schedulers: dict[Path, str] = {}


def _loaded_name(path: Path) -> str:
    try:
        return read_small(path).decode(errors="replace")
    except OSError:
        return ""


def _read_events(path: Path) -> dict[str, int]:
    try:
        lines = read_small(path).decode(errors="replace").split("\n")
    except OSError:
        return {}
    counters = {}
    for line in lines:
        name, _, count = line.partition(" ")
        if count.strip().isdigit():
            counters[name] = int(count)
    return counters


def _find_default(root: Path) -> str:
    sysctl = root / "proc/sys/kernel"
    if read_number(sysctl / "sched_bore"):
        return "BORE"
    if (sysctl / "rr_interval").exists() and (sysctl / "interactive").exists():
        return "MuQSS"
    if (sysctl / "yield_type").exists():
        return _alternative_scheduler(root)
    return "EEVDF" if _version(root) >= (6, 6) else "CFS"


def _alternative_scheduler(root: Path) -> str:
    """PDS or BMQ: one patch set, told apart only by the kernel's build options."""
    options = _kernel_config(root)
    if b"CONFIG_SCHED_PDS=y" in options:
        return "PDS"
    return "BMQ" if b"CONFIG_SCHED_BMQ=y" in options else "PDS/BMQ"


def _kernel_config(root: Path) -> bytes:
    try:
        return zlib.decompress((root / "proc/config.gz").read_bytes(), _GZIP)
    except (OSError, zlib.error):
        pass
    try:
        return (root / "boot" / f"config-{_release(root)}").read_bytes()
    except OSError:
        return b""


def _release(root: Path) -> str:
    try:
        return read_small(root / "proc/sys/kernel/osrelease").decode()
    except OSError:
        return os.uname().release


def _version(root: Path) -> tuple[int, int]:
    major, _, rest = _release(root).partition(".")
    minor = rest.partition(".")[0].partition("-")[0]
    return (int(major), int(minor)) if major.isdigit() and minor.isdigit() else (0, 0)
