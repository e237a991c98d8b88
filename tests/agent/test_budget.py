"""The budget: no limit is passed, whatever a call costs; waiting for a person is free."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schedtui.agent.budget import DEAREST, FREE, Budget, Limits, Price
from schedtui.agent.mind import OverBudget, Usage


class Clock:
    """Time that a test moves."""

    now = 100.0

    def __call__(self) -> float:
        """Seconds."""
        return self.now


def test_what_was_spent_adds_up() -> None:
    budget = Budget()
    budget.spend(Usage(calls=1, input_tokens=100, output_tokens=10, dollars=0.01, seconds=2))
    budget.spend(Usage(calls=2, input_tokens=50, output_tokens=5, dollars=0.02, seconds=1))
    assert (budget.usage.calls, budget.usage.input_tokens, budget.usage.output_tokens) == (3, 150, 15)
    assert budget.usage.dollars == pytest.approx(0.03)


@settings(max_examples=60)
@given(
    output_per_input=st.floats(1.0, 10.0),
    dollars_per_token=st.floats(1e-8, 3e-5),
    prompts=st.lists(st.tuples(st.integers(10, 40_000), st.floats(0.0, 1.0)), min_size=1, max_size=60),
    priced=st.booleans(),
)
def test_no_limit_of_money_or_tokens_is_ever_passed(
    output_per_input: float, dollars_per_token: float, prompts: list[tuple[int, float]], priced: bool
) -> None:
    price = Price(input_dollars=dollars_per_token, output_dollars=dollars_per_token * output_per_input)
    if not priced and (price.input_dollars > DEAREST.input_dollars or price.output_dollars > DEAREST.output_dollars):
        return
    limits = Limits(dollars=0.25, tokens=60_000)
    budget = Budget(limits, price=price if priced else None)
    for characters, share in prompts:
        try:
            allowance = budget.check(characters, 8000)
        except OverBudget:
            break
        read, written = characters // 3, math.floor(allowance.output_tokens * share)
        cost = read * price.input_dollars + written * price.output_dollars
        budget.spend(Usage(calls=1, input_tokens=read, output_tokens=written, dollars=cost), characters)
    assert (budget.usage.dollars or 0.0) <= limits.dollars + 1e-9
    assert budget.usage.input_tokens + budget.usage.output_tokens <= limits.tokens
    assert budget.usage.calls <= limits.calls


def test_before_the_price_is_known_the_dearest_is_reckoned_with() -> None:
    allowance = Budget().check(3000, 8000)
    assert allowance.output_tokens * 75e-6 <= 0.25
    assert Budget(price=FREE).check(3000, 8000).output_tokens == 8000


def test_a_prompt_that_alone_passes_a_limit_is_not_sent() -> None:
    with pytest.raises(OverBudget, match="pass the limit of 1000"):
        Budget(Limits(tokens=1000)).check(6000)
    with pytest.raises(OverBudget, match=r"\$0\.01"):
        Budget(Limits(dollars=0.01), price=Price(input_dollars=1e-5, output_dollars=1e-5)).check(6000)


def test_the_number_of_calls_is_a_limit() -> None:
    budget = Budget(Limits(calls=2))
    for _ in range(2):
        budget.check()
        budget.spend(Usage(calls=1))
    with pytest.raises(OverBudget, match="2 calls"):
        budget.check()


def test_an_unknown_price_leaves_the_tokens_as_the_limit() -> None:
    budget = Budget(Limits(tokens=50_000))
    budget.spend(Usage(calls=1, input_tokens=30_000, output_tokens=10_000, dollars=None))
    assert budget.unpriced
    assert budget.check(3000).output_tokens == 8000
    with pytest.raises(OverBudget, match="tokens"):
        budget.check(30_000)


def test_the_time_left_is_what_an_answer_may_take() -> None:
    clock = Clock()
    budget = Budget(Limits(seconds=60), clock=clock)
    clock.now += 40
    assert budget.check().seconds == pytest.approx(20)
    clock.now += 19
    with pytest.raises(OverBudget, match="60 s"):
        budget.check()


def test_waiting_for_a_person_does_not_count() -> None:
    clock = Clock()
    budget = Budget(Limits(seconds=60), clock=clock)
    with budget.waiting():
        clock.now += 3600
        assert budget.seconds == 0
    clock.now += 10
    assert budget.seconds_left == pytest.approx(50)


def test_a_person_can_let_it_go_on() -> None:
    clock = Clock()
    budget = Budget(clock=clock)
    clock.now += 400
    with pytest.raises(OverBudget):
        budget.check()
    budget.grant(Limits())
    assert budget.check().seconds == pytest.approx(200)
    assert budget.limits.dollars == pytest.approx(0.5)


@pytest.mark.parametrize("dollars", [-1.0, math.nan, math.inf], ids=["negative", "nan", "infinite"])
def test_what_cannot_be_is_not_believed(dollars: float) -> None:
    budget = Budget()
    budget.spend(Usage(calls=-5, input_tokens=-100, output_tokens=-1, dollars=dollars, seconds=math.nan))
    assert budget.usage == Usage(calls=1, dollars=None)


def test_prompts_that_turn_out_to_have_more_tokens_are_reckoned_so() -> None:
    budget = Budget(Limits(tokens=20_000))
    budget.spend(Usage(calls=1, input_tokens=5000, output_tokens=10, dollars=0.0), 5000)
    with pytest.raises(OverBudget):
        budget.check(15_000)
