"""How long runnable tasks waited for each CPU: the run delay of /proc/schedstat, where the kernel keeps it.

Field 8 of a ``cpuN`` line, nanoseconds since boot, is the same in versions 15, 16 and 17 of the format
(Documentation/scheduler/sched-stats.rst of the kernel); other versions are not read.
"""

from __future__ import annotations

from pathlib import Path

from schedtui.backend.probes.files import KeptFile

ROOT = Path("/")
KNOWN_VERSIONS = (15, 16, 17)
READ_AT_ONCE = 64 << 10
"""Bytes that one frame may cost. The file lists every scheduling domain of every CPU, so with many CPUs it is long,
and then it is read every second frame, or every third, and so on."""


def parse_run_delay(data: bytes) -> dict[int, int]:
    """Nanoseconds that tasks have waited for each CPU since boot. Raises ValueError for an unknown version."""
    first, _, rest = data.partition(b"\n")
    label, _, version = first.partition(b" ")
    if label != b"version" or not version.isdigit() or int(version) not in KNOWN_VERSIONS:
        raise ValueError(f"/proc/schedstat of a kind that is not known here: {first.decode(errors='replace')}")
    delays = {}
    for line in rest.split(b"\n"):
        if line.startswith(b"cpu"):
            fields = line.split()
            delays[int(fields[0][3:])] = int(fields[8])
    return delays


class SchedstatProbe:
    """Waiting time by CPU. ``missing`` says why there is none, or is empty."""

    def __init__(self, root: Path = ROOT) -> None:
        self.missing = ""
        self._waiting: dict[int, float] = {}
        self._elapsed_s = 0.0
        self._frames_left = 0
        self._before: dict[int, int] = {}
        self._file: KeptFile | None = None
        try:
            self._file = KeptFile(root / "proc/schedstat")
            self._before = self._read(self._file)
        except FileNotFoundError:
            self.missing = "this kernel was built without /proc/schedstat"
        except (OSError, ValueError, IndexError) as error:
            self._stop(str(error))

    def sample(self, interval_s: float) -> dict[int, float]:
        """Waiting by CPU in percent of the time since the last reading; passes 100 when several tasks wait."""
        self._elapsed_s += interval_s
        self._frames_left -= 1
        if not self._file or self._frames_left > 0:
            return self._waiting
        try:
            after = self._read(self._file)
        except (OSError, ValueError, IndexError) as error:
            self._stop(str(error))
            return {}
        self._waiting = {
            cpu: max(0, delay - self._before[cpu]) / self._elapsed_s / 1e7
            for cpu, delay in after.items()
            if cpu in self._before
        }
        self._before, self._elapsed_s = after, 0.0
        return self._waiting

    def close(self) -> None:
        """Give the descriptor back."""
        if self._file:
            self._file.close()

    def _read(self, file: KeptFile) -> dict[int, int]:
        data = file.read_pieces()
        self._frames_left = 1 + len(data) // READ_AT_ONCE
        return parse_run_delay(data)

    def _stop(self, why: str) -> None:
        self.missing = why
        self.close()
        self._file = None
        self._waiting = {}
