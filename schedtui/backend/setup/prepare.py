"""What the verifier's user does at setup: compile the library and the probes, find a kernel, and build the machine.

Runs from the root-owned copy, as that user, so that neither clang nor QEMU runs as root. Says what it does in lines of
JSON on standard output; root keeps what came of it (``machine``).
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
from msgspec import Struct

from schedtui import paths
from schedtui.backend.bpf.compiler import compile_bpf
from schedtui.backend.errors import SchedtuiError
from schedtui.backend.lab import LabMachine
from schedtui.backend.library.catalogue import load_library
from schedtui.backend.machine import Progress
from schedtui.backend.microvm.kernels import find_kernel
from schedtui.backend.verifier.kernel import CPUS


class Told(Struct, omit_defaults=True):
    """One line: a stage, or one of the results."""

    stage: str = ""
    seconds: float = 0.0
    policy: str = ""
    digest: str = ""
    probe: str = ""
    object: str = ""
    """Of the probe, in base64."""
    kernel: str = ""
    """Path of the image that the machine will boot."""
    problem: str = ""
    remedy: str = ""


def main() -> int:
    """Do all of it that can be done; what cannot is told, and the rest goes on."""
    if sys.argv[1:] == ["--only-import"]:
        import schedtui.backend.helper.daemon
        import schedtui.backend.verifier.service
        import schedtui.backend.verifier.verify  # noqa: F401

        return 0
    began = time.monotonic()

    def stage(words: str, _seconds: float = 0.0) -> None:
        _tell(Told(stage=words, seconds=time.monotonic() - began))

    if sys.argv[1:] == ["--machine"]:
        with _told():
            _build_machine(stage)
        return 0
    _compile_all(stage)
    if sys.argv[1:] == ["--kernel"]:
        with _told():
            found = find_kernel(None, stage)
            _tell(Told(kernel=str(found.image)))
    return 0


def _compile_all(stage: Progress) -> None:
    for path in sorted((paths.shipped("bpf") / "probes").glob("*.bpf.c")):
        with _told():
            compiled = base64.b64encode(compile_bpf(path)).decode()
            _tell(Told(probe=path.name.removesuffix(".bpf.c"), object=compiled))
    for policy in load_library().policies.values():
        if policy.source:
            with _told():
                stage(f"compiling {policy.name}", 0.0)
                digest = hashlib.sha256(compile_bpf(Path(policy.source))).hexdigest()
                _tell(Told(policy=policy.name, digest=digest))


def _build_machine(stage: Progress) -> None:
    machine = LabMachine(cpus=CPUS)
    try:
        machine.open(stage)
    finally:
        machine.close()


@contextlib.contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except SchedtuiError as error:
        _tell(Told(problem=error.message, remedy=error.remedy))


def _tell(told: Told) -> None:
    sys.stdout.buffer.write(msgspec.json.encode(told) + b"\n")
    sys.stdout.buffer.flush()
