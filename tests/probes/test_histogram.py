"""The log-linear histogram: its slots and what is read from them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from schedtui.backend.histogram import SLOTS, added, lower_bound_ns, maximum_us, percentile_us, slot_of, trimmed

durations = st.integers(0, lower_bound_ns(SLOTS) - 1)
histograms = st.lists(st.integers(0, 1000), max_size=SLOTS)


@given(durations)
def test_a_duration_lies_within_the_bounds_of_its_slot(ns: int) -> None:
    slot = slot_of(ns)
    assert lower_bound_ns(slot) <= ns < lower_bound_ns(slot + 1)


def test_slots_follow_each_other_without_gap_and_are_at_most_a_quarter_wide() -> None:
    for slot in range(4, SLOTS):
        low, high = lower_bound_ns(slot), lower_bound_ns(slot + 1)
        assert slot_of(high - 1) == slot
        assert high - low <= low / 4


@given(st.integers())
def test_any_number_has_a_slot(ns: int) -> None:
    assert 0 <= slot_of(ns) < SLOTS


@given(st.lists(durations, min_size=1, max_size=300), st.sampled_from([1, 50, 95, 99, 100]))
def test_a_percentile_is_within_a_quarter_of_the_exact_one(waits: list[int], percent: int) -> None:
    slots = [0] * SLOTS
    for ns in waits:
        slots[slot_of(ns)] += 1
    exact = sorted(waits)[max(0, -(-len(waits) * percent // 100) - 1)]
    read = percentile_us(slots, percent)
    assert read is not None
    assert lower_bound_ns(slot_of(exact)) <= read * 1000 * (1 + 1e-9)
    assert read * 1000 <= lower_bound_ns(slot_of(exact) + 1) * (1 + 1e-9)


@given(histograms, histograms)
def test_adding_keeps_every_count_in_its_slot(left: list[int], right: list[int]) -> None:
    total = added(left, right)
    assert sum(total) == sum(left) + sum(right)
    assert added(left, right) == added(right, left)
    assert percentile_us(trimmed(total), 99) == percentile_us(total, 99)


@given(histograms)
def test_no_percentile_passes_the_maximum(slots: list[int]) -> None:
    top, p99 = maximum_us(slots), percentile_us(slots, 99)
    assert (top is None) == (p99 is None) == (sum(slots) == 0)
    if top is not None and p99 is not None:
        assert p99 <= top
