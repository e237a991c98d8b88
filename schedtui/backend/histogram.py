"""Log-linear latency histograms: four slots an octave, the layout that the BPF probe counts in.

Slot s < 4 counts exactly s ns. Above, with e = s // 4 + 1 and m = s % 4, slot s counts
(4 + m) * 2**(e - 2) <= ns < (5 + m) * 2**(e - 2): each slot is at most a quarter wide, so that a
percentile read from it is within 25 % even without interpolation. The last slot also takes what is
longer (from 7.5 s).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

SLOTS = 128

Histogram = tuple[int, ...]
"""Counts by slot; trailing zeros may be left out."""


def slot_of(ns: int) -> int:
    """The slot that counts a duration of ``ns`` nanoseconds."""
    if ns < 4:
        return max(ns, 0)
    exponent = ns.bit_length() - 1
    return min(SLOTS - 1, 4 * (exponent - 1) + ((ns >> (exponent - 2)) & 3))


def lower_bound_ns(slot: int) -> int:
    """The shortest duration that ``slot`` counts; for ``slot + 1`` it is the slot's upper bound."""
    if slot < 4:
        return slot
    return (4 + slot % 4) << (slot // 4 - 1)


def trimmed(slots: Sequence[int]) -> Histogram:
    """The counts without trailing zeros."""
    end = len(slots)
    while end and not slots[end - 1]:
        end -= 1
    return tuple(slots[:end])


def added(left: Sequence[int], right: Sequence[int]) -> Histogram:
    """The sum of two histograms."""
    if len(left) < len(right):
        left, right = right, left
    return tuple(a + b for a, b in zip(left, right, strict=False)) + tuple(left[len(right) :])


def percentile_us(
    slots: Sequence[int], percent: float, bound_ns: Callable[[int], int] = lower_bound_ns
) -> float | None:
    """The ``percent``-th percentile in microseconds, interpolated inside its slot; None when empty.

    ``bound_ns`` says where a slot begins, for a histogram of another layout.
    """
    total = sum(slots)
    if not total:
        return None
    wanted = total * percent / 100
    seen = 0
    for slot, count in enumerate(slots):
        if count and seen + count >= wanted:
            low, high = bound_ns(slot), bound_ns(slot + 1)
            return (low + (high - low) * (wanted - seen) / count) / 1000
        seen += count
    return bound_ns(len(slots)) / 1000


def maximum_us(slots: Sequence[int]) -> float | None:
    """Upper bound of the longest duration counted, in microseconds; None when empty."""
    used = trimmed(slots)
    return lower_bound_ns(len(used)) / 1000 if used else None
