"""Pressure stall information: the share of time in which tasks stood still for want of CPU, disk or memory.

From the running totals of /proc/pressure, so that it covers exactly the frame's interval; the kernel's own averages
over 10 s and more are not used. See Documentation/accounting/psi.rst of the kernel.
"""

from __future__ import annotations

import errno
from pathlib import Path

from schedtui.backend.model import Pressure
from schedtui.backend.probes.files import KeptFile

ROOT = Path("/")
RESOURCES = ("cpu", "io", "memory")

_WHY = {
    errno.EOPNOTSUPP: "pressure accounting is switched off; the kernel option psi=1 switches it on",
    errno.ENOENT: "this kernel was built without pressure accounting",
    errno.EACCES: "this user may not read /proc/pressure",
}


def parse_totals(data: bytes) -> dict[str, int]:
    """Stalled microseconds since boot, by line ('some', 'full'). Raises ValueError for another format."""
    totals = {}
    for line in data.decode().split("\n"):
        if line:
            _, found, total = line.rpartition(" total=")
            if not found:
                raise ValueError(f"no total in {line!r}")
            totals[line.partition(" ")[0]] = int(total)
    return totals


class PressureProbe:
    """Reads the three files. ``missing`` says why, for each resource that cannot be read."""

    def __init__(self, root: Path = ROOT) -> None:
        self.missing: dict[str, str] = {}
        self._files: dict[str, KeptFile] = {}
        self._before: dict[str, dict[str, int]] = {}
        for resource in RESOURCES:
            try:
                self._files[resource] = KeptFile(root / "proc/pressure" / resource)
                self._before[resource] = parse_totals(self._files[resource].read())
            except (OSError, ValueError) as error:
                self._drop(resource, error)

    def sample(self, interval_s: float) -> dict[str, Pressure]:
        """Pressure by resource since the last call, which was ``interval_s`` seconds ago."""
        pressure = {}
        for resource, file in tuple(self._files.items()):
            try:
                after = parse_totals(file.read())
            except (OSError, ValueError) as error:
                self._drop(resource, error)
                continue
            before = self._before[resource]
            self._before[resource] = after
            pressure[resource] = _between(before, after, interval_s, with_full=resource != "cpu")
        return pressure

    def close(self) -> None:
        """Give the descriptors back."""
        for file in self._files.values():
            file.close()

    def _drop(self, resource: str, error: OSError | ValueError) -> None:
        number = error.errno if isinstance(error, OSError) else None
        self.missing[resource] = _WHY.get(number or 0, f"/proc/pressure/{resource} cannot be read: {error}")
        if file := self._files.pop(resource, None):
            file.close()


def _between(before: dict[str, int], after: dict[str, int], interval_s: float, *, with_full: bool) -> Pressure:
    """For the CPU as a whole the kernel's 'full' line has no meaning, so it is left out."""

    def percent(line: str) -> float:
        return min(100.0, max(0, after[line] - before.get(line, after[line])) / interval_s / 10_000)

    full = percent("full") if with_full and "full" in after else None
    return Pressure(some_percent=percent("some") if "some" in after else 0.0, full_percent=full)
