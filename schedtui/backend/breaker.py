"""The circuit breaker of a kept scheduler: one sample a second, compared with the scheduler's own recent past.

It takes a scheduler away that is gone wrong (a task starves or is refused), and one under which the metric got worse
for good while the load stayed what it was. When the load changed as well, the numbers cannot tell whose fault it is:
then a person is asked. What a lasting change is, is canary.lasting_change's.
"""

from __future__ import annotations

import contextlib
import statistics
import threading
from collections import deque
from collections.abc import Callable

from msgspec import Struct

from schedtui.backend.canary import lasting_change
from schedtui.backend.canary_run import Guard
from schedtui.backend.deploy import Deployer
from schedtui.backend.errors import SchedtuiError
from schedtui.backend.histogram import percentile_us
from schedtui.backend.model import Deployment, Metric, Sample

INTERVAL_S = 1.0
PAST = 60
"""Seconds that recent ones are compared with."""
_KEPT = 3 * PAST
_LEAST_WAKE_UPS = 20
"""Of fewer in a second, a percentile says nothing."""
_BREAKER = "circuit breaker"
_SAME_LOAD = 1.5
"""The load is the same while it changed by less than so many times."""

Ask = Callable[[Deployment, str], None]
"""Called with the sentence that a person should read; they may revert."""


class Second(Struct, frozen=True):
    """What one second showed."""

    value: float
    """In the metric's unit."""
    load: float
    """Wake-ups of all tasks: how much there was to schedule."""


class Breaker:
    """Watches one kept deployment until it is stopped, or takes it away. Costs a sample a second.

    ``metric``: what is compared; that of its canary when it is not given.
    """

    def __init__(
        self,
        deployer: Deployer,
        deployment: Deployment,
        *,
        metric: Metric | None = None,
        ask: Ask = lambda _deployment, _text: None,
    ) -> None:
        self._deployer = deployer
        self._deployment = deployment
        self._machine = deployer.machine
        self._metric = _watched(metric or (deployment.comparison.metric if deployment.comparison else None))
        self._ask = ask
        self._over = threading.Event()
        self._seconds: deque[Second] = deque(maxlen=_KEPT)
        self._last: Sample | None = None
        self._guard: Guard | None = None
        self._candidate = deployer.candidate(deployment)

    def start(self) -> None:
        """Watch from now on, in a thread of its own."""
        threading.Thread(target=self._watch, name="circuit-breaker", daemon=True).start()

    def stop(self) -> None:
        """Watch no more; the scheduler stays."""
        self._over.set()

    def step(self, sample: Sample) -> bool:
        """Take one sample; whether there is still something to watch."""
        if self._guard is None or self._last is None:
            self._guard, self._last = self._guard or Guard(self._candidate, sample), sample
            return True
        if fault := self._guard.fault(sample):
            now = sample.scheduler
            replaced = now.sched_ext == "enabled" and now.digest != self._candidate.digest
            self._revert(fault, by="schedtui" if replaced else _BREAKER)
            return False
        before, self._last = self._last, sample
        if second := second_of(before, sample, self._metric):
            self._seconds.append(second)
            return self._judge()
        return True

    def _judge(self) -> bool:
        seconds = list(self._seconds)
        change = lasting_change([each.value for each in seconds], better=self._metric.better, past=PAST)
        if change is None:
            return True
        then = statistics.fmean(each.load for each in seconds[: change.since])
        now = statistics.fmean(each.load for each in seconds[change.since :])
        worse = f"{_named(self._metric)} is {max(change.ratio, 1 / change.ratio):.1f} times worse than it was"
        if max(then, now) <= _SAME_LOAD * max(min(then, now), 1.0):
            self._revert(f"{worse}, for {len(seconds) - change.since} s, and the load is what it was.")
            return False
        self._seconds.clear()  # what is now is what later seconds are compared with
        doubt = "but what runs on this computer changed as well, so that may be why."
        self._ask(self._deployment, f"{worse}, {doubt} Keep {self._deployment.policy}?")
        return True

    def _watch(self) -> None:
        focused = False
        while not self._over.wait(INTERVAL_S) and self._deployer.current(self._deployment).state == "kept":
            if self._deployer.is_trying():
                self._last, focused = None, False  # what is tried in its place is watched by the canary
                continue
            try:
                if not focused:
                    self._machine.focus(self._metric.focus)
                    focused = True
                if not self.step(self._machine.sample()):
                    return
            except SchedtuiError as error:
                self._revert(error.message, by="schedtui")
                return

    def _revert(self, reason: str, *, by: str = _BREAKER) -> None:
        """``by`` the breaker: a fault of what was kept. By schedtui: something else ended it."""
        if self._over.is_set():  # it was stopped meanwhile, and its end is somebody else's
            return
        with contextlib.suppress(SchedtuiError):  # the store cannot be written: the machine is given back all the same
            self._deployer.revert(self._deployment, reason, by=by)


def second_of(before: Sample, after: Sample, metric: Metric) -> Second | None:
    """What happened between two samples; None when it is too little to say anything."""
    seconds = after.time_s - before.time_s
    waits, load = _grown(before.wakeups, after.wakeups), sum(after.wakeups) - sum(before.wakeups)
    if seconds <= 0 or load < 0:
        return None
    if metric.name == "work_per_s":
        done = [s.work.get(metric.work, 0) if metric.work else sum(s.work.values()) for s in (before, after)]
        return Second((done[1] - done[0]) / seconds, load / seconds) if done[1] > done[0] else None
    if metric.focus:
        waits = _grown(before.focus_wakeups, after.focus_wakeups)
    value = percentile_us(waits, 50 if metric.name == "wakeup_p50_us" else 99)
    return Second(value, load / seconds) if value and sum(waits) >= _LEAST_WAKE_UPS else None


def _grown(before: tuple[int, ...], after: tuple[int, ...]) -> list[int]:
    return [now - (before[slot] if slot < len(before) else 0) for slot, now in enumerate(after)]


def _watched(metric: Metric | None) -> Metric:
    """What can be watched of a metric: a command is not run again and again."""
    if metric is None or metric.name == "command_s":
        return Metric(name="wakeup_p99_us")
    return metric


def _named(metric: Metric) -> str:
    whose = f" of {', '.join(metric.focus)}" if metric.focus else ""
    if metric.name == "work_per_s":
        return f"The work done each second{' by ' + metric.work if metric.work else ''}"
    return f"The wake-up latency{whose}"
