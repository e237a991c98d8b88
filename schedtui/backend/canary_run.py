"""A canary on a machine: what runs now and a candidate take turns, sampled every 100 ms, until the numbers decide.

What is measured is judged by canary.Trial. Here is what must end a canary at once, whatever the numbers say: a task
that starves, tasks that are refused, a scheduler that is gone, panic. Whoever called decides what becomes of it and
keeps the books: that is deploy.py's. While the candidate runs, this loop itself renews the helper's lease, so that the
helper takes the candidate away when the loop stands still.
"""

from __future__ import annotations

import contextlib
import math
import statistics
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

from msgspec import Struct, field

from schedtui.backend.canary import Side, Trial
from schedtui.backend.errors import (
    HelperGone,
    Interrupted,
    LeaseEnded,
    NotPermitted,
    PanicLatched,
    SchedtuiError,
)
from schedtui.backend.machine import Machine
from schedtui.backend.model import Comparison, Completed, Loadable, Metric, Program, Sample, Scheduler, Setting

Progress = Callable[[Comparison, Side], None]
"""Called with what is known so far, and the side that runs now."""

SLICE_S = 0.1
SETTLE_S = 0.3
"""After a switch: its own disturbance is no property of either side."""
LEASE_S = 5.0
"""Longer than a computer that is far too busy keeps this loop from its turn, and short for a person who waits."""
SHORTEST_TURN_S = 2.0
CALM_S = 3.0
"""Longest wait for what went before, as the verifier's load, to die away."""
STARVED_MS = 1000.0
STARVED_TIMES = 3.0
"""A wait is starvation when it is longer than STARVED_MS and than so many times the baseline's longest."""
DEFAULT_TIMEOUT_MS = 30_000
"""The kernel's watchdog, when a policy does not set it."""
_LONGEST_RUN_S = 600.0
_SLOWEST = 3.0
"""A canary may take so many times longer than it measures, on a computer that is slow to switch and to answer."""
LEAST_SLICES = 20
"""Of a turn, as far as that takes no more than _SLOWEST times as long as the turn should."""
_READ_BACK_S = 5.0
_PATIENCE = 20
"""Slices in which the helper should have seen the end of the candidate, taken it out, and know its cause."""
_CALM_SLICES = 5
_STEADY = 0.35
"""The load is steady when what happens in half a second strays by less, as a share of its mean."""


class Candidate(Struct, frozen=True, kw_only=True):
    """What is tried."""

    policy: str
    obj: Loadable
    digest: str
    settings: dict[str, Setting] = field(default_factory=dict)


class Finished(Struct, frozen=True, kw_only=True):
    """How a canary ended."""

    comparison: Comparison
    guard: Guard
    """For as long as it runs on."""
    ended: str = ""
    """Why the candidate must go, or is gone already, in a sentence; empty: it runs, and was measured."""


class _Gone(Exception):
    """The candidate must go, or is gone."""


def run_canary(
    machine: Machine,
    candidate: Candidate,
    metric: Metric,
    *,
    seconds: float,
    stop: threading.Event,
    on_progress: Progress,
) -> Finished:
    """Measure the candidate against what runs now. It runs, under a lease, when this returns without ``ended``.

    Measures for ``seconds`` (of a command's metric: three runs on each side, more while they last), less when the
    numbers decide sooner; switching comes on top. Raises what the machine raises before the candidate was loaded, and
    NotPermitted when the command of the metric fails as things are.
    """
    run = _Run(machine, candidate, metric, seconds=seconds, stop=stop, on_progress=on_progress)
    machine.focus(metric.focus)
    try:
        return run.run()
    finally:
        _quietly(lambda: machine.focus(()))


class Guard:
    """What must never be seen while a candidate runs."""

    def __init__(self, candidate: Candidate, before: Sample, *, compared: bool = True) -> None:
        """``compared``: a baseline is measured, beside which a wait can be too long; else the watchdog's limit alone
        says so."""
        self._candidate = candidate
        self._rejected = before.scheduler.rejected
        self._longest_ms = 0.0 if compared else math.inf
        self._starving = ""
        """Whose wait was too long the last time."""
        self._watchdog_ms = watchdog_ms(candidate.obj)

    def note_baseline(self, sample: Sample) -> None:
        """A sample of what ran before: waits that were there already are not the candidate's."""
        self._longest_ms = max(self._longest_ms, sample.longest_wait_ms or 0.0)

    def fault(self, sample: Sample) -> str:
        """Why the candidate must go, in a sentence; empty when nothing is wrong."""
        return self._gone(sample.scheduler) or self._rejects(sample.scheduler) or self._starves(sample)

    def _gone(self, now: Scheduler) -> str:
        policy = self._candidate.policy
        if now.latched:
            return "Panic was pressed."
        if now.sched_ext != "enabled":  # whoever goes is still named while it goes, so nobody is named here
            return f"{policy} does not run any more: the kernel ended it, or somebody else did."
        if (now.owner, now.digest) != ("schedtui", self._candidate.digest):
            return f"Another scheduler, {now.name}, took the place of {policy}."
        return ""

    def _rejects(self, now: Scheduler) -> str:
        grown = now.rejected - self._rejected
        return f"{self._candidate.policy} refused to schedule {grown} tasks." if grown > 0 else ""

    def _starves(self, sample: Sample) -> str:
        """A wait counts when it is seen twice: a computer that stood still for a moment is not the fault of any."""
        fault = self._too_long(sample.longest_wait_ms or 0.0, sample.longest_waiter)
        waiter = sample.longest_waiter if fault else ""
        again, self._starving = bool(waiter) and waiter == self._starving, waiter
        return fault if again else ""

    def _too_long(self, wait_ms: float, waiter: str) -> str:
        if wait_ms > self._watchdog_ms / 2:
            return (
                f"{waiter} has waited {wait_ms / 1000:.1f} s for a CPU: at {self._watchdog_ms / 1000:g} s the kernel's "
                f"watchdog would have thrown {self._candidate.policy} out."
            )
        if wait_ms > max(STARVED_MS, STARVED_TIMES * self._longest_ms):
            return (
                f"{waiter} has waited {wait_ms / 1000:.1f} s for a CPU, and never longer than "
                f"{self._longest_ms / 1000:.2f} s before {self._candidate.policy} ran."
            )
        return ""


class _Run:
    """One canary."""

    def __init__(
        self,
        machine: Machine,
        candidate: Candidate,
        metric: Metric,
        *,
        seconds: float,
        stop: threading.Event,
        on_progress: Progress,
    ) -> None:
        self._machine = machine
        self._candidate = candidate
        self._metric = metric
        self._stop = stop
        self._on_progress = on_progress
        self._trial = Trial(metric)
        self._seconds = seconds
        self._measured_s = 0.0
        self._deadline = time.monotonic() + _SLOWEST * seconds
        self._last = machine.sample()
        self._guard = Guard(candidate, self._last)
        self._returns_to_kernel = self._last.scheduler.sched_ext in ("disabled", "unsupported")
        """Else the other side could not be brought back: only its own loader could load it again."""
        self._side: Side = "before"
        self._switch_s = 0.0
        self._tried = False

    def run(self) -> Finished:
        """See run_canary."""
        try:
            if self._metric.name == "command_s":
                self._by_runs()
            else:
                self._by_slices()
            if self._trial.finish() != "worse":
                self._switch("after")
        except _Gone as gone:
            return self._finished(str(gone))
        except (HelperGone, LeaseEnded, PanicLatched, Interrupted) as error:
            if not self._tried:
                raise
            return self._finished(self._lost(error))
        comparison = self._trial.comparison()
        return self._finished(comparison.reason if comparison.verdict == "worse" else "")

    def _finished(self, ended: str) -> Finished:
        return Finished(comparison=self._trial.comparison(), guard=self._guard, ended=ended)

    def _by_slices(self) -> None:
        steady = self._calm_down()
        turn_s = SHORTEST_TURN_S if steady and self._returns_to_kernel else self._seconds / 2
        self._turn("before", turn_s)
        while self._trial.decision() is None:
            self._switch("after")
            turn_s = max(SHORTEST_TURN_S, 2 * self._switch_s) if turn_s < self._seconds / 2 else turn_s
            self._turn("after", turn_s)
            if self._trial.decision() is not None or not self._alternates(turn_s):
                return
            self._switch("before")
            self._turn("before", turn_s)

    def _alternates(self, turn_s: float) -> bool:
        """Whether there is time for another turn of each side."""
        left_s = self._deadline - time.monotonic()
        enough = self._measured_s >= self._seconds or left_s < 2 * (turn_s + self._switch_s)
        return self._returns_to_kernel and not enough

    def _by_runs(self) -> None:
        with ThreadPoolExecutor(1, "canary-command") as pool:
            self._command_run("before", pool)
            while self._trial.decision() is None:
                self._switch("after")
                self._command_run("after", pool)
                comparison = self._trial.comparison()
                enough = min(comparison.samples_before, comparison.samples_after) >= 3
                if self._trial.decision() is not None or (enough and self._measured_s >= self._seconds):
                    return
                if self._returns_to_kernel:
                    self._switch("before")
                self._command_run("before", pool)

    def _calm_down(self) -> bool:
        """Wait until what went before has died away: three half seconds alike. Whether it is steady by then."""
        amounts: list[float] = []
        limit = time.monotonic() + CALM_S
        while time.monotonic() < limit:
            before = self._last
            for _ in range(_CALM_SLICES):
                self._next_sample()
            amounts.append(_amount(before, self._last, self._metric))
            recent = amounts[-3:]
            if len(recent) == 3 and statistics.pstdev(recent) <= _STEADY * max(statistics.fmean(recent), 1e-9):
                return True
        return False

    def _turn(self, side: Side, seconds: float) -> None:
        """Slices of one side, until the time is over or the numbers decide."""
        began = time.monotonic()
        slices = 0
        while (spent_s := time.monotonic() - began) < seconds or (
            slices < LEAST_SLICES and spent_s < _SLOWEST * seconds
        ):
            before = self._last
            after = self._next_sample()
            slices += 1
            self._measured_s += after.time_s - before.time_s
            self._trial.add(side, before, after)
            decision = self._trial.decision()
            self._on_progress(self._trial.comparison(), side)
            if decision is not None:
                return

    def _command_run(self, side: Side, pool: ThreadPoolExecutor) -> None:
        """One run of the command, watched as slices are."""
        running: Future[Completed] = pool.submit(self._machine.run, list(self._metric.command), _LONGEST_RUN_S)
        while not running.done():
            self._next_sample()
        done = running.result()
        if done.exit_code or done.truncated:
            told = f"The command {self._metric.command[0]} ended with {done.exit_code}"
            if side == "after":
                raise _Gone(f"{told} while {self._candidate.policy} ran, and without a fault before.")
            raise NotPermitted(f"{told}, so its time means nothing.", "Try it in a shell first.", done.output[-2000:])
        self._measured_s += done.seconds
        self._trial.add_run(side, done.seconds)
        self._on_progress(self._trial.comparison(), side)

    def _next_sample(self) -> Sample:
        """The machine a slice later, with the lease renewed and the guard asked while the candidate runs."""
        if self._stop.wait(SLICE_S):
            raise _Gone("It was stopped before it was decided.")
        if self._side == "after":
            self._machine.renew()
        self._last = self._machine.sample()
        if self._side == "before":
            self._guard.note_baseline(self._last)
        elif fault := self._guard.fault(self._last):
            raise _Gone(self._last_words() or fault)
        return self._last

    def _last_words(self) -> str:
        """How the candidate came to its end, when it did; the helper asks the kernel five times a second."""
        now = self._last.scheduler
        if now.sched_ext == "enabled" or now.latched:
            return ""
        for _ in range(_PATIENCE):
            try:
                self._machine.renew()
            except LeaseEnded as error:
                return self._lost(error)
            except SchedtuiError:
                return ""
            time.sleep(SLICE_S)
        return ""

    def _switch(self, side: Side) -> None:
        if side == self._side:
            return
        began = time.monotonic()
        if side == "after":
            self._tried = True
            each = self._candidate
            self._machine.load(each.policy, each.obj, each.settings, lease_s=LEASE_S)
        else:
            self._machine.unload()
        self._side = side
        self._switch_s = time.monotonic() - began
        if self._stop.wait(SETTLE_S):
            raise _Gone("It was stopped before it was decided.")
        self._next_sample()

    def _lost(self, error: SchedtuiError) -> str:
        """What a lost helper, an ended lease or a panic left behind, read back from the kernel."""
        now = settled_scheduler(self._machine)
        if now is not None and now.latched:
            return f"Panic was pressed: {now.name} runs."
        runs = f"{now.name} runs." if now else "Nothing of it runs any more."
        if isinstance(error, HelperGone):
            return f"The helper that held it ended, and with it what it had loaded: {runs}"
        return error.message if runs[:-1] in error.message else f"{error.message} {runs}"


def settled_scheduler(machine: Machine) -> Scheduler | None:
    """What the kernel says runs, asked again for some seconds where a helper is being replaced; None: no answer."""
    limit = time.monotonic() + _READ_BACK_S
    while True:
        try:
            now = machine.scheduler()
            if now.sched_ext in ("enabled", "disabled", "unsupported") or time.monotonic() > limit:
                return now
        except SchedtuiError:
            if time.monotonic() > limit:
                return None
        time.sleep(SLICE_S)


def watchdog_ms(obj: Loadable) -> int:
    """After how long the kernel ends this policy when a task waits; the kernel's default when it does not say."""
    if isinstance(obj, Program):
        return DEFAULT_TIMEOUT_MS  # the most that it can ask for
    from schedtui.backend.verifier.elf import read_object

    try:
        found = [each.values.get("timeout_ms") for each in read_object(obj).struct_ops]
    except SchedtuiError:  # what cannot be read cannot be loaded either
        return DEFAULT_TIMEOUT_MS
    return next((each for each in found if isinstance(each, int) and each > 0), DEFAULT_TIMEOUT_MS)


def _amount(before: Sample, after: Sample, metric: Metric) -> float:
    """How much of what the metric counts happened between two samples."""
    if metric.name == "work_per_s":
        done = [s.work.get(metric.work, 0) if metric.work else sum(s.work.values()) for s in (before, after)]
    else:
        done = [sum(s.focus_wakeups if metric.focus else s.wakeups) for s in (before, after)]
    return float(done[1] - done[0])


def _quietly(act: Callable[[], object]) -> None:
    with contextlib.suppress(SchedtuiError):
        act()
