"""Whether a candidate is better or worse than what ran before: the statistics of a canary, and nothing else.

A trial is fed with slices of about 100 ms of one side and the other, and says better, worse, no difference, or that
nobody can tell. Slices that follow each other are alike, waits have long tails, the computer drifts, and whoever looks
often enough finds something: docs/CANARY.md says in plain words what is done about each. Switching schedulers,
sampling and acting on the verdict is left to canary_run.py and breaker.py.
"""

from __future__ import annotations

import functools
import itertools
import math
import statistics
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

from msgspec import Struct

from schedtui.backend.histogram import SLOTS, Histogram, added, lower_bound_ns, percentile_us, trimmed
from schedtui.backend.model import CanaryVerdict, Comparison, Metric, Sample

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    _Floats = NDArray[np.float64]

Side = Literal["before", "after"]

_REPLICATES = 200
_SHORTEST_BLOCK = 4
_LEAST_WAKE_UPS = 300
"""On each side: of fewer, a 99th percentile is the chance of two or three waits."""
_LEAST_WORK = 20
_LOOK_RATIO = 1.2
"""Samples of a look over those of the look before."""
_ONE_TURN = 0.67
"""Share of a side in its turns: 1 for one turn, 0.5 for two of the same length."""
_EQUIVALENCE_ALPHA = 0.10
_FAST_ALPHA = 0.0025
"""Of each look for something clearly worse; by Fisher's test, which knows nothing of the further conditions."""
_FAST_RATIO = 2.0
"""A unit is bad when it is so many times worse than all of the baseline."""
_FAST_POOLED_RATIO = 2.5
_FAST_SLICES = 2
_FAST_WAKE_UPS = 20
_FEW_WAKE_UPS = 2
_OTHER_WORK = 2.5
"""Under what ran before, so many times more or fewer wake-ups in a later turn tell of other work."""
_OTHER_WORK_S = 1.0
_OTHER_WORK_WAKE_UPS = 100
"""Seconds that such a turn lasts, and wake-ups that the busier of the two holds, at least."""
WORK_CHANGED = "The work itself changed meanwhile"
"""How the reason begins when the two sides did not see the same."""
_FAST_WORK = 4
"""What a unit must hold, or be expected to hold: of less, one slow wake-up or late frame would make it bad."""


class _Kind(Struct, frozen=True, kw_only=True):
    """What is known of a metric before anything is measured."""

    percentile: float | None = None
    turn_deviation: float
    """How far a turn's level strays from the turn before by itself, as a logarithm's standard deviation, at least."""
    band: float
    """A change smaller than this, as a logarithm, is none."""
    least: int
    most: int
    """Samples on each side."""


_KINDS = {
    "wakeup_p99_us": _Kind(percentile=99, turn_deviation=0.06, band=0.10, least=20, most=150),
    "wakeup_p50_us": _Kind(percentile=50, turn_deviation=0.06, band=0.10, least=20, most=150),
    "work_per_s": _Kind(turn_deviation=0.02, band=0.05, least=20, most=150),
    "command_s": _Kind(turn_deviation=0.02, band=0.05, least=3, most=12),
}


class _Slice(Struct, frozen=True):
    """What happened between two samples."""

    turn: int
    seconds: float
    wakeups: Histogram
    amount: float
    """Work done, or a command's seconds."""


class _Turn(Struct):
    """What happened while one side ran in one go."""

    side: Side
    wakeups: Histogram = ()
    amount: float = 0.0
    seconds: float = 0.0
    woken: int = 0
    """Wake-ups, whatever the metric counts; of the tasks in focus when there are any."""


class _Estimate(Struct, frozen=True):
    """The logarithm of after : before, and how far it may be off."""

    change: float
    deviation: float
    freedom: int
    half_width: float
    """Of the interval that holds at every look together."""

    def is_within(self, band: float) -> bool:
        """Whether the change is smaller than ``band``, up and down (two one-sided tests, Schuirmann 1987)."""
        return abs(self.change) + critical(_EQUIVALENCE_ALPHA, self.freedom) * self.deviation < band


class Trial:
    """A comparison of two sides on one metric, decided as soon as the numbers allow.

    ``alpha`` is the risk that two sides without a difference are called better or worse, all looks together.
    ``least_samples`` and ``most_samples`` are for each side (slices; for ``command_s``, runs): nothing but something
    clearly worse is decided before the first, and everything at the second, if only as *inconclusive*.
    """

    def __init__(
        self,
        metric: Metric,
        *,
        alpha: float = 0.05,
        least_samples: int | None = None,
        most_samples: int | None = None,
    ) -> None:
        import numpy  # noqa: F401  here and not between two slices

        self.metric = metric
        self._kind = _KINDS[metric.name]
        self._has_turns = metric.name != "command_s"
        """Else each run stands for itself."""
        self._alpha = alpha
        self._least = least_samples or self._kind.least
        self._most = max(most_samples or self._kind.most, self._least)
        self._slices: dict[Side, list[_Slice]] = {"before": [], "after": []}
        self._pooled: dict[Side, Histogram] = {"before": (), "after": ()}
        self._turns: list[_Turn] = []
        self._next_look = self._least
        self._spent = 0.0
        self._estimate: _Estimate | None = None
        self._verdict: CanaryVerdict | None = None
        self._reason = ""
        self._kinds: frozenset[str] | None = None
        """Of load, when the trial began."""
        self._other_kinds = False

    def add(self, side: Side, before: Sample, after: Sample) -> bool:
        """Take a slice in which ``side`` ran, between two samples about 100 ms apart.

        False when it tells nothing and was left out: the scheduler changed within, or a counter began anew. A slice
        of ``side`` after one of the other begins a turn; the more turns, the better drift is told from a difference.
        """
        seconds = after.time_s - before.time_s
        if seconds <= 0 or _runs(before) != _runs(after):
            return False
        wakeups = self._wakeups(before, after)
        amount = self._work(after) - self._work(before)
        if wakeups is None or amount < 0:
            return False
        self._take(side, seconds, wakeups, amount, _woken(before, after, focus=bool(self.metric.focus)))
        self._note_kinds(after)
        return True

    def add_run(self, side: Side, seconds: float) -> None:
        """Take one run of the command of a ``command_s`` metric, which took ``seconds``."""
        self._take(side, seconds, (), seconds, 0)

    def decision(self) -> CanaryVerdict | None:
        """The verdict, once there is one; it does not change any more. None: go on."""
        if self._verdict is None and (change := self._other_work()):
            self._decide("inconclusive", f"{WORK_CHANGED}: {change}.")
        if self._verdict is None:
            self._look_for_clearly_worse()
        if self._verdict is None and self._samples() >= self._next_look:
            self._look(over=self._samples() >= self._most)
        return self._verdict

    def finish(self) -> CanaryVerdict:
        """The verdict when nothing more will come: one last look at what there is."""
        if self.decision() is None:
            self._look(over=True)
        return self._verdict or "inconclusive"

    def comparison(self) -> Comparison:
        """What is known so far; *inconclusive* until it is decided."""
        before, after = self._level("before"), self._level("after")
        estimate = self._estimate
        known = before is not None and after is not None and before > 0
        return Comparison(
            metric=self.metric,
            verdict=self._verdict or "inconclusive",
            before=before,
            after=after,
            change_percent=100 * (after - before) / before if known and after is not None and before else None,
            low_percent=_percent(estimate.change - estimate.half_width) if estimate else None,
            high_percent=_percent(estimate.change + estimate.half_width) if estimate else None,
            samples_before=len(self._slices["before"]),
            samples_after=len(self._slices["after"]),
            seconds=sum(each.seconds for side in self._slices.values() for each in side),
            reason=self._reason or "Too little was measured so far to tell.",
        )

    def _take(self, side: Side, seconds: float, wakeups: Histogram, amount: float, woken: int) -> None:
        if not self._turns or self._turns[-1].side != side:
            self._turns.append(_Turn(side))
        turn = self._turns[-1]
        turn.wakeups = added(turn.wakeups, wakeups)
        turn.amount, turn.seconds = turn.amount + amount, turn.seconds + seconds
        turn.woken += woken
        self._slices[side].append(_Slice(len(self._turns), seconds, wakeups, amount))
        self._pooled[side] = added(self._pooled[side], wakeups)

    def _note_kinds(self, sample: Sample) -> None:
        kinds = frozenset(sample.work)
        self._kinds = kinds if self._kinds is None else self._kinds
        self._other_kinds |= kinds != self._kinds

    def _other_work(self) -> str:
        """Why what ran is not what ran at first, when that is no doing of the candidate; empty when nothing says so.

        Only turns of what ran before are compared: a candidate may well make tasks wake up more or less often.
        """
        if self._other_kinds:
            return "other loads ran than when it began"
        own = [each for each in self._turns if each.side == "before" and each.seconds >= _OTHER_WORK_S]
        if len(own) < 2 or max(own[0].woken, own[-1].woken) < _OTHER_WORK_WAKE_UPS:
            return ""
        first, now = (max(each.woken, 1) / each.seconds for each in (own[0], own[-1]))
        if max(first, now) < _OTHER_WORK * min(first, now):
            return ""
        return f"under what ran before, tasks woke up {first:.0f} times a second at first, and {now:.0f} times later"

    def _wakeups(self, before: Sample, after: Sample) -> Histogram | None:
        if self._kind.percentile is None:
            return ()
        if self.metric.focus:
            return _difference(before.focus_wakeups, after.focus_wakeups)
        return _difference(before.wakeups, after.wakeups)

    def _work(self, sample: Sample) -> int:
        return sample.work.get(self.metric.work, 0) if self.metric.work else sum(sample.work.values())

    def _samples(self) -> int:
        return min(len(self._slices["before"]), len(self._slices["after"]))

    def _level(self, side: Side) -> float | None:
        """The metric's value on a side; None when nothing was seen."""
        slices = self._slices[side]
        if self._kind.percentile is not None:
            return percentile_us(self._pooled[side], self._kind.percentile)
        if not slices:
            return None
        if not self._has_turns:
            return statistics.geometric_mean(max(each.amount, 1e-9) for each in slices)
        return sum(each.amount for each in slices) / sum(each.seconds for each in slices)

    def _level_of(self, wakeups: Histogram, amount: float, seconds: float) -> float | None:
        if self._kind.percentile is not None:
            return percentile_us(wakeups, self._kind.percentile)
        return amount / seconds

    def _enough(self, side: Side) -> bool:
        if self._kind.percentile is not None:
            return sum(self._pooled[side]) >= _LEAST_WAKE_UPS
        return not self._has_turns or sum(each.amount for each in self._slices[side]) >= _LEAST_WORK

    def _look(self, over: bool) -> None:
        """Estimate anew and see whether that decides, at the risk that this look may take.

        Each look may be wrong with a share of ``alpha`` that grows with the samples (alpha spending, Lan and DeMets
        1983); that the shares simply add up (Bonferroni) needs no assumption on how the looks hang together.
        """
        samples = min(self._samples(), self._most)
        self._next_look = min(max(samples + 1, math.ceil(samples * _LOOK_RATIO)), self._most)
        if samples >= self._least and self._enough("before") and self._enough("after"):
            may_spend = self._alpha * (1 if over else samples / self._most)
            self._estimate = self._estimated(may_spend - self._spent)
            self._spent = may_spend
            self._judge(self._estimate, over)
        elif over:
            self._decide(
                "inconclusive", "Too little happened to compare: too few tasks woke up, or got something done."
            )

    def _judge(self, estimate: _Estimate, over: bool) -> None:
        low, high, band = estimate.change - estimate.half_width, estimate.change + estimate.half_width, self._kind.band
        between = f"between {_signed(low)} and {_signed(high)}"
        if -band < low and high < band:
            self._decide("no-difference", f"The change is {between}: too small to matter.")
        elif low > 0 or high < 0:
            worse = (low > 0) == (self.metric.better == "lower")
            self._decide(*(("worse", "It is worse") if worse else ("better", "It is better")))
            self._reason += f": the change is {between}."
        elif over and estimate.is_within(band):
            self._decide(
                "no-difference", f"The change is smaller than {_percent(band):.0f} % either way, if there is one."
            )
        elif over:
            self._decide("inconclusive", f"The change is {between}: chance alone can make that.")
        else:
            self._reason = f"So far the change is {between}: chance alone can make that."

    def _decide(self, verdict: CanaryVerdict, reason: str) -> None:
        self._verdict, self._reason = verdict, reason

    def _estimated(self, alpha: float) -> _Estimate:
        before, after = self._level("before"), self._level("after")
        assert before is not None
        assert after is not None
        variance, blocks = 0.0, 0
        if self._has_turns:
            sides = [_resampled(slices, self._kind.percentile) for slices in self._slices.values()]
            variance, blocks = sum(each[0] for each in sides), sum(each[1] for each in sides)
        variance = max(variance + self._assumed_drift(), self._seen_drift())
        freedom = max(1, (blocks or sum(map(len, self._slices.values()))) - 2)
        change, deviation = math.log(max(after, 1e-9) / max(before, 1e-9)), math.sqrt(variance)
        return _Estimate(change, deviation, freedom, critical(alpha, freedom) * deviation)

    def _assumed_drift(self) -> float:
        """The variance that a computer's drift from turn to turn adds, at least; twice the drift while a side has but
        one turn, so that nothing is seen of it. Turns count by their length (Kish's effective number)."""
        shares = []
        for side, slices in self._slices.items():
            lengths = Counter(each.turn for each in slices).values() if self._has_turns else [1] * len(slices)
            shares.append(sum(each**2 for each in lengths) / max(1, len(self._slices[side])) ** 2)
        blind = max(shares) > _ONE_TURN
        return (self._kind.turn_deviation * (2 if blind else 1)) ** 2 * sum(shares)

    def _seen_drift(self) -> float:
        """The variance of the change by how far turns of the same side differ; 0 where each side has but one."""
        levels: dict[Side, list[float]] = {"before": [], "after": []}
        if not self._has_turns:
            levels = {side: [math.log(max(each.amount, 1e-9)) for each in it] for side, it in self._slices.items()}
        for turn in self._turns if self._has_turns else ():
            level = self._level_of(turn.wakeups, turn.amount, turn.seconds)
            if level:
                levels[turn.side].append(math.log(level))
        if min(map(len, levels.values())) < 2:
            return 0.0
        freedom = sum(len(each) - 1 for each in levels.values())
        squares = sum((value - statistics.fmean(each)) ** 2 for each in levels.values() for value in each)
        return squares / freedom * sum(1 / len(each) for each in levels.values())

    def _look_for_clearly_worse(self) -> None:
        """Whether the candidate is a few times worse, unit by unit, within about a second.

        The slices of the turn that runs are put together to units that hold enough; a unit is bad when it is twice
        as bad as the whole baseline. Under equal sides the bad ones are spread over both by chance (Fisher's exact
        test, one-sided); a unit, not a slice, because neighbours are alike. A candidate that lets hardly anybody run
        leaves few wake-ups to count: so brief units of a few are looked at as well, and one is bad when the median of
        its waits is twice the whole metric of the baseline.
        """
        before, after = self._level("before"), self._level("after")
        if not self._has_turns or not before or after is None:
            return
        if self._turns[-1].side != "after" or self._worse_by(before, after) < _FAST_POOLED_RATIO:
            return
        for few in (False, True) if self._kind.percentile is not None else (False,):
            counts = []
            for side, turn in (("before", None), ("after", len(self._turns))):
                units = self._units(side, turn, before, few=few)  # type: ignore[arg-type]
                counts.append((sum(self._worse_by(before, each) >= _FAST_RATIO for each in units), len(units)))
            (bad_before, all_before), (bad_after, all_after) = counts
            if fisher(bad_after, all_after, bad_before, all_before) <= _FAST_ALPHA:
                times = self._worse_by(before, after)
                how = f"at least {_FAST_RATIO:g} times as bad as before in {bad_after} of {all_after} moments"
                self._decide("worse", f"It is clearly worse: {times:.1f} times as bad so far, {how}.")
                return

    def _worse_by(self, before: float, after: float) -> float:
        ratio = after / before if self.metric.better == "lower" else before / max(after, before * 1e-3)
        return min(ratio, 1000.0)

    def _units(self, side: Side, turn: int | None, baseline: float, *, few: bool) -> list[float]:
        """The metric's value in each unit of a side, or of one turn of it; with ``few``, medians of few wake-ups."""
        values: list[float] = []
        for _, slices in itertools.groupby(
            (each for each in self._slices[side] if turn in (None, each.turn)), key=lambda each: each.turn
        ):
            pooled: Histogram = ()
            amount, seconds, count = 0.0, 0.0, 0
            for each in slices:
                pooled, amount, seconds, count = (
                    added(pooled, each.wakeups),
                    amount + each.amount,
                    seconds + each.seconds,
                    count + 1,
                )
                by_wakeups = self._kind.percentile is not None
                held, wanted = (baseline * seconds, _FAST_WORK)
                if by_wakeups:
                    held, wanted = sum(pooled), _FEW_WAKE_UPS if few else _FAST_WAKE_UPS
                if count < _FAST_SLICES or held < wanted:
                    continue
                level = percentile_us(pooled, 50) if few else self._level_of(pooled, amount, seconds)
                values.append(level or 0.0)
                pooled, amount, seconds, count = (), 0.0, 0.0, 0
        return values


class Change(Struct, frozen=True):
    """A lasting change of a series."""

    since: int
    """Index of the value that it began with, about."""
    ratio: float
    """The level since, over the level before."""


def lasting_change(
    values: Sequence[float],
    *,
    better: Literal["lower", "higher"] = "lower",
    past: int = 60,
    least_ratio: float = 1.5,
    threshold: float = 12.0,
) -> Change | None:
    """Whether a metric got worse for good: the newest ``values`` against the first ``past`` of them.

    Meant for values a second apart, oldest first; needs half of ``past`` more than ``past``. A one-sided cumulative
    sum (Page, Continuous inspection schemes, Biometrika 41, 1954) of the logarithms' distance from the past's median,
    in units of its spread (median absolute deviation), less one unit each time. A single value counts for four units
    at most, so that no outlier trips it alone; since the values of neighbouring seconds are alike, ``threshold`` (in
    units) is far above the textbook's 4 or 5. ``least_ratio``: a smaller change of the median does not count.
    """
    logs = [math.log(each) * (1 if better == "lower" else -1) for each in values if each > 0]
    reference, recent = logs[:past], logs[past:]
    if len(reference) < past or not recent:
        return None
    middle = statistics.median(reference)
    spread = max(1.4826 * statistics.median(abs(each - middle) for each in reference), 0.05)
    total, since = 0.0, 0
    for index, each in enumerate(recent):
        if total == 0.0:
            since = index
        total = max(0.0, total + min((each - middle) / spread, 4.0) - 1.0)
    change = statistics.median(recent[since:]) - middle
    if total <= threshold or change < math.log(least_ratio):
        return None
    return Change(past + since, math.exp(change if better == "lower" else -change))


def fisher(bad_after: int, all_after: int, bad_before: int, all_before: int) -> float:
    """The chance that at least ``bad_after`` of the bad units fall after, when it is all the same where they fall.

    Fisher's exact test, one-sided: the tail of the hypergeometric distribution.
    """
    bad, total = bad_after + bad_before, all_after + all_before
    ways = math.comb(total, bad)
    return sum(
        math.comb(all_after, some) * math.comb(all_before, bad - some) / ways
        for some in range(bad_after, min(bad, all_after) + 1)
    )


@functools.lru_cache(maxsize=512)
def critical(alpha: float, freedom: int) -> float:
    """Student's t that chance passes, up or down, with probability ``alpha``; ``freedom`` in degrees, from 1."""
    low, high = 0.0, 1.0
    while _within(high, freedom) < 1 - alpha and high < 1e6:
        high *= 2
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if _within(middle, freedom) < 1 - alpha else (low, middle)
    return high


def _within(t: float, freedom: int) -> float:
    """The probability between -t and t; Abramowitz and Stegun, Handbook of Mathematical Functions, 26.7.3-4."""
    angle = math.atan(t / math.sqrt(freedom))
    sine, cosine = math.sin(angle), math.cos(angle)
    odd = freedom % 2
    term = cosine if odd else 1.0
    total = term if freedom > 1 else 0.0
    for step in range(2 + odd, freedom, 2):
        term *= cosine * cosine * (step - 1) / step
        total += term
    return 2 / math.pi * (angle + sine * total) if odd else sine * total


def _resampled(slices: Sequence[_Slice], percentile: float | None) -> tuple[float, int]:
    """The variance of the logarithm of a side's level, and how many blocks it rests on.

    The circular block bootstrap (Politis and Romano, A circular block-resampling procedure for stationary data, 1992):
    blocks of slices that follow each other are drawn with replacement, so that what is alike stays together. With k
    blocks the variance comes out (k - 1) / k too small, and by about correlation time / block length for what is alike
    across a block's ends (Künsch 1989, for the mean); both are put right.
    """
    import numpy as np

    if percentile is None:
        table = np.array([(each.amount, each.seconds) for each in slices])
        stray = table[:, 0] - table[:, 0].sum() / table[:, 1].sum() * table[:, 1]
    else:
        slots = max(len(each.wakeups) for each in slices)
        table = np.array([each.wakeups + (0,) * (slots - len(each.wakeups)) for each in slices], dtype=float)
        level = _percentiles(table.sum(axis=0, keepdims=True), percentile)
        longer = table[:, _bounds_us()[:slots] >= level].sum(axis=1)
        stray = longer - longer.sum() / table.sum() * table.sum(axis=1)
    time = _correlation_time(stray)
    block = int(max(_SHORTEST_BLOCK, min(math.ceil(2 * time), len(slices) // 5)))
    blocks = math.ceil(len(slices) / block)
    starts = np.random.default_rng(1).integers(0, len(slices), (_REPLICATES, blocks))
    sums = np.concatenate([np.zeros((1, table.shape[1])), table, table[:block]]).cumsum(axis=0)
    drawn = (sums[starts + block] - sums[starts]).sum(axis=1)
    levels = (drawn[:, 0] + 0.5) / drawn[:, 1] if percentile is None else _percentiles(drawn, percentile)
    logs = np.log(np.maximum(levels, 1e-3))
    return float(logs.var()) * (1 + time / block) * blocks / max(1, blocks - 1), blocks


def _correlation_time(stray: _Floats) -> float:
    """How many slices say as much as one independent one (the integrated autocorrelation time), at least 1."""
    centred = stray - stray.mean()
    power = float(centred @ centred)
    time = 1.0
    for lag in range(1, len(centred) // 4):
        correlation = float(centred[lag:] @ centred[:-lag]) / power if power else 0.0
        if correlation <= 0:
            break
        time += 2 * correlation
    return time


def _percentiles(counts: _Floats, percent: float) -> _Floats:
    """``percentile_us`` of each row."""
    import numpy as np

    bounds = _bounds_us()
    sums = counts.cumsum(axis=1)
    wanted = sums[:, -1] * percent / 100
    slot = np.minimum((sums < wanted[:, None]).sum(axis=1), counts.shape[1] - 1)
    rows = np.arange(len(counts))
    within = counts[rows, slot]
    share = np.where(within > 0, (wanted - sums[rows, slot] + within) / np.maximum(within, 1e-12), 0.0)
    found: Any = bounds[slot] + (bounds[slot + 1] - bounds[slot]) * share
    return found  # type: ignore[no-any-return]


@functools.cache
def _bounds_us() -> _Floats:
    import numpy as np

    return np.array([lower_bound_ns(slot) / 1000 for slot in range(SLOTS + 1)])


def _difference(before: Histogram, after: Histogram) -> Histogram | None:
    """What was counted between; None when the counting began anew."""
    counts = tuple(now - then for then, now in itertools.zip_longest(before, after, fillvalue=0))
    return None if min(counts, default=0) < 0 else trimmed(counts)


def _woken(before: Sample, after: Sample, *, focus: bool) -> int:
    counts = [sum(each.focus_wakeups if focus else each.wakeups) for each in (before, after)]
    return max(0, counts[1] - counts[0])


def _runs(sample: Sample) -> tuple[str, str, int]:
    return sample.scheduler.sched_ext, sample.scheduler.name, sample.scheduler.enable_seq


def _percent(change: float) -> float:
    return 100 * (math.exp(min(change, 20.0)) - 1)


def _signed(change: float) -> str:
    percent = _percent(change)
    return f"{'+' if percent > 0 else '−'}{abs(percent):.0f} %" if abs(percent) >= 0.5 else "0 %"
