"""Which of several policies to try, by what they did before for such work: Thompson sampling.

Each policy is an arm with a belief about how often it helps: a Beta distribution that begins with the order in the
preset and learns from outcomes. A choice draws from each belief and takes the best draw, so that what is little known
is tried now and then, and what was worse hardly ever. Which policies can be loaded at all, and what a machine's state
says for or against one, is given; measuring and keeping outcomes is left to others.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Sequence

from msgspec import Struct, field

from schedtui.backend.model import Setting
from schedtui.backend.store import NoteRow, Outcome

_FIRST = 0.75
"""How likely the first choice of a preset is to help, before anything was measured here."""
_PER_RANK = 0.85
"""What the second choice is worth beside the first, the third beside the second."""
_PRIOR_TESTS = 4.0
"""As many tests as the preset's order counts for."""
_MOST_TESTS = 24.0
"""A belief never rests on more: kernels and programs change, and a little doubt keeps it exploring."""
_WORTH = {"tested": 1.0, "observed": 0.25}
"""An observation may owe everything to what else happened meanwhile."""
_ELSEWHERE = 0.5
"""What was measured on another kind of machine (lab for host, host for lab), or with other settings, counts half."""
_FAILED = 1.0
"""A note of a failure (a revert, a policy that did not pass) counts as one test that went badly."""
_LEAST = 0.02


class Arm(Struct, frozen=True, kw_only=True):
    """A policy with settings, as it would be tried."""

    policy: str
    settings: dict[str, Setting] = field(default_factory=dict)
    reason: str = ""
    """Why it is among the choices."""
    likely: float = _FIRST
    """How likely it helps, before anything was measured here: from 0 to 1."""


class Belief(Struct, frozen=True, kw_only=True):
    """What is held of an arm: a Beta distribution with its counts of tests that went well and badly."""

    arm: Arm
    well: float
    badly: float
    tests: float = 0.0
    """How much of it was measured here, in tests; the rest is the preset's order."""

    @property
    def mean(self) -> float:
        """How likely the arm is to help."""
        return self.well / (self.well + self.badly)


def likely_of_rank(rank: int) -> float:
    """How likely the preset's choice of this rank (from 0) is to help, before anything was measured."""
    return _FIRST * _PER_RANK**rank


def gain(outcome: Outcome) -> float | None:
    """How well it went: 0.5 for no change, 1 for twice as good or better, 0 for half as good; None for no number."""
    if outcome.before <= 0 or outcome.after <= 0:
        return None
    ratio = math.log2(outcome.before / outcome.after) * (1 if outcome.better == "lower" else -1)
    return max(0.0, min(1.0, 0.5 + ratio / 2))


def beliefs(
    arms: Sequence[Arm], outcomes: Iterable[Outcome] = (), notes: Iterable[NoteRow] = (), *, machine: str = "host"
) -> list[Belief]:
    """One for each arm. ``outcomes`` and ``notes`` are of one workload class; those of other policies do nothing."""
    outcomes, notes = list(outcomes), list(notes)
    return [_belief(arm, outcomes, notes, machine) for arm in arms]


def choose(held: Sequence[Belief], chance: random.Random) -> Belief:
    """The arm to try. While nothing was measured of any, the likeliest; then the best of a draw from each belief.

    ``held`` must not be empty.
    """
    if not any(each.tests for each in held):
        return max(held, key=lambda each: each.mean)
    return max(held, key=lambda each: chance.betavariate(each.well, each.badly))


def _belief(arm: Arm, outcomes: Iterable[Outcome], notes: Iterable[NoteRow], machine: str) -> Belief:
    well = badly = 0.0
    for each in outcomes:
        went = gain(each)
        if each.policy != arm.policy or went is None:
            continue
        worth = _worth(each, arm, machine)
        well += worth * went
        badly += worth * (1 - went)
    badly += _FAILED * sum(each.policy == arm.policy and each.kind == "failure" for each in notes)
    shrink = min(1.0, _MOST_TESTS / (well + badly)) if well + badly else 1.0
    likely = min(max(arm.likely, _LEAST), 1 - _LEAST)
    return Belief(
        arm=arm,
        well=_PRIOR_TESTS * likely + shrink * well,
        badly=_PRIOR_TESTS * (1 - likely) + shrink * badly,
        tests=shrink * (well + badly),
    )


def _worth(outcome: Outcome, arm: Arm, machine: str) -> float:
    worth = _WORTH[outcome.how]
    worth *= 1.0 if outcome.machine == machine else _ELSEWHERE
    return worth * (1.0 if outcome.settings == arm.settings else _ELSEWHERE)
