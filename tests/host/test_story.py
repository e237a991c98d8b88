"""A desktop from its first start to panic: the helper as root, schedtui as uid 1000, a real kernel, the real verifier.

The tests of this file are one story on one guest, in order.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest

from schedtui.backend.microvm.image import PYTHON
from tests.conftest import DEFAULT, kernel_image, until
from tests.host.desktop import HELPER_SOCKET, DesktopGuest
from tests.host.inside import LIBRARY, OTHER
from tests.schedulers import built

pytestmark = [pytest.mark.lab, pytest.mark.soak, pytest.mark.matrix, pytest.mark.timeout(900)]

LOADS = f"""
import sys, time
sys.path.insert(0, "{LIBRARY}")
from schedtui.backend.workloads import Workloads
loads = Workloads.prepare()
for kind in sys.argv[1:]:
    loads.start(kind)
time.sleep(3600)
"""
"""A game and what runs beside it: programs of the user's own."""
LONG_TURNS = ("--set", "slice_us=100000", "--set", "max_round_ms=2000")
"""Allowed, and bad for whoever waits."""


@pytest.fixture(scope="module")
def desktop() -> Iterator[DesktopGuest]:
    with DesktopGuest() as guest:
        yield guest


def start_the_helper(desktop: DesktopGuest) -> None:
    """Unless an earlier test did."""
    if not desktop.exists(HELPER_SOCKET):
        desktop.start_verifier()
        desktop.start_helper("--allow", "1000")


def test_without_the_helper_it_watches_and_says_what_to_do(desktop: DesktopGuest) -> None:
    watching = desktop.schedtui("status").good()
    assert "EEVDF" in watching.output
    refused = desktop.schedtui("apply", "fair", "--for", "1s")
    assert refused.code == 1
    assert "sudo schedtui setup" in refused.errors
    assert desktop.ops == ""


def test_with_the_helper_it_can_load_and_another_user_cannot(desktop: DesktopGuest) -> None:
    start_the_helper(desktop)
    status = desktop.schedtui("status", "--json").good().data
    assert (status["scheduler"], status["can_load"]) == ("EEVDF", True)
    assert "helper     ready" in desktop.schedtui("status").good().output
    refused = desktop.schedtui("apply", "fair", "--for", "1s", uid=OTHER)
    assert refused.code == 1
    assert "User 1001 may not change this computer's scheduler" in refused.errors
    assert desktop.ops == ""


def test_a_command_runs_a_proven_policy_and_gives_the_computer_back(desktop: DesktopGuest) -> None:
    done = desktop.schedtui("apply", "fair", "--for", "1s", "--json").good()
    assert (done.data["scheduler"], done.data["after"]) == ("fair", "EEVDF")
    assert desktop.state == "disabled"


def test_what_is_worse_is_taken_back_by_itself(desktop: DesktopGuest) -> None:
    start_the_helper(desktop)
    loads = desktop.start([str(PYTHON), "-I", "-c", LOADS, "frames", "hogs"])
    for _ in range(3):
        tried = desktop.schedtui("try", "fifo", *LONG_TURNS, "--yes", "--json", timeout_s=400).data
        if tried["outcome"] and tried["outcome"]["verdict"] != "inconclusive":  # of a computer that is too busy
            break
    assert tried["state"] == "reverted", tried
    assert tried["outcome"]["verdict"] == "worse" or "has waited" in tried["reason"], tried
    assert (tried["after"], desktop.ops) == ("EEVDF", "")
    loads.signal(signal.SIGKILL, group=True)


def test_what_a_person_keeps_outlives_the_program_that_loaded_it(desktop: DesktopGuest) -> None:
    desktop.keep("fair")
    assert desktop.stays("fair")
    status = desktop.schedtui("status", "--json").good().data
    assert status["scheduler"] == desktop.ops == "fair"


def test_an_external_scheduler_is_tried_and_kept_as_well(desktop: DesktopGuest) -> None:
    release = desktop.run_as_root(["uname", "-r"]).good().output.strip()
    desktop.write(f"/boot/config-{release}", kernel_image(DEFAULT).with_name("config").read_bytes())
    desktop.install(built("scx_bpfland"))
    desktop.keep("scx_bpfland")
    name = desktop.ops
    assert name.startswith("bpfland")
    assert desktop.stays(name)
    assert desktop.schedtui("status", "--json").good().data["scheduler"] == name


def test_panic_from_another_shell_ends_it_and_nothing_is_loaded_until_a_person_allows_it(desktop: DesktopGuest) -> None:
    panicked = desktop.run_as_user(["schedtui", "panic"]).good()
    assert "EEVDF runs" in panicked.output
    assert until(lambda: desktop.state == "disabled")
    refused = desktop.schedtui("apply", "fair", "--for", "1s")
    assert refused.code == 1
    assert "schedtui panic --release" in refused.errors
    assert "schedtui panic --release" in desktop.schedtui("status").good().output
    assert desktop.ops == ""
    desktop.schedtui("panic", "--release").good()
    assert desktop.schedtui("apply", "fair", "--for", "1s", "--json").good().data["scheduler"] == "fair"


def test_history_and_audit_tell_what_happened(desktop: DesktopGuest) -> None:
    assert "fair" in desktop.schedtui("history").good().output
    audit = desktop.schedtui("audit", "--verify").good()
    assert audit.output
