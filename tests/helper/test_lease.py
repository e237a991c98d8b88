"""A trial's lease is kept short beside a watcher that is slow, and ends when the watcher is silent for too long."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from schedtui.backend import lease
from schedtui.backend.errors import HelperGone
from schedtui.backend.lease import LeaseKeeper
from tests.conftest import until


class Renewed:
    """What the helper hears."""

    def __init__(self) -> None:
        self.times = 0
        self.fails = threading.Event()

    def __call__(self) -> None:
        self.times += 1
        if self.fails.is_set():
            raise HelperGone("It went away.")


@pytest.fixture
def renewed() -> Renewed:
    return Renewed()


@pytest.fixture
def keeper(renewed: Renewed, monkeypatch: pytest.MonkeyPatch) -> Iterator[LeaseKeeper]:
    monkeypatch.setattr(lease, "RENEW_S", 0.002)
    it = LeaseKeeper(renewed)
    yield it
    it.end()


def keepers() -> list[threading.Thread]:
    return [each for each in threading.enumerate() if each.name == "lease"]


def test_it_is_renewed_beside_a_watcher_that_says_nothing_for_a_while(keeper: LeaseKeeper, renewed: Renewed) -> None:
    keeper.begin(60.0)
    assert until(lambda: renewed.times > 10)
    keeper.seen()
    before = renewed.times
    assert until(lambda: renewed.times > before + 10)


def test_a_watcher_that_is_silent_for_too_long_is_not_renewed_for(keeper: LeaseKeeper, renewed: Renewed) -> None:
    keeper.begin(0.01)
    assert until(lambda: renewed.times > 10), "while it is loaded nothing is expected of the watcher"
    keeper.seen()
    assert until(lambda: not keepers())


def test_what_is_kept_or_gone_is_not_renewed_for(keeper: LeaseKeeper) -> None:
    keeper.begin(60.0)
    keeper.begin(60.0)
    assert until(lambda: len(keepers()) == 1), "one for each trial"
    keeper.end()
    keeper.end()
    assert until(lambda: not keepers())


def test_a_renewal_that_fails_is_the_watchers_to_hear_of(keeper: LeaseKeeper, renewed: Renewed) -> None:
    renewed.fails.set()
    keeper.begin(60.0)
    assert until(lambda: renewed.times > 10)
    assert len(keepers()) == 1
