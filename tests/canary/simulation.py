"""Slices of computers that do not exist, for trials whose truth is known: alike their neighbours, with long tails."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from msgspec import Struct

from schedtui.backend.canary import Side, Trial
from schedtui.backend.histogram import SLOTS, lower_bound_ns
from schedtui.backend.model import CanaryVerdict, Metric, Sample, Scheduler

WAKEUP = Metric(name="wakeup_p99_us")
WORK = Metric(name="work_per_s", work="frames")
COMMAND = Metric(name="command_s", command=("make",))
SLICE_S = 0.1
_BOUNDS_US = np.array([lower_bound_ns(slot) / 1000 for slot in range(SLOTS + 1)])
_NOTHING = Scheduler(sched_ext="disabled", name="EEVDF", owner="kernel")


class Regime(Struct, frozen=True, kw_only=True):
    """How a computer behaves while nothing is changed."""

    wakeups_per_slice: float = 200.0
    tail: float = 1.2
    """Deviation of the logarithm of a wait."""
    memory: float = 0.7
    """Correlation of one slice's level with the next one's."""
    swing: float = 0.25
    """Deviation of the logarithm of a slice's level."""
    burst_every_s: float = 0.0
    burst_s: float = 0.3
    burst_factor: float = 4.0
    drift_per_s: float = 0.0
    """Of the logarithm of the level."""
    turn_swing: float = 0.0
    """Deviation of the logarithm of a turn's level."""


REGIMES = {
    "steady": Regime(),
    "few-wakeups": Regime(wakeups_per_slice=10),
    "hardly-any": Regime(wakeups_per_slice=0.5),
    "bursts": Regime(burst_every_s=3.0),
    "long-memory": Regime(memory=0.9, swing=0.35),
    "drift": Regime(drift_per_s=0.01),
    "uneasy-turns": Regime(turn_swing=0.08),
    "heavy-tail": Regime(tail=2.0),
    "calm": Regime(swing=0.08, memory=0.5),
}


class Computer:
    """One that runs, slice after slice, in a regime."""

    def __init__(self, regime: Regime, seed: int) -> None:
        self._regime = regime
        self._random = np.random.default_rng(seed)
        self._level = 0.0
        self._turn = 0.0
        self._burst_left = 0
        self._slices = 0

    def new_turn(self) -> None:
        """Something else begins to run."""
        self._turn = self._random.normal(0, self._regime.turn_swing) if self._regime.turn_swing else 0.0

    def wakeups(self, factor: float) -> np.ndarray:
        """The histogram of the next slice, when waits are ``factor`` times as long as they would be."""
        it, random = self._regime, self._random
        self._slices += 1
        self._level = it.memory * self._level + random.normal(0, it.swing * np.sqrt(1 - it.memory**2))
        if it.burst_every_s and not self._burst_left and random.random() < SLICE_S / it.burst_every_s:
            self._burst_left = 1 + random.poisson(it.burst_s / SLICE_S - 1)
        level = np.exp(self._level + self._turn + it.drift_per_s * self._slices * SLICE_S) * factor
        if self._burst_left:
            self._burst_left -= 1
            level *= it.burst_factor
        waits_us = 50 * level * random.lognormal(0, it.tail, random.poisson(it.wakeups_per_slice))
        slots = np.clip(np.searchsorted(_BOUNDS_US, waits_us, side="right") - 1, 0, SLOTS - 1)
        return np.bincount(slots, minlength=SLOTS)

    def work(self, factor: float) -> int:
        """Frames of the next slice, of which there are about six."""
        it, random = self._regime, self._random
        self._slices += 1
        self._level = it.memory * self._level + random.normal(0, it.swing * np.sqrt(1 - it.memory**2))
        level = self._level + self._turn + it.drift_per_s * self._slices * SLICE_S
        return int(random.poisson(6 * np.exp(0.3 * level) * factor))


def sides(turn: int, slices: int) -> Iterator[Side]:
    """Before, after, before, after, … in turns of so many slices."""
    for index in range(slices):
        yield "before" if index // turn % 2 == 0 else "after"


def outcome(
    regime: Regime, seed: int, factor: float = 1.0, *, metric: Metric = WAKEUP, turn: int = 25, slices: int = 320
) -> tuple[CanaryVerdict, int, Trial]:
    """The verdict of a trial in which ``after`` makes the metric ``factor`` times what it is, and at which slice."""
    trial, computer, seen = Trial(metric), Computer(regime, seed), Counters()
    last: Side | None = None
    now = seen.sample()
    for number, side in enumerate(sides(turn, slices), 1):
        if side != last:
            computer.new_turn()
            last = side
        by = factor if side == "after" else 1.0
        if metric.name == "work_per_s":
            seen.add_work(computer.work(by))
        else:
            seen.add_wakeups(computer.wakeups(by))
        before, now = now, seen.sample()
        trial.add(side, before, now)
        verdict = trial.decision()
        if verdict is not None:
            return verdict, number, trial
    return trial.finish(), slices, trial


class Counters:
    """What a machine counts; a sample is what they stand at."""

    def __init__(self) -> None:
        self._time_s = 0.0
        self._wakeups = np.zeros(SLOTS, dtype=int)
        self._work = 0

    def add_wakeups(self, histogram: np.ndarray) -> None:
        """A slice went by, with these wake-ups."""
        self._time_s += SLICE_S
        self._wakeups = self._wakeups + histogram

    def add_work(self, amount: int) -> None:
        """A slice went by, with so much work done."""
        self._time_s += SLICE_S
        self._work += amount

    def sample(self) -> Sample:
        """Where they stand."""
        return Sample(
            time_s=self._time_s,
            scheduler=_NOTHING,
            wakeups=tuple(self._wakeups.tolist()),
            work={"frames": self._work},
        )
