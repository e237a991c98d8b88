"""Whoever can write every file of a user's gains nothing: the installed helper neither runs nor opens one of them."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from schedtui.backend.errors import KernelUnsuitable, SchedtuiError
from schedtui.backend.helper import jobs, protocol
from schedtui.backend.helper.client import HelperClient, connect
from schedtui.backend.setup.state import answers
from schedtui.backend.setup.targets import UNITS, Targets
from tests.conftest import until
from tests.setup.places import PEOPLE, fresh_root, installed, needs_root
from tests.setup.tampered import TamperedHome

TAKEN: Any = {"capture_output": True, "text": True, "timeout": 60}
pytestmark = [needs_root, pytest.mark.slow]


@pytest.fixture(scope="module")
def there() -> Iterator[Targets]:
    """A computer with the helper."""
    with fresh_root() as made:
        installed(made)
        yield made


@pytest.fixture
def home(there: Targets, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TamperedHome]:
    """An account that was taken over; watched from the test's start on."""
    with fresh_root() as place:
        made = TamperedHome(place.root)
        made.begin_to_watch()
        yield made
        made.close()


def started_as(targets: Targets, unit: str) -> list[str]:
    """What the installed unit starts, for a computer whose root is that folder."""
    text = (targets.units / unit).read_text()
    found = re.search(r"^ExecStart=(.*)$", text, re.MULTILINE)
    assert found
    python, *rest = found[1].split()
    return [python, *(str(targets.under(each)) if each.startswith("/") else each for each in rest)]


@pytest.fixture
def helper(there: Targets, home: TamperedHome) -> Iterator[subprocess.Popen[bytes]]:
    """The helper as its unit starts it, but with all that the taken-over account could set around it."""
    command = [*started_as(there, UNITS[1]), "--root", str(there.root)]
    with subprocess.Popen(command, env=home.environment, cwd=home.cwd, stdin=subprocess.DEVNULL) as process:
        assert until(lambda: answers(there.socket), 60)
        yield process
        process.kill()


def client_of_the_user(targets: Targets) -> HelperClient:
    """Connected as the user whom setup allowed."""
    os.seteuid(PEOPLE)
    try:
        return connect(targets.socket)
    finally:
        os.seteuid(0)


def test_the_traps_work(home: TamperedHome) -> None:
    """Else the other tests would say nothing: a Python that is not isolated runs into them."""
    environment = {**home.environment, "PYTHONINSPECT": ""}
    del environment["PYTHONHOME"]
    subprocess.run(["/usr/bin/python3", "-c", "import json"], env=environment, cwd=home.cwd, check=False)
    assert "path-sitecustomize" in home.sprung
    assert "path/sitecustomize.py" in home.opened()
    subprocess.run(["clang"], env=home.environment, executable=str(home.home / "bin" / "clang"), check=True)
    assert "clang" in home.sprung


def test_a_helper_amid_tampered_files_opens_none_of_them(
    there: Targets, home: TamperedHome, helper: subprocess.Popen[bytes]
) -> None:
    client = client_of_the_user(there)
    try:
        client.call(protocol.Hello(protocol.VERSION, time.time_ns()), 30)
        status = client.call(protocol.GetStatus(), 30).status
        assert status
        assert 4242 not in status.allowed
        assert next(iter(client.frames(0.1)))
        memory = jobs.sealed(b"no object at all")
        with pytest.raises(SchedtuiError):
            client.call(protocol.Load("harm", sealed=True), 60, fds=[memory])
        os.close(memory)
    finally:
        client.close()
    helper.send_signal(signal.SIGTERM)
    helper.wait(30)
    assert (home.sprung, home.opened()) == (set(), set())


def test_what_it_verifies_with_opens_none_of_them_either(
    there: Targets, home: TamperedHome, helper: subprocess.Popen[bytes]
) -> None:
    client = client_of_the_user(there)
    try:
        client.call(protocol.Hello(protocol.VERSION, time.time_ns()), 30)
        memory = jobs.sealed(b"no object at all")
        with contextlib.suppress(KernelUnsuitable):  # where setup found no kernel that the verifier could boot
            report = client.call(protocol.Prove(name="harm"), 120, fds=[memory]).report
            assert report is not None
            assert report.verdict == "fail"
        os.close(memory)
    finally:
        client.close()
    assert (home.sprung, home.opened()) == (set(), set())


def test_the_verifier_as_its_unit_starts_it_opens_none_of_them(there: Targets, home: TamperedHome) -> None:
    near, far = socket.socketpair()
    owner = there.verify.stat()
    with near, far:
        done = subprocess.Popen(
            started_as(there, UNITS[3]),
            stdin=far,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env=home.environment,
            cwd=home.cwd,
            user=owner.st_uid,
            group=owner.st_gid,
            extra_groups=[],
        )
        far.close()
        near.sendall(b"nonsense\n")
        answer = near.recv(1 << 16)
        done.wait(60)
        assert done.stderr
        done.stderr.close()
    assert b"failure" in answer
    assert (home.sprung, home.opened()) == (set(), set())


@pytest.mark.parametrize(
    "name",
    ["launch.py", "lib/schedtui/backend/helper/daemon.py", "lib", "."],
    ids=["launcher", "module", "library", "copy"],
)
def test_a_copy_that_somebody_else_could_change_is_not_started(there: Targets, name: str) -> None:
    path = there.current.resolve() / name
    os.chown(path, PEOPLE, PEOPLE)
    try:
        done = subprocess.run([*started_as(there, UNITS[1]), "--help"], **TAKEN)
    finally:
        os.chown(path, 0, 0)
    assert done.returncode == 78
    assert f"belongs to user {PEOPLE}" in done.stderr


def test_a_link_named_current_that_leads_elsewhere_is_not_followed_to_what_a_user_can_write(
    there: Targets, home: TamperedHome
) -> None:
    theirs = home.home / "copy"
    theirs.mkdir()
    (theirs / "launch.py").write_bytes((there.current / "launch.py").read_bytes())
    (theirs / "state").write_text("/var/lib/schedtui")
    os.chown(theirs, PEOPLE, PEOPLE)
    done = subprocess.run([started_as(there, UNITS[1])[0], "-ISB", theirs / "launch.py", "helper"], **TAKEN)
    assert done.returncode == 78


def test_an_interpreter_that_a_user_can_change_is_not_used(there: Targets, home: TamperedHome) -> None:
    theirs = home.home / "bin" / "interpreter"
    theirs.symlink_to(Path(sys.executable).resolve())
    command = [str(theirs), *started_as(there, UNITS[1])[1:]]
    done = subprocess.run(command, **TAKEN)
    assert done.returncode == 78
    assert "not started" in done.stderr


@pytest.mark.parametrize("flags", ["-I", "-SB", "-IS"])
def test_without_the_units_flags_nothing_is_started(there: Targets, flags: str) -> None:
    python, _, *rest = started_as(there, UNITS[1])
    done = subprocess.run([python, flags, *rest], **TAKEN)
    assert done.returncode == 78
    assert "-ISB" in done.stderr
