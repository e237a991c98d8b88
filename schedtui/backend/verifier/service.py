"""The verifying process of the helper: an unprivileged one that judges one object, and ends.

It is given a connected Unix socket (systemd: ``Accept=yes``), reads one job with a sealed object, tells what it does,
and answers with a report or with what kept it from judging. It needs no network, reads no file of a user, and asks for
nothing that root has: the kernel's image and the guest's snapshot are those that setup prepared, or its own. When
whoever asked goes away, it ends at once, and its guest with it. What the answer is good for is the helper's to decide.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import os
import select
import socket
import stat
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from msgspec.structs import replace

from schedtui.backend.errors import BadMessage, KernelUnsuitable, NotPermitted, SchedtuiError
from schedtui.backend.helper import jobs, protocol
from schedtui.backend.helper.jobs import Job, Word
from schedtui.backend.model import Program, Report

ASKED_WITHIN_S = 20.0
"""For the job to come, once somebody is connected."""
TELL_EVERY_S = 0.2
_LISTEN_FD = 3
"""The first descriptor that systemd passes. Source: sd_listen_fds(3)."""
_ENDED, _REFUSED, _LEFT = 0, 2, 3


def main(arguments: Sequence[str] | None = None) -> int:
    """Judge one object; the exit code is 0 when an answer was given."""
    options = _parser().parse_args(arguments)
    _live_in(options.cache, options.prepared)
    try:
        given = socket.socket(fileno=_link_fd(options.fd))
    except OSError:
        print("schedtui-verify: it is started with a connected socket, by systemd or the helper.", file=sys.stderr)
        return _REFUSED
    with given as link:
        try:
            if os.geteuid() == 0 and not options.as_root:
                raise NotPermitted("The verifier does not run as root.", "Start it as a user of its own.")
            report = _judge(link, options.kernel)
        except SchedtuiError as error:
            return _answer(link, Word(failure=protocol.failure_of(error)), _REFUSED)
        except Exception as error:  # noqa: BLE001 - the edge: a fault of ours must reach the helper as a sentence
            failed = SchedtuiError(f"The verifier failed: {type(error).__name__}: {error}")
            return _answer(link, Word(failure=protocol.failure_of(failed)), _REFUSED)
        return _answer(link, Word(report=report), _ENDED)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="schedtui-verify", description="Judges one object for schedtui's helper.")
    parser.add_argument("--cache", type=Path, help="a folder of its own, for what can be rebuilt")
    parser.add_argument("--prepared", type=Path, help="what setup prepared, if not in /var/lib/schedtui/lab")
    parser.add_argument("--kernel", type=Path, help="the kernel image to judge on, if not this computer's own")
    parser.add_argument("--fd", type=int, help="the connected socket, if systemd does not pass it")
    parser.add_argument("--as-root", action="store_true", help="for tests: do not refuse to run as root")
    return parser


def _live_in(cache: Path | None, prepared: Path | None) -> None:
    """All folders that this program knows are in its cache, whatever user it runs as; nothing is kept of reports."""
    if cache is not None:
        os.environ |= {"HOME": str(cache), "XDG_CACHE_HOME": str(cache)}
    os.environ["XDG_DATA_HOME"] = "/nonexistent"
    os.environ.setdefault("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
    os.environ.setdefault("LC_ALL", "C.UTF-8")
    if prepared is not None:
        os.environ["SCHEDTUI_PREPARED"] = str(prepared)
    os.umask(0o077)


def _link_fd(given: int | None) -> int:
    """The one that was named, else the standard input, else the first that systemd passes."""
    if given is not None:
        return given
    return 0 if stat.S_ISSOCK(os.fstat(0).st_mode) else _LISTEN_FD


def _judge(link: socket.socket, kernel: Path | None) -> Report:
    job, memory = _receive(link)
    threading.Thread(target=_end_with, args=(link,), name="client-watch", daemon=True).start()
    progress = _Saying(link).progress
    if job.program is None:
        from schedtui.backend.verifier.verify import verify_object

        obj = jobs.read_sealed(memory)
        image = kernel or _find_kernel()
        return verify_object(job.name, obj, job.settings, kernel=image, quick=job.quick, progress=progress)
    from schedtui.backend.verifier.verify import verify_program

    program = _received(job.program, memory)
    image = kernel or _find_kernel()
    (report,) = verify_program(program, job.settings, kernels=(image,), quick=job.quick, progress=progress, again=True)
    return report


def _received(program: Program, memory: int) -> Program:
    """The external scheduler as it came, and not the one that lies where it says. Raises BadMessage."""
    jobs.check_sealed(memory, jobs.MAX_PROGRAM_BYTES)
    received = replace(program, path=f"/proc/self/fd/{memory}")
    with Path(received.path).open("rb") as file:
        if hashlib.file_digest(file, "sha256").hexdigest() != program.sha256:
            raise BadMessage("The program that came is not the one that was named.")
    return received


def _receive(link: socket.socket) -> tuple[Job, int]:
    """The job, and the descriptor of its object, which stays open. Raises BadMessage."""
    line, passed = bytearray(), list[int]()
    deadline = time.monotonic() + ASKED_WITHIN_S
    try:
        while not line.endswith(b"\n"):
            link.settimeout(max(deadline - time.monotonic(), 0.001))
            data, descriptors, _, _ = socket.recv_fds(link, 1 << 16, 4)
            passed += descriptors
            if not data or b"\n" in data[:-1] or len(line) + len(data) > jobs.MAX_JOB_BYTES:
                raise BadMessage("Nobody asked for anything: the job did not come whole.")
            line += data
        link.settimeout(None)
        job = jobs.decode_job(bytes(line))
        if job.version != jobs.VERSION:
            raise BadMessage(
                f"The helper speaks version {job.version} with the verifier, which speaks {jobs.VERSION}.",
                "Restart both: sudo schedtui setup",
            )
        if len(passed) != 1:
            raise BadMessage("A job comes with exactly one object.")
        return job, passed[0]
    except OSError as error:
        raise BadMessage("The job did not come in time.") from error


def _end_with(link: socket.socket) -> None:
    """End at once when the helper does, or says anything more; the kernel ends the guest with this process."""
    poll = select.poll()
    poll.register(link, select.POLLIN | select.POLLRDHUP)
    with contextlib.suppress(OSError):
        poll.poll()
    os._exit(_LEFT)


class _Saying:
    """Tells the helper what is being done, not more often than somebody could read."""

    def __init__(self, link: socket.socket) -> None:
        self._link = link
        self._last = ""
        self._told = 0.0

    def progress(self, words: str, _seconds: float) -> None:
        if words == self._last or time.monotonic() - self._told < TELL_EVERY_S:
            return
        self._last, self._told = words, time.monotonic()
        self._link.sendall(jobs.encode(Word(progress=words)))


def _find_kernel() -> Path:
    """This computer's own where it can be read, else another that root prepared. Raises KernelUnsuitable."""
    from schedtui.backend.microvm.kernels import listed_kernels

    here = listed_kernels()
    if not here:
        raise KernelUnsuitable(
            "The verifier can read no kernel image that it could boot.",
            "Let setup make a copy of this computer's: sudo schedtui setup",
        )
    return here[0].image


def _answer(link: socket.socket, word: Word, code: int) -> int:
    with contextlib.suppress(OSError):
        link.sendall(jobs.encode(word))
        return code
    return _LEFT


if __name__ == "__main__":
    sys.exit(main())
