"""Breaking a policy at random is caught: the surest slips always, and of a random sample a good part."""

from __future__ import annotations

import pytest

from tests.corpus.mutations import (
    NO_POLICY,
    Mutant,
    built_in,
    judge_on_a_kernel,
    judge_statically,
    mutants,
    sample,
    slips,
)

LEAST_CAUGHT = 0.2
"""Of a random sample, without a kernel. Most of the rest needs one, or does little harm."""


def the_one(policy: str, kind: str, text: str) -> Mutant:
    """The first mutant of a policy of that kind whose line holds the text."""
    return next(each for each in mutants(policy) if each.kind == kind and text in each.before)


def test_a_mutant_differs_from_its_policy_in_one_line() -> None:
    mutant = the_one("fair", "remove a kick", "kick_idle_cpu")
    original = next(each for each in mutants("fair") if each.line == mutant.line).before
    assert mutant.source().splitlines()[mutant.line - 1].strip() == ";"
    assert original.strip() == "kick_idle_cpu(p);"


def test_every_policy_can_be_broken_in_many_ways() -> None:
    for name in built_in():
        assert len({each.kind for each in mutants(name)}) >= 6, name


def test_the_same_seed_draws_the_same_sample() -> None:
    assert sample(20, 5) == sample(20, 5) != sample(20, 6)


def test_a_policy_without_its_dispatch_is_caught_without_a_kernel() -> None:
    caught_in_the_bytecode("drop a callback", "dispatch", "dsq-never-drained")


@pytest.mark.soak
@pytest.mark.parametrize(
    ("kind", "text", "rule"),
    [
        ("delete a statement", "scx_bpf_dsq_insert_vtime(p, SHARED_DSQ", "lost-task"),
        ("queue not created", "create_dsq", "dsq-not-created"),
        ("another queue", "move_to_local", "dsq-never-drained"),
        ("slice without end", "scx_bpf_dsq_insert_vtime(p, SHARED_DSQ", "endless-slice"),
    ],
)
def test_the_surest_slips_are_caught_without_a_kernel(kind: str, text: str, rule: str) -> None:
    caught_in_the_bytecode(kind, text, rule)


def caught_in_the_bytecode(kind: str, text: str, rule: str) -> None:
    """Break ``fair`` so, and expect the rule."""
    judged = judge_statically(the_one("fair", kind, text))
    assert judged.fate == "bytecode", judged
    assert rule in judged.rules


def test_a_statistic_that_is_not_counted_is_no_fault() -> None:
    assert judge_statically(the_one("fifo", "delete a statement", "count(nr_queued)")).fate == "passed"


@pytest.mark.lab
def test_a_slip_that_only_a_kernel_shows_is_caught_there() -> None:
    mutant = the_one("fair", "negate a condition", "wants_to_go_on(prev) && fair_comes_first(prev)")
    judged = judge_on_a_kernel(mutant)
    assert judged.fate in ("bytecode", "kernel"), judged


@pytest.mark.soak
def test_of_a_random_sample_the_static_stages_catch_their_part() -> None:
    judged = [each for each in map(judge_statically, sample(120, 2)) if each.fate not in NO_POLICY]
    caught = [each for each in judged if not each.fate.startswith("passed")]
    assert len(caught) >= LEAST_CAUGHT * len(judged), [each.mutant for each in judged if each not in caught]


@pytest.mark.soak
def test_each_explanation_of_a_slip_is_of_a_change_that_is_still_possible() -> None:
    possible = [mutant for name in built_in() for mutant in mutants(name)]
    assert [each for each in slips() if not any(each.fits(mutant) for mutant in possible)] == []
