"""What a connected program may spend, and what it is told when that is over."""

from __future__ import annotations

import pytest

from schedtui.mcp.allowance import LIMITS, Allowance, Limit, OverAllowance


class Clock:
    """A clock that is set."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_a_refusal_says_when_it_may_again_and_then_it_may() -> None:
    clock = Clock()
    allowance = Allowance({**LIMITS, "calls": Limit("calls", 2, 60)}, clock=clock)
    allowance.call("status", 0)
    clock.now += 10
    allowance.call("status", 0)
    with pytest.raises(OverAllowance) as over:
        allowance.call("status", 0)
    assert "2 calls" in over.value.message and "in a minute" in over.value.message
    assert over.value.remedy.startswith("Again in 50 s")
    clock.now += 50.1
    allowance.call("status", 0)


def test_what_is_refused_costs_nothing() -> None:
    allowance = Allowance({**LIMITS, "verifications": Limit("verifications", 1, 3600)})
    allowance.call("verify", 0)
    left = allowance.left()
    for _ in range(3):
        with pytest.raises(OverAllowance, match="in an hour"):
            allowance.call("create_and_verify_scheduler", 100)
    assert allowance.left() == left
    allowance.call("canary", 0)
    assert allowance.left()["trials"] == LIMITS["trials"].most - 1


def test_bytes_are_counted_over_all_calls() -> None:
    allowance = Allowance({**LIMITS, "bytes": Limit("bytes of arguments", 1000, 60)})
    allowance.call("write_policy", 600)
    with pytest.raises(OverAllowance, match="1000 bytes of arguments"):
        allowance.call("write_policy", 600)
    allowance.call("write_policy", 400)


def test_the_time_that_verifying_took_is_spent_and_looking_is_free() -> None:
    clock = Clock()
    allowance = Allowance({**LIMITS, "seconds": Limit("seconds", 30, 3600)}, clock=clock)
    allowance.took("processes", 100)
    allowance.call("verify", 0)
    allowance.took("verify", 31)
    with pytest.raises(OverAllowance):
        allowance.call("canary", 0)
    allowance.call("processes", 0)
    clock.now += 3601
    allowance.call("canary", 0)
