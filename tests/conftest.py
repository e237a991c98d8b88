"""What several areas of tests share: a real lab, and the kernels that it is tried on."""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import hypothesis
import psutil
import pytest

from schedtui.backend.lab import LabMachine
from schedtui.backend.microvm.kernels import fetch_kernel
from schedtui.backend.model import Event, Frame

OLDEST, DEFAULT, NEWEST = "6.16", "6.18", "7.3"
SOURCES = Path(__file__).parent / "bpf"

TRIALS_AT_MOST = 5
"""Of what is kept unless it is worse: noise may be measured as a policy's fault."""

# How long an example takes depends on what else the computer does, and is no property of the program.
hypothesis.settings.register_profile("any computer", deadline=None)
hypothesis.settings.load_profile("any computer")

# A job that a shell started in the background ignores Ctrl-C, and so would every program that a test starts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def quiet(_stage: str, _seconds: float) -> None:
    """A progress that nobody watches."""


def until(condition: Callable[[], bool], limit_s: float = 60) -> bool:
    """Whether something becomes true before the limit; for what another process does, on a computer that is busy."""
    deadline = time.monotonic() + limit_s
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.02)
    return condition()


def runs(pid: int) -> bool:
    """Whether a process of this number runs; one that has ended and waits for its parent does not."""
    try:
        return psutil.Process(pid).status() not in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD)
    except psutil.NoSuchProcess:
        return False


def running_children(name: str, pid: int) -> list[psutil.Process]:
    """Children of a process, of any depth, with ``name`` in theirs, that run; zombies and those just gone do not."""
    found = []
    for each in psutil.Process(pid).children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            if name in each.name() and each.status() != psutil.STATUS_ZOMBIE:
                found.append(each)
    return found


def wait_for_event(frames: Iterator[Frame], text: str, frames_at_most: int = 60) -> Event:
    """The first event of the stream whose text holds ``text``."""
    seen = []
    for frame, _ in zip(frames, range(frames_at_most), strict=False):
        for event in frame.events:
            seen.append(event.text)
            if text in event.text:
                return event
    raise AssertionError(f"no event with “{text}” among {seen}")


def kernel_image(series: str) -> Path:
    """A kernel of this series from the cache, fetched when it is not there yet."""
    return fetch_kernel(series, quiet).image


@pytest.fixture
def lab() -> Iterator[LabMachine]:
    """A fresh guest with the default kernel and two CPUs."""
    machine = LabMachine(kernel=kernel_image(DEFAULT), cpus=2)
    machine.open(quiet)
    yield machine
    machine.close()


_IN_THE_MATRIX = (pytest.mark.soak, pytest.mark.matrix)


@pytest.fixture(
    params=[DEFAULT, pytest.param(OLDEST, marks=_IN_THE_MATRIX), pytest.param(NEWEST, marks=_IN_THE_MATRIX)]
)
def each_kernel(request: pytest.FixtureRequest) -> Iterator[LabMachine]:
    """A fresh guest on the default kernel; in the matrix on the oldest and on the newest that work, too."""
    machine = LabMachine(kernel=kernel_image(request.param), cpus=2)
    machine.open(quiet)
    yield machine
    machine.close()
