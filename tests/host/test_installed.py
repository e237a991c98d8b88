"""``sudo schedtui setup`` on Debian: real sudo, systemd with the units as they are written, polkit and a password.

The tests of this file are one story on one guest, in order. What verifies is the real service, but outside, behind the
socket where systemd would listen: QEMU in QEMU does not come up in time.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from schedtui.backend.bpf.compiler import compile_bpf
from schedtui.paths import shipped
from tests.conftest import until
from tests.host.debian import COMMAND, PASSWORD, PYTHON, VENV, DebianGuest
from tests.host.inside import USER
from tests.host.screen import GuestScreen
from tests.schedulers import built

pytestmark = [pytest.mark.lab, pytest.mark.soak, pytest.mark.timeout(3600)]

LOAD_MINE = """
import sys
from pathlib import Path
from schedtui.backend.errors import SchedtuiError
from schedtui.backend.host import HostMachine
obj = Path("/tmp/mine.o").read_bytes()
machine = HostMachine()
machine.open(lambda _stage, _seconds: None)
print("ready", flush=True)
sys.stdin.readline()
try:
    machine.certify("mine", obj, {}, lambda _stage, _seconds: None, generated=True)
    print("runs:", machine.load("mine", obj, {}, lease_s=30).name)
    machine.unload()
except SchedtuiError as error:
    print("refused:", error.message)
machine.close()
"""
"""Loads a scheduler that is not of the library, as a model or a person writes one."""
SOURCE_OF_LATENCY = """
from schedtui.backend.host import HostMachine
machine = HostMachine()
machine.open(lambda _stage, _seconds: None)
frames = machine.frames(0.5)
next(frames)
print(next(frames).latency.source)
machine.close()
"""
WATCH = "schedtui-watch.service"
OWN_MANAGER = {"XDG_RUNTIME_DIR": f"/run/user/{USER}"}
"""Where systemctl --user finds the service manager of the user's own."""
SERVICE = b"""\
[Unit]
Description=Start scx_scheduler
[Service]
EnvironmentFile=/etc/default/scx
ExecStart=/bin/bash -c 'exec ${SCX_SCHEDULER_OVERRIDE:-$SCX_SCHEDULER} ${SCX_FLAGS_OVERRIDE:-$SCX_FLAGS}'
[Install]
WantedBy=multi-user.target
"""
"""As distributions have it."""


@pytest.fixture(scope="module")
def debian(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DebianGuest]:
    mine = tmp_path_factory.mktemp("mine") / "mine.bpf.c"
    fair = (shipped("library") / "fair" / "fair.bpf.c").read_text()
    mine.write_text(fair.replace('"fair"', '"mine"'))
    with DebianGuest() as guest:
        guest.write("/tmp/mine.o", compile_bpf(mine))
        yield guest


def put_scheduler(debian: DebianGuest, name: str) -> None:
    debian.write(f"/usr/bin/{name}", built(name).read_bytes(), mode=0o755)


def unit_is(debian: DebianGuest, unit: str) -> str:
    return debian.run_as_root(["systemctl", "is-active", unit]).output.strip()


def test_before_setup_the_doctor_names_the_command(debian: DebianGuest) -> None:
    assert f"sudo {VENV}/bin/schedtui setup" in debian.schedtui("doctor").output
    refused = debian.schedtui("apply", "fair", "--for", "1s")
    assert refused.code == 1 and f"sudo {VENV}/bin/schedtui setup" in refused.errors
    assert not debian.exists("/usr/local/lib/schedtui")


def test_setup_takes_the_password_and_says_what_it_changed_and_what_is_missing(debian: DebianGuest) -> None:
    typed = debian.sudo("setup", limit_s=900)
    assert "schedtui-verify: a user that verifies schedulers" in typed.text, typed.text
    assert "units: starting to listen" in typed.text
    assert "QEMU is not installed" in typed.text, typed.text
    for unit in ("schedtui-helper.socket", "schedtui-verify.socket", "schedtui-helper.path"):
        assert unit_is(debian, unit) == "active"
    assert "schedtui" not in debian.run_as_root(["systemctl", "--failed", "--no-legend", "--plain"]).output


def test_the_first_client_has_systemd_start_the_helper_with_what_the_unit_leaves_it(debian: DebianGuest) -> None:
    assert "helper     ready" in debian.schedtui("status").good().output
    main = debian.run_as_root(["systemctl", "show", "-P", "MainPID", "schedtui-helper"]).output.strip()
    status = debian.read(f"/proc/{main}/status").decode()
    assert re.search(r"^NoNewPrivs:\s+1$", status, re.MULTILINE)
    assert re.search(r"^Seccomp:\s+2$", status, re.MULTILINE)
    assert debian.python(SOURCE_OF_LATENCY).good().output.strip() == "wakeup-probe"
    assert debian.schedtui("apply", "fair", "--for", "1s", uid=1001).code != 0
    assert debian.ops == ""


def test_a_proven_policy_runs_and_panic_ends_it(debian: DebianGuest) -> None:
    debian.run_as_root(["systemctl", "stop", "schedtui-verify.socket"]).good()
    debian.start_verifier()
    assert "EEVDF runs again" in debian.schedtui("apply", "fair", "--for", "2s", timeout_s=300).good().output
    job = debian.start([COMMAND, "apply", "fair", "--for", "60s"])
    assert until(lambda: debian.ops == "fair", 60), job.errors
    assert "EEVDF" in debian.schedtui("panic").good().output
    assert until(lambda: debian.ops == "", 10)
    debian.schedtui("panic", "--release").good()
    job.wait(60)


def test_watch_as_a_unit_of_the_users_brings_back_what_was_kept(debian: DebianGuest) -> None:
    debian.keep("fair")
    assert debian.stays("fair")
    debian.run_as_root(["systemctl", "kill", "--signal=KILL", "schedtui-helper.service"]).good()
    assert until(lambda: debian.ops == "", 20)
    unit = debian.schedtui("watch", "--print-unit").good().output
    debian.write(f"/home/user/.config/systemd/user/{WATCH}", unit.encode(), uid=USER)
    debian.run_as_root(["loginctl", "enable-linger", "user"]).good()
    assert until(lambda: debian.exists(f"/run/user/{USER}/systemd/private"), 60)
    debian.run_as_user(["systemctl", "--user", "start", WATCH], env=OWN_MANAGER).good()
    assert until(lambda: debian.ops == "fair", 60), debian.schedtui("status").output
    debian.run_as_user(["systemctl", "--user", "stop", WATCH], env=OWN_MANAGER).good()
    assert debian.stays("fair")
    debian.schedtui("apply", "default").good()
    assert debian.ops == ""


def test_a_deep_dive_compiles_beside_the_helper(debian: DebianGuest) -> None:
    dive = debian.schedtui("probe", "runqlat", "--for", "2s", "--json", timeout_s=300).good().data
    assert dive["events"] > 0 and dive["histogram"], dive


def test_new_code_needs_a_person_whom_polkit_can_ask(debian: DebianGuest) -> None:
    refused = debian.run_as_user([PYTHON, "-c", LOAD_MINE], 300, given=b"\n").good().output
    assert "refused:" in refused and "no desktop can ask you" in refused
    job = debian.start([PYTHON, "-c", LOAD_MINE], terminal=(120, 40))
    assert job.shows("ready"), job.text
    agent = debian.start(["pkttyagent", "--process", str(job.pid)], terminal=(120, 40))
    assert not until(lambda: not agent.running, 3), agent.text  # it has come to be the one who asks
    job.press(b"\n")
    assert agent.shows("Authentication is required to run a CPU scheduler that a person or a model wrote"), agent.text
    assert agent.shows("Password:"), agent.text
    agent.press(f"{PASSWORD}\n".encode())
    assert job.shows("runs: mine"), job.text + agent.text
    assert until(lambda: debian.ops == "", 20)


@pytest.mark.parametrize("name", ["scx_bpfland", "scx_rusty", "scx_flash", "scx_p2dq"])
def test_external_schedulers_run_with_what_the_unit_leaves_them(debian: DebianGuest, name: str) -> None:
    put_scheduler(debian, name)
    assert "EEVDF runs again" in debian.schedtui("apply", name, "--for", "3s", timeout_s=600).good().output
    assert debian.ops == ""


def test_scx_service_is_named_taken_over_given_back_and_stopped_by_panic(debian: DebianGuest) -> None:
    put_scheduler(debian, "scx_rusty")
    debian.write("/etc/systemd/system/scx.service", SERVICE)
    debian.write("/etc/default/scx", b"SCX_SCHEDULER=scx_rusty\nSCX_FLAGS=''\n")
    debian.run_as_root(["systemctl", "daemon-reload"]).good()
    debian.run_as_root(["systemctl", "start", "scx.service"]).good()
    assert until(lambda: debian.ops.startswith("rusty"), 120)
    assert "started by scx.service" in debian.schedtui("owner").good().output
    debian.schedtui("owner", "take-over").good()
    assert until(lambda: debian.ops == "", 20)
    debian.schedtui("owner", "give-back").good()
    assert until(lambda: debian.ops.startswith("rusty"), 120)
    debian.schedtui("panic").good()
    assert until(lambda: debian.ops == "", 20)
    assert unit_is(debian, "scx.service") != "active"
    debian.schedtui("panic", "--release").good()


def test_what_starts_with_the_computer_is_shown_then_written_then_undone(debian: DebianGuest) -> None:
    put_scheduler(debian, "scx_bpfland")
    before = debian.read("/etc/default/scx")
    enabled = ["systemctl", "is-enabled", "scx.service"]
    assert "+SCX_SCHEDULER=scx_bpfland" in debian.schedtui("permanent", "scx_bpfland").good().output
    assert debian.read("/etc/default/scx") == before
    debian.schedtui("permanent", "scx_bpfland", "--yes").good()
    assert b"SCX_SCHEDULER=scx_bpfland" in debian.read("/etc/default/scx")
    assert debian.run_as_root(enabled).output.strip() == "enabled"
    debian.schedtui("permanent", "--undo", "--yes").good()
    assert debian.read("/etc/default/scx") == before
    assert debian.run_as_root(enabled).output.strip() == "disabled"


def test_remove_takes_all_of_it_away(debian: DebianGuest) -> None:
    done = debian.sudo("setup", "--remove").done
    assert done is not None and done.code == 0, done
    for path in ("/usr/local/lib/schedtui", "/etc/schedtui", "/var/lib/schedtui", "/run/schedtui", "/run/scx"):
        assert not debian.exists(path), path
    units = debian.run_as_root(["systemctl", "list-unit-files", "--plain", "--no-legend"]).output
    assert "schedtui" not in units and "scx.service" in units
    assert "schedtui" not in debian.read("/etc/passwd").decode()


def test_without_setup_the_terminal_program_hands_the_terminal_to_sudo_and_has_it_back(debian: DebianGuest) -> None:
    screen = GuestScreen(debian, 80, 24, program=COMMAND)
    assert screen.shows("this computer", "EEVDF", "F12 PANIC"), screen.text
    screen.press("p")
    assert screen.shows("Gaming", "Smooth desktop"), screen.text
    screen.press("H")
    assert screen.shows("schedtui starts its helper as root", "password for user:"), screen.text
    screen.press(*f"{PASSWORD}\r")
    assert screen.gone("schedtui starts its helper as root"), screen.text
    assert until(lambda: debian.schedtui("status", "--json").good().data["can_load"], 60), screen.text
    screen.press("escape")
    assert screen.shows("What happened"), screen.text
    screen.press("q")
    assert screen.job.wait(120).code == 0, screen.text
    assert until(lambda: not debian.exists("/run/schedtui-session"), 20)


def test_without_setup_a_session_brings_the_helper_and_takes_it_away_again(debian: DebianGuest) -> None:
    keeper = debian.start(["sudo", f"{VENV}/bin/schedtui", "setup", "--for-now"], terminal=(120, 40))
    assert keeper.shows("assword"), keeper.text
    keeper.press(f"{PASSWORD}\n".encode())
    assert until(lambda: debian.exists("/run/schedtui/helper.sock"), 120), keeper.text
    assert "helper     ready" in debian.schedtui("status").good().output
    keeper.press(b"\x03")
    keeper.wait(60)
    assert not debian.exists("/run/schedtui-session")
