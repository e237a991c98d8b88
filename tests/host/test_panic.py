"""Panic on a desktop: from any shell, with a latch that outlives the helper; and kills at any moment of a trial.

The tests of this file are one story on one guest, in order.
"""

from __future__ import annotations

import random
import re
import signal
import time
from collections.abc import Iterator
from typing import Any

import pytest

from schedtui.backend.bpf.compiler import compile_bpf
from schedtui.backend.microvm.image import PYTHON
from schedtui.paths import shipped
from tests.conftest import until
from tests.host.desktop import HELPER_SOCKET, DesktopGuest, Job
from tests.host.inside import LIBRARY

pytestmark = [pytest.mark.lab, pytest.mark.soak, pytest.mark.timeout(1800)]

ANOTHER = f"""
import sys, time
sys.path.insert(0, "{LIBRARY}")
from schedtui.backend.bpf.loader import load_scheduler
obj = open("/tmp/fair.o", "rb").read()
while True:
    it = load_scheduler(obj, {{}}, may_attach=lambda: True)
    while it.exit_info() is None:
        time.sleep(0.1)
    it.unload()
    if sys.argv[1] == "once":
        break
"""
"""Another program of root's that loads a scheduler, and with “again” loads it again whenever it ends."""
RECOVERED = """
from schedtui.backend.host import HostMachine
from schedtui.desk import Desk
machine = HostMachine()
desk = Desk(machine, machine.open(lambda _text, _seconds: None), kernel=None)
told = [each.reason for each in desk.deployer.recover()]
states = [each.state for each in desk.store.deployments()]
machine.close()
[told, states]
"""
VICTIMS = ("helper", "program", "scheduler")
LONGEST_S = 25.0


@pytest.fixture(scope="module")
def desktop() -> Iterator[DesktopGuest]:
    with DesktopGuest() as guest:
        guest.write("/tmp/fair.o", compile_bpf(shipped("library") / "fair" / "fair.bpf.c"))
        guest.start_verifier()
        yield guest


def another(desktop: DesktopGuest, how: str) -> Job:
    job = desktop.start([str(PYTHON), "-I", "-c", ANOTHER, how], uid=0)
    assert until(lambda: desktop.ops == "fair", 120), job.text
    return job


def test_without_the_helper_and_without_root_the_one_command_is_said(desktop: DesktopGuest) -> None:
    other = another(desktop, "once")
    refused = desktop.schedtui("panic")
    assert refused.code == 1
    assert "fair still runs. No helper answers, and only root" in refused.errors
    assert "echo S | sudo tee /proc/sysrq-trigger" in refused.errors
    as_root = desktop.schedtui("panic", uid=0).good()
    assert "EEVDF runs" in as_root.output and "EEVDF runs 5 s later" in as_root.errors
    assert desktop.ops == ""
    other.wait(20)


def test_the_latch_outlives_the_helper_and_a_person_releases_it(desktop: DesktopGuest) -> None:
    desktop.start_helper("--allow", "1000", limit_s=120)
    assert "schedtui panic --release" in desktop.schedtui("panic").good().output
    desktop.kill_helper()
    desktop.start_helper("--allow", "1000", limit_s=120)
    refused = desktop.schedtui("apply", "fair", "--for", "1s")
    assert refused.code == 1 and "panic" in refused.errors.lower()
    desktop.schedtui("panic", "--release").good()
    assert desktop.schedtui("apply", "fair", "--for", "1s", "--json", timeout_s=300).good().data["scheduler"] == "fair"


def test_what_is_loaded_again_after_a_panic_is_taken_out_again_and_told(desktop: DesktopGuest) -> None:
    other = another(desktop, "again")
    panicked = desktop.schedtui("panic")
    other.signal(signal.SIGKILL)
    assert re.search("Something loaded (fair|a scheduler) again", panicked.errors), panicked.errors
    assert until(lambda: desktop.ops == "", 10)
    desktop.schedtui("panic", "--release").good()


def kill_at(desktop: DesktopGuest, moment_s: float, victim: str) -> None:
    """Kill one of those that take part in a trial, so long after its start."""
    if HELPER_SOCKET.encode() not in desktop.read("/proc/net/unix"):  # no test before this one has started it
        desktop.start_helper("--allow", "1000", limit_s=120)
    trying = desktop.start(["try", "fair", "--yes"], loaded=True)
    time.sleep(moment_s)
    match victim:
        case "helper":
            desktop.kill_helper()
            assert until(lambda: desktop.state == "disabled", 10)
            desktop.start_helper("--allow", "1000", limit_s=120)
        case "program":
            trying.signal(signal.SIGKILL)
        case _:
            desktop.run_as_root(["sh", "-c", "echo S > /proc/sysrq-trigger"])
    ended = trying.wait(240)
    assert "Traceback" not in ended.output + ended.errors, ended.errors
    told, states = _recovered(desktop)
    assert set(states) <= {"reverted", "kept"}, states
    assert len(told) <= 1
    if victim == "program":
        assert told or ended.code == 0 or not states or "was ended" not in states[0], (told, states)
    kept = states[:1] == ["kept"]
    assert until(lambda: desktop.ops == ("fair" if kept else ""), 10), (told, states, desktop.ops)
    desktop.schedtui("apply", "default").good()
    assert desktop.ops == ""


def _recovered(desktop: DesktopGuest) -> tuple[list[str], list[str]]:
    found: Any = desktop.user_python(RECOVERED)
    return found[0], found[1]


@pytest.mark.parametrize("seed", range(6))
def test_killed_at_a_random_moment_nothing_stays_that_was_not_kept(desktop: DesktopGuest, seed: int) -> None:
    kill_at(desktop, random.Random(seed).uniform(0, LONGEST_S), VICTIMS[seed % 3])


@pytest.mark.parametrize("seed", range(100, 300))
def test_killed_at_many_random_moments_nothing_stays_that_was_not_kept(desktop: DesktopGuest, seed: int) -> None:
    kill_at(desktop, random.Random(seed).uniform(0, LONGEST_S), VICTIMS[seed % 3])
