"""How fast each CPU runs: cpufreq, or what /proc/cpuinfo measured. A speed that nobody measures is missing."""

from __future__ import annotations

from pathlib import Path

from schedtui.backend.probes.files import KeptFile, read_number

ROOT = Path("/")
READ_AT_ONCE = 32
"""CPUs read in one frame; with more of them the speeds are read in turns, so that a frame's cost stays bounded."""


class FrequencyProbe:
    """Speeds in MHz by CPU. ``missing`` says why there are none, or is empty."""

    def __init__(self, cpus: tuple[int, ...], root: Path = ROOT) -> None:
        self.missing = ""
        self._paths = [(cpu, root / f"sys/devices/system/cpu/cpu{cpu}/cpufreq/scaling_cur_freq") for cpu in cpus]
        self._paths = [(cpu, path) for cpu, path in self._paths if path.exists()]
        self._known: dict[int, int] = {}
        self._next = 0
        self._cpuinfo = None if self._paths else _measured_cpuinfo(root / "proc/cpuinfo")
        if not self._paths and not self._cpuinfo:
            self.missing = "neither cpufreq nor a measured speed in /proc/cpuinfo, as in most virtual machines"

    def sample(self) -> dict[int, int]:
        """The present speeds; of a large machine, some are up to (CPUs / 32) frames old."""
        if self._cpuinfo:
            return parse_cpuinfo(self._cpuinfo.read_pieces())
        count = min(READ_AT_ONCE, len(self._paths))
        for _ in range(count):
            cpu, path = self._paths[self._next]
            self._next = (self._next + 1) % len(self._paths)
            khz = read_number(path)
            if khz:
                self._known[cpu] = khz // 1000
            else:
                self._known.pop(cpu, None)
        return self._known

    def close(self) -> None:
        """Give the descriptor back."""
        if self._cpuinfo:
            self._cpuinfo.close()


def parse_cpuinfo(data: bytes) -> dict[int, int]:
    """MHz by CPU from the x86 format of /proc/cpuinfo."""
    speeds = {}
    cpu = -1
    for line in data.split(b"\n"):
        if line.startswith(b"processor"):
            cpu = int(line.rpartition(b":")[2])
        elif line.startswith(b"cpu MHz"):
            speeds[cpu] = round(float(line.rpartition(b":")[2]))
    return speeds


def _measured_cpuinfo(path: Path) -> KeptFile | None:
    """Only a CPU with the aperf and mperf counters has its speed measured there; others show a constant."""
    try:
        file = KeptFile(path)
    except OSError:
        return None
    data = file.read_pieces()
    if b" aperfmperf" in data and b"cpu MHz" in data:
        return file
    file.close()
    return None
