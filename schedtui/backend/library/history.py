"""What policies did on this computer before: read from the store, summed up, in words.

Measuring and keeping outcomes is left to others.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from schedtui.backend.store import Outcome, Store

_WORTH = {"tested": 1.0, "observed": 0.25}
"""An observation may owe everything to what else happened meanwhile."""
_NAMES = {
    "wakeup_p99_us": "wake-up p99",
    "wakeup_p50_us": "wake-up p50",
    "makespan_s": "time to the end",
    "work_per_s": "work done",
    "command_s": "time of the command",
}
_DOUBT = 1.0
"""As if one more, neutral test had been made: one result alone is no certainty."""


def outcomes(policy: str, store: Store | None = None) -> list[Outcome]:
    """Those of one policy, newest first. Raises BadFile when the store cannot be read."""
    return (store or Store()).outcomes(policy)


def standing(outcomes: Iterable[Outcome]) -> float:
    """From -1 (made everything much worse here) over 0 (nothing known) to 1 (much better).

    The mean of the gains, each as the logarithm of the ratio before : after, cut at a factor of two; an observation
    counts a quarter of a test, a test in the lab half of one on the computer itself. A test whose interval holds "no
    change" gained nothing, and counts as one that says so.
    """
    total, weight = 0.0, _DOUBT
    for each in outcomes:
        if each.before <= 0 or each.after <= 0:
            continue
        gain = math.log2(each.before / each.after) * (1 if each.better == "lower" else -1)
        worth = _WORTH[each.how] * (0.5 if each.machine == "lab" else 1.0)
        total += worth * (0.0 if _chance(each) else max(-1.0, min(1.0, gain)))
        weight += worth
    return total / weight


def in_words(outcome: Outcome) -> str:
    """``wake-up p99 −18 % (±4) here, compared under the same load``."""
    sign = "+" if outcome.change_percent > 0 else "−"
    change = f"{_NAMES.get(outcome.metric, outcome.metric)} {sign}{abs(outcome.change_percent):.0f} %"
    if outcome.low_percent is not None and outcome.high_percent is not None:
        change += f" (±{(outcome.high_percent - outcome.low_percent) / 2:.0f})"
    where = "in the lab" if outcome.machine == "lab" else "here"
    how = "compared under the same load" if outcome.how == "tested" else "as seen, not compared under the same load"
    return f"{change} {where}, {how}{'; chance alone can make that' if _chance(outcome) else ''}"


def _chance(outcome: Outcome) -> bool:
    """Whether the interval holds "no change"."""
    low, high = outcome.low_percent, outcome.high_percent
    return low is not None and high is not None and low <= 0 <= high
