"""On a real kernel too, the same scheduler on both sides is hardly ever called better or worse than itself."""

from __future__ import annotations

import pytest

from tests.canary.lab import equal_canaries


@pytest.mark.lab
@pytest.mark.soak
def test_of_two_hundred_canaries_of_equal_sides_at_most_five_per_cent_are_decided() -> None:
    for name, found in equal_canaries(200).items():
        assert found["better"] + found["worse"] <= 10, (name, found)
