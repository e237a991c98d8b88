"""Policies that helped are chosen more often, those that did not hardly ever, and nothing is given up for good."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from schedtui.agent.bandit import Arm, Belief, beliefs, choose, gain, likely_of_rank
from schedtui.backend.store import NoteRow, Outcome

ARMS = [Arm(policy=name, likely=likely_of_rank(rank)) for rank, name in enumerate(["first", "second", "third"])]


def outcome(policy: str, change: float, **more: object) -> Outcome:
    """The metric went to ``change`` times what it was."""
    given: dict[str, object] = {"how": "tested", "machine": "host", **more}
    return Outcome(policy=policy, metric="wakeup_p99_us", before=1000, after=1000 * change, **given)  # type: ignore[arg-type]


def chosen(held: list[Belief], times: int = 400) -> Counter[str]:
    chance = random.Random(1)
    return Counter(choose(held, chance).arm.policy for _ in range(times))


def test_before_anything_was_measured_the_first_of_the_preset_is_taken() -> None:
    assert chosen(beliefs(ARMS)) == {"first": 400}


def test_what_was_tested_better_is_chosen_before_the_first_of_the_preset() -> None:
    held = beliefs(ARMS, [outcome("second", 0.4)] * 5 + [outcome("first", 1.1)] * 5)
    assert chosen(held)["second"] > 300


def test_it_comes_to_take_the_better_policy_and_still_tries_the_others_now_and_then() -> None:
    chance = random.Random(7)
    truth = {"first": 0.95, "second": 0.6, "third": 1.3}
    seen = [outcome("first", 1.0)]
    taken = []
    for _ in range(300):
        policy = choose(beliefs(ARMS, seen), chance).arm.policy
        taken.append(policy)
        seen.insert(0, outcome(policy, truth[policy] * chance.lognormvariate(0, 0.2)))
    last = Counter(taken[100:])
    assert last["second"] > 150
    assert 0 < last["first"] + last["third"] < 50


def test_a_test_counts_fully_an_observation_a_quarter() -> None:
    tested, seen = (beliefs(ARMS[:1], [outcome("first", 0.5, how=how)])[0] for how in ("tested", "observed"))
    assert tested.tests == 1
    assert seen.tests == 0.25
    assert tested.mean > seen.mean > beliefs(ARMS[:1])[0].mean


def test_what_was_measured_elsewhere_or_with_other_settings_counts_half() -> None:
    lab = beliefs(ARMS[:1], [outcome("first", 0.5, machine="lab")])[0]
    other = beliefs(ARMS[:1], [outcome("first", 0.5, settings={"slice_us": 1})])[0]
    assert lab.tests == other.tests == 0.5
    assert beliefs(ARMS[:1], [outcome("first", 0.5, machine="lab")], machine="lab")[0].tests == 1


def test_a_failure_that_was_noted_counts_against_a_policy() -> None:
    noted = [NoteRow(policy="first", class_id="gaming", text="It was reverted.", kind="failure")] * 3
    before, after = beliefs(ARMS[:1])[0], beliefs(ARMS[:1], notes=noted)[0]
    assert after.mean < before.mean
    assert chosen(beliefs(ARMS[:2], notes=noted))["second"] > 200


def test_a_note_of_a_pattern_or_of_another_policy_changes_nothing() -> None:
    notes = [
        NoteRow(policy="first", class_id="gaming", text="It helped.", kind="pattern"),
        NoteRow(policy="other", class_id="gaming", text="It was reverted.", kind="failure"),
    ]
    assert beliefs(ARMS, [outcome("other", 0.1)], notes) == beliefs(ARMS)


def test_no_number_of_outcomes_makes_a_belief_certain() -> None:
    (held,) = beliefs(ARMS[:1], [outcome("first", 0.3)] * 1000)
    assert held.tests == pytest.approx(24)
    assert held.mean < 1


@pytest.mark.parametrize(
    ("before", "after", "better", "went"),
    [
        (100, 100, "lower", 0.5),
        (100, 50, "lower", 1),
        (100, 10, "lower", 1),
        (100, 200, "lower", 0),
        (100, 200, "higher", 1),
        (100, 71, "higher", 0.25),
        (0, 5, "lower", None),
    ],
)
def test_a_change_is_judged_by_its_ratio_and_direction(
    before: float, after: float, better: str, went: float | None
) -> None:
    found = gain(Outcome(policy="p", metric="m_us", before=before, after=after, better=better))  # type: ignore[arg-type]
    assert found == (None if went is None else pytest.approx(went, abs=0.01))


@pytest.mark.parametrize("likely", [-1.0, 0.0, 1.0, 7.0])
def test_an_absurd_likelihood_still_makes_a_belief(likely: float) -> None:
    (held,) = beliefs([Arm(policy="first", likely=likely)], [outcome("first", 0.5)])
    assert 0 < held.mean < 1
    assert choose([held], random.Random(1)).arm.policy == "first"
