"""Who holds the scheduler takes turns: a sign of life that comes while it is loaded or goes is no end of a lease."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

import pytest

from schedtui.backend.errors import LeaseEnded
from schedtui.backend.helper import control
from schedtui.backend.helper.control import SchedulerControl
from schedtui.backend.model import EventKind, ExitInfo

STALL = ExitInfo(scheduler="interactive", kind="stall", reason="runnable task stall", thrown_out=True)


class Loaded:
    """A scheduler that runs in memory, and ends when it is told, as slowly as it is told."""

    def __init__(self) -> None:
        self.ended: ExitInfo | None = None
        self.leaves = threading.Event()
        self.leaves.set()
        self.is_leaving = threading.Event()

    def statistics(self) -> dict[str, int]:
        return {}

    def exit_info(self) -> ExitInfo | None:
        return self.ended

    def follows(self, _name: str, _enable_seq: int) -> bool:
        return False

    def output(self) -> str:
        return ""

    def unload(self, *, at_once: bool = False) -> ExitInfo | None:
        self.is_leaving.set()
        assert self.leaves.wait(10)
        return self.ended


class Held:
    """A control that holds such schedulers."""

    def __init__(self) -> None:
        self.control = SchedulerControl(lambda _event: None)
        self.loaded = Loaded()
        self.begins = threading.Event()
        self.begins.set()
        self.is_loading = threading.Event()

    def load(self, *_given: object, **_more: object) -> Loaded:
        """In place of the kernel."""
        self.is_loading.set()
        assert self.begins.wait(10)
        self.loaded = Loaded()
        return self.loaded


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> Iterator[Held]:
    """After a turn of the kernel's own scheduler: ours was loaded, and was unloaded."""
    it = Held()
    monkeypatch.setattr(control, "load_scheduler", it.load)
    it.control.load("interactive", b"", {}, 0, 5.0)
    it.control.unload()
    it.is_loading.clear()
    yield it
    it.begins.set()
    it.loaded.leaves.set()
    it.control.close()


def beside(work: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


def test_a_renewal_while_it_is_loaded_again_is_no_end(held: Held) -> None:
    held.begins.clear()
    thread = beside(lambda: held.control.load("interactive", b"", {}, 0, 5.0))
    assert held.is_loading.wait(10)
    held.control.renew()
    held.begins.set()
    thread.join(10)
    held.control.renew()


def test_what_the_kernel_threw_out_is_not_said_to_have_been_unloaded(held: Held) -> None:
    held.control.load("interactive", b"", {}, 0, 5.0)
    held.loaded.leaves.clear()
    held.loaded.ended = STALL
    thread = beside(held.control.notice_exit)
    assert held.loaded.is_leaving.wait(10)
    held.control.renew()
    held.loaded.leaves.set()
    thread.join(10)
    with pytest.raises(LeaseEnded, match="The kernel threw interactive out"):
        held.control.renew()


@pytest.mark.slow
def test_a_lease_that_was_renewed_before_the_watch_had_its_turn_goes_on(
    held: Held, monkeypatch: pytest.MonkeyPatch
) -> None:
    held.control.load("interactive", b"", {}, 0, 0.2)
    time.sleep(0.3)
    take_away = held.control._take_away

    def interrupted(kind: EventKind, reason: Callable[[], str]) -> None:
        held.control.renew(60.0)
        take_away(kind, reason)

    monkeypatch.setattr(held.control, "_take_away", interrupted)
    held.control.watch_lease()
    held.control.renew()


@pytest.mark.slow
def test_without_a_sign_of_life_it_goes(held: Held) -> None:
    held.control.load("interactive", b"", {}, 0, 0.2)
    time.sleep(0.3)
    held.control.watch_lease()
    with pytest.raises(LeaseEnded, match="taken away: whoever watched it was silent"):
        held.control.renew()


def test_time_in_which_the_helper_did_not_run_either_is_not_silence(
    held: Held, monkeypatch: pytest.MonkeyPatch
) -> None:
    held.control.load("interactive", b"", {}, 0, 1.0)
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now + 60.0)
    held.control.watch_lease()
    held.control.renew()
    monkeypatch.setattr(time, "monotonic", lambda: now + 60.4)
    held.control.watch_lease()
    monkeypatch.setattr(time, "monotonic", lambda: now + 60.8)
    held.control.watch_lease()
    held.control.renew()


def test_a_watcher_that_is_late_for_as_long_as_the_lease_loses_it(held: Held, monkeypatch: pytest.MonkeyPatch) -> None:
    held.control.load("interactive", b"", {}, 0, 1.0)
    now = time.monotonic()
    for late_s in (0.3, 0.6, 0.9, 1.2):
        monkeypatch.setattr(time, "monotonic", lambda late_s=late_s: now + late_s)
        held.control.watch_lease()
    with pytest.raises(LeaseEnded, match="silent for 1"):
        held.control.renew()
