"""How busy each CPU was between two samples, and the machine's scheduler traffic: /proc/stat and /proc/loadavg."""

from __future__ import annotations

from pathlib import Path

from msgspec import Struct

from schedtui.backend.model import Activity
from schedtui.backend.probes.files import KeptFile

ROOT = Path("/")


class Totals(Struct, frozen=True):
    """Counters since boot: for each CPU its busy and idle time in clock ticks, and what the whole machine did."""

    cpus: dict[int, tuple[int, int]]
    switches: int
    forks: int
    runnable: int


class CpuUse(Struct, frozen=True):
    """The interval between two samples. A CPU that came online in it is in the next one."""

    used_percent: dict[int, float]
    activity: Activity
    forks: int


def parse_stat(data: bytes) -> Totals:
    """The content of /proc/stat (fields as in proc_stat(5)). Time given to guests is already in user time."""
    per_cpu, _, rest = data.partition(b"intr ")
    cpus = {}
    for line in per_cpu.split(b"\n"):
        if line[3:4].isdigit():
            name, *fields = line.split()
            user, nice, system, idle, iowait, irq, softirq, steal = map(int, fields[:8])
            cpus[int(name[3:])] = (user + nice + system + irq + softirq + steal, idle + iowait)
    return Totals(cpus, _after(rest, b"\nctxt "), _after(rest, b"\nprocesses "), _after(rest, b"\nprocs_running "))


def used_percent(before: dict[int, tuple[int, int]], after: dict[int, tuple[int, int]]) -> dict[int, float]:
    """Share of each CPU's time that was not idle, 0 to 100. Counters that went backwards (idle may) count as still."""
    used = {}
    for cpu, (busy, idle) in after.items():
        if cpu in before:
            busy_then, idle_then = before[cpu]
            worked, rested = max(0, busy - busy_then), max(0, idle - idle_then)
            used[cpu] = 100.0 * worked / (worked + rested) if worked else 0.0
    return used


class CpuProbe:
    """Reads the two files; raises OSError when /proc is not there."""

    def __init__(self, root: Path = ROOT) -> None:
        self._stat = KeptFile(root / "proc/stat", 1 << 14)
        self._load = KeptFile(root / "proc/loadavg", 256)
        self._before = parse_stat(self._stat.read())

    def sample(self, interval_s: float) -> CpuUse:
        """What happened since the last call, which was ``interval_s`` seconds ago."""
        after, before = parse_stat(self._stat.read()), self._before
        self._before = after
        forks = max(0, after.forks - before.forks)
        activity = Activity(
            runnable=max(0, after.runnable - 1),  # whoever reads the file runs, and is no news
            tasks=self._count_tasks(),
            switches_per_s=max(0, after.switches - before.switches) / interval_s,
            forks_per_s=forks / interval_s,
        )
        return CpuUse(used_percent(before.cpus, after.cpus), activity, forks)

    def close(self) -> None:
        """Give the descriptors back."""
        self._stat.close()
        self._load.close()

    def _count_tasks(self) -> int:
        _, _, rest = self._load.read().partition(b"/")
        return int(rest.split(b" ", 1)[0] or 0)


def _after(data: bytes, label: bytes) -> int:
    _, found, rest = data.partition(label)
    return int(rest.split(None, 1)[0]) if found else 0
