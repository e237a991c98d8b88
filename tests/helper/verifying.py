"""A verifying process for tests of the helper: it answers at a socket as it is told to, whatever it was asked."""

from __future__ import annotations

import contextlib
import hashlib
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
from msgspec.structs import replace

from schedtui.backend.helper import jobs
from schedtui.backend.helper.jobs import Job, Word
from schedtui.backend.model import KernelId, Report, Stage

OBJECT = b"\x7fELF, as far as the helper is concerned"
DIGEST = hashlib.sha256(OBJECT).hexdigest()
KERNEL = KernelId(release="6.18.15", build_id="ab" * 20, btf_hash="cd" * 32)
RULES = "rules-1"

Behaviour = Callable[[socket.socket, Job, bytes], None]


def report_on(job: Job, obj: bytes = OBJECT, **changes: Any) -> Report:
    """That everything passed."""
    report = Report(
        name=job.name,
        verdict="pass",
        digest=hashlib.sha256(obj).hexdigest(),
        settings=job.settings,
        kernel=KERNEL,
        stages=tuple(Stage(name=name, verdict="pass", seconds=1.0) for name in ("object", "bytecode", "kernel")),
        quick=job.quick,
        made_at=0.0,
        rules=RULES,
    )
    return replace(report, **changes)


def answering(**changes: Any) -> Behaviour:
    """One that says what it does, and then that it passed, but for these ``changes`` of its report."""

    def behave(link: socket.socket, job: Job, obj: bytes) -> None:
        link.sendall(jobs.encode(Word(progress="stress: more programs than CPUs")))
        link.sendall(jobs.encode(Word(report=report_on(job, obj, **changes))))

    return behave


def saying(content: bytes) -> Behaviour:
    """One that says these bytes, and ends."""
    return lambda link, _job, _obj: link.sendall(content)


class Listening:
    """A socket that such a process listens at, one connection at a time; counts what it was asked."""

    def __init__(self, place: Path, behave: Behaviour) -> None:
        self.asked = 0
        self.behave = behave
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(place))
        self._listener.listen()
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                link, _ = self._listener.accept()
                with link, contextlib.suppress(OSError):
                    line, (memory,), _, _ = socket.recv_fds(link, jobs.MAX_JOB_BYTES, 1)
                    self.asked += 1
                    job, obj = msgspec.json.decode(line, type=Job), jobs.read_sealed(memory)
                    os.close(memory)
                    self.behave(link, job, obj)

    def close(self) -> None:
        """Nobody listens there any more."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


@contextlib.contextmanager
def listening(place: Path, behave: Behaviour) -> Iterator[Listening]:
    """One, until the context ends."""
    listener = Listening(place, behave)
    try:
        yield listener
    finally:
        listener.close()


def python_for_anybody() -> tuple[str, tuple[str, ...]]:
    """An interpreter of our version that every user may start, and where it finds itself and us."""
    ours = [each for each in sys.path if each]
    if _everybody_may_start(Path(sys.executable).resolve()):
        return sys.executable, tuple(ours)
    program = f"/usr/bin/python{sys.version_info.major}.{sys.version_info.minor}"
    said = subprocess.check_output([program, "-ISB", "-c", "import sys; print(*sys.path, sep='\\n')"], text=True)
    packages = [each for each in ours if each.endswith("-packages")]
    return program, (*said.split(), str(Path(__file__).parents[2]), *packages)


def _everybody_may_start(program: Path) -> bool:
    return all(each.stat().st_mode & 0o001 for each in (program, *program.parents))
