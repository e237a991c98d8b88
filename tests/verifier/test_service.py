"""The verifying process, as the helper talks to it: one job, words, one report; and its end, however it comes."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from schedtui import paths
from schedtui.backend.bpf.compiler import compile_bpf
from schedtui.backend.helper import jobs
from schedtui.backend.helper.jobs import Job, Word
from schedtui.backend.microvm.kernels import listed_kernels
from schedtui.backend.model import Program
from tests.conftest import runs, until
from tests.schedulers import built

pytestmark = pytest.mark.slow

FAIR = paths.shipped("library") / "fair" / "fair.bpf.c"
QUICK = Job(version=jobs.VERSION, name="fair", settings={}, quick=True)


class Asked:
    """A verifying process, and our end of its socket."""

    def __init__(
        self, *options: str, user: str = "--as-root", env: dict[str, str] | None = None, within: tuple[str, ...] = ()
    ) -> None:
        self.link, theirs = socket.socketpair()
        self.link.settimeout(300)
        command = [sys.executable, "-m", "schedtui.backend.verifier.service", "--fd", str(theirs.fileno()), *options]
        with theirs:
            self.process = subprocess.Popen(
                [*within, *command, *filter(None, [user])], pass_fds=(theirs.fileno(),), env=env
            )
        self._lines = self.link.makefile("rb")

    def send(self, job: Job, obj: bytes) -> None:
        memory = jobs.sealed(obj)
        socket.send_fds(self.link, [jobs.encode(job)], [memory])
        os.close(memory)

    def words(self) -> Iterator[Word]:
        for line in self._lines:
            yield jobs.decode_word(line)

    def last(self) -> Word:
        *_, last = self.words()
        return last

    def failure(self) -> str:
        failure = self.last().failure
        assert failure is not None
        return f"{failure.kind}: {failure.message}"


@contextlib.contextmanager
def asked(
    *options: str, user: str = "--as-root", env: dict[str, str] | None = None, within: tuple[str, ...] = ()
) -> Iterator[Asked]:
    it = Asked(*options, user=user, env=env, within=within)
    try:
        yield it
    finally:
        it.link.close()
        it.process.kill()
        it.process.wait()


def own_cache() -> tuple[str, str]:
    """The snapshots of the other tests."""
    return "--cache", str(paths.cache_dir().parent)


def in_guests(process: int) -> list[int]:
    """The QEMUs of a process."""
    found = subprocess.run(["ps", "-eo", "pid=,ppid=,comm="], capture_output=True, text=True, check=True).stdout
    rows = [line.split() for line in found.splitlines()]
    return [int(pid) for pid, parent, name, *_ in rows if int(parent) == process and name.startswith("qemu")]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be refused for being root")
def test_it_does_not_run_as_root(tmp_path: Path) -> None:
    with asked("--cache", str(tmp_path), user="") as it:
        assert "does not run as root" in it.failure()
        assert it.process.wait(20) == 2


def test_without_a_socket_it_says_how_it_is_started() -> None:
    command = [sys.executable, "-m", "schedtui.backend.verifier.service"]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("schedtui-verify: ")
    assert "Traceback" not in done.stderr


def test_an_object_that_is_none_fails_and_needs_no_guest(tmp_path: Path) -> None:
    with asked("--cache", str(tmp_path), "--kernel", "/nonexistent") as it:
        it.send(QUICK, b"no object at all")
        report = it.last().report
        assert report is not None
        assert (report.verdict, report.kernel) == ("fail", None)
        assert report.findings[0].rule == "not-an-object"
        assert it.process.wait(20) == 0


def test_a_kernel_image_that_is_none_is_a_clear_failure(tmp_path: Path) -> None:
    (tmp_path / "vmlinuz").write_bytes(b"#!/bin/sh\n")
    with asked("--cache", str(tmp_path), "--kernel", str(tmp_path / "vmlinuz")) as it:
        it.send(QUICK, compile_bpf(FAIR))
        assert "is not a Linux kernel image" in it.failure()


def test_without_qemu_it_says_so(tmp_path: Path) -> None:
    with asked("--cache", str(tmp_path), "--kernel", "/nonexistent", env={"PATH": str(tmp_path)}) as it:
        it.send(QUICK, compile_bpf(FAIR))
        assert it.failure().startswith("missing-tool: QEMU")


@pytest.mark.parametrize("case", ["garbage", "no-object", "two-objects", "unsealed", "version", "two-jobs"])
def test_a_job_that_is_none_is_refused(tmp_path: Path, case: str) -> None:
    memory = jobs.sealed(b"an object")
    with asked("--cache", str(tmp_path)) as it:
        line, files = jobs.encode(QUICK), [memory]
        if case == "garbage":
            line = b"{}\n"
        elif case == "no-object":
            files = []
        elif case == "two-objects":
            files = [memory, memory]
        elif case == "unsealed":
            files = [os.memfd_create("object")]
            os.write(files[0], b"an object")
        elif case == "version":
            line = line.replace(b'"version":1', b'"version":99')
        else:
            line *= 2
        if files:
            socket.send_fds(it.link, [line], files)
        else:
            it.link.sendall(line)
        assert it.failure().startswith("bad-message")
        assert it.process.wait(20) == 2
    os.close(memory)


def test_a_job_without_end_is_not_read_to_it(tmp_path: Path) -> None:
    with asked("--cache", str(tmp_path)) as it:
        with contextlib.suppress(ConnectionError):
            while True:
                it.link.sendall(b"x" * 20_000)
        assert it.process.wait(20) in (2, 3)


def test_it_ends_when_whoever_asked_goes_before_asking(tmp_path: Path) -> None:
    with asked("--cache", str(tmp_path)) as it:
        it.link.shutdown(socket.SHUT_RDWR)
        assert it.process.wait(20) in (2, 3)


@pytest.mark.lab
def test_a_policy_passes_on_a_real_kernel(tmp_path: Path) -> None:
    obj = compile_bpf(FAIR)
    with asked(*own_cache(), "--kernel", str(listed_kernels()[0].image)) as it:
        it.send(QUICK, obj)
        *told, last = it.words()
        assert last.report is not None
        assert last.report.verdict == "pass"
        assert [each.name for each in last.report.stages] == ["object", "bytecode", "kernel"]
        assert last.report.kernel is not None
        assert any("stress" in each.progress for each in told)
        assert it.process.wait(20) == 0


@pytest.mark.lab
@pytest.mark.soak
@pytest.mark.matrix
@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd is not installed")
@pytest.mark.parametrize("policy", ["fair", "scx_bpfland"])
def test_from_the_first_boot_on_it_needs_no_more_than_its_unit_leaves_it(tmp_path: Path, policy: str) -> None:
    within = (sys.executable, "-m", "tests.verifier.confined")
    job, subject = QUICK, compile_bpf(FAIR)
    if policy == "scx_bpfland":
        subject = built(policy).read_bytes()
        digest = hashlib.sha256(subject).hexdigest()
        program = Program(name=policy, path=str(built(policy)), sha256=digest, goal="", arguments=())
        job = Job(version=jobs.VERSION, name=policy, settings={}, quick=True, program=program)
    kernel = listed_kernels()[0].image
    with asked("--cache", str(tmp_path), "--kernel", str(kernel), within=within) as it:
        it.send(job, subject)
        last = it.last()
        assert last.report is not None, last.failure
        assert last.report.verdict == "pass", last.report.findings
        assert last.report.kernel is not None


@pytest.mark.lab
def test_its_guest_ends_when_whoever_asked_goes(tmp_path: Path) -> None:
    with asked(*own_cache(), "--kernel", str(listed_kernels()[0].image)) as it:
        it.send(Job(version=jobs.VERSION, name="fair", settings={}, quick=False), compile_bpf(FAIR))
        for word in it.words():
            if "measuring" in word.progress:
                break
        (guest,) = in_guests(it.process.pid)
        it.link.shutdown(socket.SHUT_RDWR)
        assert it.process.wait(20) == 3
        assert until(lambda: not runs(guest))
