"""Keeps what was seen of a policy while it ran: wake-up latency under the kernel's own scheduler before, and under it.

Seen, not proven: the loads that schedtui started are the same before and after, everything else may have changed. Fed
by a feed in its thread; comparing properly, under the same load and repeatedly, is left to others.
"""

from __future__ import annotations

import contextlib

from schedtui.backend.errors import SchedtuiError
from schedtui.backend.histogram import Histogram, added, percentile_us
from schedtui.backend.model import Frame, MachineInfo
from schedtui.baseline import Baseline

AFTER_S = 30.0
"""How long a policy must have run."""
_LEAST_WAKE_UPS = 1000
"""Of fewer, a 99th percentile says little."""


class Observer:
    """Of one machine. A recording is not observed: what it shows was seen before, somewhere."""

    def __init__(self, info: MachineInfo) -> None:
        self._info = info
        self._baseline = Baseline()
        self._run: tuple[object, ...] = ()
        self._slots: Histogram = ()
        self._seconds = 0.0
        self._kept = False

    def add(self, frame: Frame) -> None:
        """Take one more sample; when a policy has run for long enough, keep one outcome of that run."""
        ghost = self._baseline.add(frame)
        scheduler = frame.scheduler
        run = (scheduler.policy, scheduler.enable_seq, tuple(sorted(scheduler.settings.items())))
        if run != self._run:
            self._run, self._slots, self._seconds, self._kept = run, (), 0.0, False
            return
        latency = frame.latency
        if self._kept or not ghost or not run[0] or latency is None or latency.source != "wakeup-probe":
            return
        self._slots = added(self._slots, latency.histogram)
        self._seconds += frame.interval_s
        if self._seconds >= AFTER_S and min(sum(self._slots), sum(ghost)) >= _LEAST_WAKE_UPS:
            self._kept = True
            if self._info.kind != "replay":
                self._keep(frame, ghost)

    def _keep(self, frame: Frame, ghost: Histogram) -> None:
        before, after = percentile_us(ghost, 99), percentile_us(self._slots, 99)
        if before is None or after is None:
            return
        from schedtui.backend.store import Outcome, Store

        outcome = Outcome(
            policy=frame.scheduler.policy,
            settings=frame.scheduler.settings,
            metric="wakeup_p99_us",
            before=before,
            after=after,
            machine=self._info.kind,
            kernel=self._info.kernel,
            cpus=len(self._info.cpus),
            workload=" ".join(sorted(load.kind for load in frame.workloads)),
            seconds=self._seconds,
            time=frame.time,
        )
        with contextlib.suppress(SchedtuiError):  # nobody asked for it: nobody is bothered when it cannot be kept
            Store().add_outcome(outcome)
