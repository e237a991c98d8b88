"""What the kernel's own scheduler looked like just before another took its place: the latency panel's ghost.

Two distributions are only worth comparing when the same loads ran under both, and when the same thing was
measured; otherwise there is no ghost.
"""

from __future__ import annotations

from schedtui.backend.histogram import Histogram, added
from schedtui.backend.model import Frame

KEPT_S = 10.0


class Baseline:
    """Fed with every Frame of one machine, it knows the distribution to compare the last one with."""

    def __init__(self) -> None:
        self._recent: list[tuple[float, Histogram]] = []
        self._conditions: tuple[object, ...] = ()
        self._frozen = False
        self._last_name = ""

    def add(self, frame: Frame) -> Histogram | None:
        """The default scheduler's last ten seconds when they can be compared with ``frame``, else None.

        The Frame in which a change of scheduler or of loads falls belongs to neither side and is left out.
        """
        steady = frame.scheduler.name == self._last_name
        self._last_name = frame.scheduler.name
        if frame.scheduler.sched_ext == "enabled":
            self._frozen = True
            return self._sum() if self._conditions == _conditions(frame) else None
        if frame.scheduler.sched_ext in ("disabled", "unsupported"):
            self._remember(frame, steady)
        return None

    def _remember(self, frame: Frame, steady: bool) -> None:
        if self._frozen or self._conditions != _conditions(frame):
            self._recent, self._frozen, self._conditions = [], False, _conditions(frame)
            steady = False
        if steady and frame.latency is not None:
            self._recent.append((frame.time, frame.latency.histogram))
        self._recent = [(at, slots) for at, slots in self._recent if at > frame.time - KEPT_S]

    def _sum(self) -> Histogram | None:
        total: Histogram = ()
        for _, slots in self._recent:
            total = added(total, slots)
        return total or None


def _conditions(frame: Frame) -> tuple[object, ...]:
    loads = tuple(sorted((load.kind, load.tasks) for load in frame.workloads))
    return (loads, frame.latency.source if frame.latency else None)
