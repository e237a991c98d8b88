"""Which programs run on a machine, told on request: processes, their command lines, and the trees that they form.

Read from /proc twice, a moment apart: of this computer directly, of the lab through its shell. Command lines are masked
by the loop before they leave the computer.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path

from msgspec import Struct

from schedtui.backend.machine import Machine
from schedtui.backend.model import MachineKind

ROOT = Path("/")
APART_S = 0.5
_TICKS_PER_S = 100
"""USER_HZ: what /proc counts time in, on every architecture that schedtui runs on."""
_KERNEL_THREAD = 0x00200000
_LONGEST_COMMAND = 80
_TIME_LIMIT_S = 20.0
_SHELL = (
    'cd /proc; cat uptime; for p in [0-9]*; do read -r s 2>/dev/null <$p/stat || continue; echo "$s"; '
    "tr '\\000' ' ' <$p/cmdline 2>/dev/null; echo; done"
)


class Process(Struct, frozen=True, kw_only=True):
    """One process."""

    pid: int
    parent: int
    name: str
    command: str
    threads: int
    nice: int
    used_percent: float
    """Of one CPU, over the moment that was looked at."""
    age_s: float


class Tree(Struct, frozen=True, kw_only=True):
    """A program and what it started."""

    root: Process
    members: int
    used_percent: float
    """All of them together, in per cent of one CPU."""
    youngest_s: float
    names: tuple[str, ...]
    """The programs in it that compute most, first the most."""


def look_at(machine: Machine, kind: MachineKind, *, root: Path = ROOT) -> list[Process]:
    """All processes but the kernel's own, the busiest first. Raises whatever the machine does."""
    before, _ = _read(machine, kind, root)
    began = time.monotonic()
    time.sleep(APART_S)
    after, uptime_s = _read(machine, kind, root)
    ticks = max((time.monotonic() - began) * _TICKS_PER_S, 1.0)
    found = []
    for pid, (stat, command) in after.items():
        if stat.flags & _KERNEL_THREAD or not stat.used_ticks + stat.threads:
            continue
        used = stat.used_ticks - (before[pid][0].used_ticks if pid in before else 0)
        found.append(
            Process(
                pid=pid,
                parent=stat.parent,
                name=stat.name,
                command=command[:_LONGEST_COMMAND],
                threads=stat.threads,
                nice=stat.nice,
                used_percent=100.0 * max(used, 0) / ticks,
                age_s=max(0.0, uptime_s - stat.started_ticks / _TICKS_PER_S),
            )
        )
    return sorted(found, key=lambda each: -each.used_percent)


def trees(processes: list[Process]) -> list[Tree]:
    """The processes by the program at the top of each, below init and shells' sessions; the busiest first."""
    by_pid = {each.pid: each for each in processes}
    members: dict[int, list[Process]] = {}
    for each in processes:
        members.setdefault(_top(each, by_pid).pid, []).append(each)
    found = []
    for top, group in members.items():
        busiest = sorted(group, key=lambda each: -each.used_percent)
        found.append(
            Tree(
                root=by_pid[top],
                members=len(group),
                used_percent=sum(each.used_percent for each in group),
                youngest_s=min(each.age_s for each in group),
                names=tuple(dict.fromkeys(each.name for each in busiest))[:4],
            )
        )
    return sorted(found, key=lambda each: (-each.used_percent, -each.members))


def in_words(found: list[Tree], *, most: int) -> str:
    """A line for each tree."""
    lines = []
    for each in found[:most]:
        inside = "" if each.members == 1 else f", {each.members} processes ({', '.join(each.names)})"
        young = f", the youngest {each.youngest_s:.0f} s old" if each.members > 1 else ""
        nice = f", nice {each.root.nice}" if each.root.nice else ""
        lines.append(
            f"{each.root.name}: {each.used_percent:.0f} % of a CPU{inside}{young}{nice}, {each.root.threads} threads, "
            f"since {each.root.age_s:.0f} s: {each.root.command or each.root.name}"
        )
    if len(found) > most:
        lines.append(f"… and {len(found) - most} more.")
    return "\n".join(lines) or "No processes could be seen."


class _Stat(Struct, frozen=True):
    name: str
    parent: int
    flags: int
    used_ticks: int
    nice: int
    threads: int
    started_ticks: int


def _top(process: Process, by_pid: dict[int, Process]) -> Process:
    """The ancestor just below init, or below what starts everything for a user."""
    at = process
    for _ in range(64):
        above = by_pid.get(at.parent)
        if above is None or above.pid == 1 or above.name.startswith(_STARTERS):
            return at
        at = above
    return at


_STARTERS = (
    "systemd",
    "init",
    "login",
    "sshd",
    "gnome-shell",
    "plasmashell",
    "kwin",
    "bash",
    "zsh",
    "fish",
    "sh",
    "tmux",
)


def _read(machine: Machine, kind: MachineKind, root: Path) -> tuple[dict[int, tuple[_Stat, str]], float]:
    lines = _lines_here(root) if kind == "host" else iter(_told(machine).splitlines())
    uptime_s = float(next(lines, "0").split()[0])
    found = {}
    for line in lines:
        with contextlib.suppress(ValueError, IndexError):
            pid, stat = _parsed(line)
            found[pid] = (stat, _printable(next(lines, "").strip()))
    return found, uptime_s


def _told(machine: Machine) -> str:
    return machine.run(["sh", "-c", _SHELL], _TIME_LIMIT_S).output


def _lines_here(root: Path) -> Iterator[str]:
    proc = root / "proc"
    yield (proc / "uptime").read_text()
    for folder in proc.iterdir():
        if folder.name.isdigit():
            with contextlib.suppress(OSError):
                stat = (folder / "stat").read_text(errors="replace").strip()
                command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").replace(b"\n", b" ")
                yield stat.replace("\n", " ")
                yield command.decode(errors="replace")


def _parsed(line: str) -> tuple[int, _Stat]:
    """Fields of proc(5), /proc/PID/stat; the name may hold anything, so what follows its last bracket counts."""
    head, _, rest = line.rpartition(")")
    pid, _, name = head.partition(" (")
    values = rest.split()
    return int(pid), _Stat(
        name=_printable(name),
        parent=int(values[1]),
        flags=int(values[6]),
        used_ticks=int(values[11]) + int(values[12]),
        nice=int(values[16]),
        threads=int(values[17]),
        started_ticks=int(values[19]),
    )


def _printable(text: str) -> str:
    return "".join(each if each.isprintable() else "·" for each in text)
