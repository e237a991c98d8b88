"""The circuit breaker's eye: what got worse for good is told from a spike, from noise and from what got better."""

from __future__ import annotations

import numpy as np
import pytest

from schedtui.backend.canary import lasting_change


def series(*levels: tuple[int, float], seed: int = 1) -> list[float]:
    """So many values around each level, each alike the one before."""
    random, values, stray = np.random.default_rng(seed), [], 0.0
    for count, level in levels:
        for _ in range(count):
            stray = 0.5 * stray + random.normal(0, 0.2)
            values.append(float(level * np.exp(stray)))
    return values


def test_a_level_that_doubled_for_good_is_found_with_its_beginning() -> None:
    found = lasting_change(series((80, 100.0), (40, 200.0)))
    assert found is not None
    assert 75 <= found.since <= 90
    assert found.ratio == pytest.approx(2, rel=0.3)


def test_less_work_for_good_is_found_where_more_is_better() -> None:
    values = series((80, 100.0), (40, 50.0))
    found = lasting_change(values, better="higher")
    assert found is not None
    assert found.ratio == pytest.approx(0.5, rel=0.3)
    assert lasting_change(values) is None


@pytest.mark.parametrize(
    "levels",
    [
        ((120, 100.0),),
        ((80, 100.0), (1, 1e6), (39, 100.0)),
        ((119, 100.0), (1, 1e6)),
        ((80, 100.0), (40, 50.0)),
        ((80, 100.0), (40, 115.0)),
    ],
    ids=["as-ever", "a-spike", "a-spike-at-the-end", "better", "a-little"],
)
def test_what_is_no_lasting_harm_is_left_alone(levels: tuple[tuple[int, float], ...]) -> None:
    assert lasting_change(series(*levels)) is None


def test_a_change_that_is_sure_and_small_is_left_alone() -> None:
    assert lasting_change([100.0, 104.0] * 40 + [125.0] * 40) is None
    assert lasting_change([100.0, 104.0] * 40 + [170.0] * 40) is not None


@pytest.mark.slow
def test_an_hour_of_the_same_hardly_ever_trips_it() -> None:
    """Two minutes each time, as a breaker looks at them."""
    assert sum(lasting_change(series((120, 100.0), seed=seed)) is not None for seed in range(200)) <= 2


def test_a_short_past_says_nothing_and_zeros_are_no_values() -> None:
    assert lasting_change(series((30, 100.0), (20, 900.0))) is None
    assert lasting_change([]) is None
    assert lasting_change([0.0] * 200) is None


def test_a_past_that_never_moved_is_no_reason_to_see_ghosts() -> None:
    assert lasting_change([100.0] * 80 + [102.0] * 40) is None
