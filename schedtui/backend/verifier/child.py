"""Look at an object where it can do no harm: in a process of its own, that ends after seconds whatever it reads.

The child has the object on its standard input, little memory and time, and no way to open a file or a socket or to
start a program. It answers with the object stage and the bytecode stage, each as soon as it is done. What they look for
is ``object``'s and ``bytecode``'s.
"""

from __future__ import annotations

import contextlib
import gc
import importlib.util
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

import msgspec
from msgspec import Struct
from msgspec.structs import replace

import schedtui
from schedtui.backend.bpf.compiler import OBJECT_LIMIT_BYTES
from schedtui.backend.model import Finding, Stage, StageName, Tunable
from schedtui.backend.verifier.findings import presentable

TIME_LIMIT_S = 120.0
"""On a computer that is busy; what computes without end is ended by CPU_LIMIT_S."""
CPU_LIMIT_S = 10
MEMORY_LIMIT_BYTES = 512 << 20
_ANSWER_LIMIT_BYTES = 4 << 20
_PACKAGES = ("msgspec", "elftools")
_START = "import sys; sys.path += sys.argv[1:]; from schedtui.backend.verifier.child import main; main()"
_NOT_LOOKED_AT = "not looked at"


class _Question(Struct):
    tunables: tuple[Tunable, ...] | None


def examine(obj: bytes, tunables: tuple[Tunable, ...] | None = None) -> tuple[Stage, Stage]:
    """The object stage and the bytecode stage for a compiled policy; ``tunables`` are what the library says it has.

    Never raises for what the bytes hold: what cannot be read is a finding.
    """
    with Child() as child:
        return child.examine(obj, tunables)


class Child:
    """A child that waits for its object. Whoever has an object only in a while starts it before, to save its start.

    It is a context: when that ends, so does the child.
    """

    def __init__(self) -> None:
        with contextlib.ExitStack() as opened:
            self._answers = opened.enter_context(os.fdopen(os.memfd_create("answers"), "w+b"))
            self._errors = opened.enter_context(os.fdopen(os.memfd_create("errors"), "w+b"))
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", "-c", _START, *_import_paths()],
                stdin=subprocess.PIPE,
                stdout=self._answers,
                stderr=self._errors,
                cwd="/",
                env={"LC_ALL": "C.UTF-8"},
            )
            self._opened = opened.pop_all()

    def __enter__(self) -> Child:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()
        self._opened.close()

    def examine(self, obj: bytes, tunables: tuple[Tunable, ...] | None = None) -> tuple[Stage, Stage]:
        """See ``examine``. Once for each child."""
        began = time.monotonic()
        if len(obj) > OBJECT_LIMIT_BYTES:
            return _failed("object", _too_large(len(obj))), _skipped()
        ended = self._ask(msgspec.json.encode(_Question(tunables)) + b"\n" + obj)
        self._answers.seek(0)
        stages = _stages(self._answers.read(_ANSWER_LIMIT_BYTES))
        if not stages:
            return _failed("object", _unreadable(ended), time.monotonic() - began), _skipped()
        first, *rest = stages
        second = rest[0] if rest else _failed("bytecode", _not_followed(ended))
        overhead_s = time.monotonic() - began - first.seconds - second.seconds
        return replace(first, seconds=first.seconds + max(overhead_s, 0)), second

    def _ask(self, question: bytes) -> str:
        """How the child ended, for when it did not end well."""
        try:
            self._process.communicate(question, TIME_LIMIT_S)
        except subprocess.TimeoutExpired:
            return f"longer than {TIME_LIMIT_S:g} s"
        code = self._process.returncode
        ended = f"exit code {code}" if code >= 0 else f"signal {-code}"
        self._errors.seek(0)
        last_words = self._errors.read(_ANSWER_LIMIT_BYTES).decode("utf-8", "replace").strip().rpartition("\n")[2]
        return f"{ended}: {last_words}" if last_words else ended


def main() -> None:
    """The child. Everything that it needs is imported before it looks at a single byte of the object."""
    from schedtui.backend.errors import BadFile
    from schedtui.backend.verifier import bytecode, elf, object

    question, _, obj = sys.stdin.buffer.read().partition(b"\n")
    tunables = msgspec.json.decode(question, type=_Question).tunables
    lock()
    gc.disable()  # it lives for a moment, in bounded memory
    began = time.monotonic()
    try:
        file = elf.read_object(obj)
    except BadFile as error:
        finding = object.unreadable(obj, error)
        _answer(_failed("object", finding, time.monotonic() - began))
        _answer(_skipped())
        return
    read_s = time.monotonic() - began
    stage = object.check_object(file, tunables)
    _answer(replace(stage, seconds=stage.seconds + read_s))
    _answer(bytecode.check_bytecode(file))


def lock() -> None:
    """From here on this process opens nothing, starts nothing, and has an end."""
    limits = (
        (resource.RLIMIT_AS, MEMORY_LIMIT_BYTES),
        (resource.RLIMIT_CPU, CPU_LIMIT_S),
        (resource.RLIMIT_FSIZE, _ANSWER_LIMIT_BYTES),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NPROC, 0),
        (resource.RLIMIT_NOFILE, 0),
    )
    for what, most in limits:
        _, allowed = resource.getrlimit(what)
        most = most if allowed == resource.RLIM_INFINITY else min(most, allowed)
        resource.setrlimit(what, (most, most))


def _answer(stage: Stage) -> None:
    sys.stdout.buffer.write(msgspec.json.encode(stage) + b"\n")
    sys.stdout.buffer.flush()


def _import_paths() -> list[str]:
    """Where the child finds this program and what it needs, without the start-up files of an installation."""
    found = [Path(schedtui.__file__).parents[1]]
    for name in _PACKAGES:
        spec = importlib.util.find_spec(name)
        assert spec and spec.origin
        found.append(Path(spec.origin).parents[1])
    return [str(each) for each in dict.fromkeys(found)]


def _stages(answers: bytes) -> list[Stage]:
    found = []
    with contextlib.suppress(msgspec.DecodeError):
        for line in answers.splitlines()[:2]:
            found.append(presentable(msgspec.json.decode(line, type=Stage)))
    return found


def _failed(name: StageName, finding: Finding, seconds: float = 0.0) -> Stage:
    return Stage(name=name, verdict="fail", seconds=seconds, findings=(finding,), summary=finding.meaning)


def _skipped() -> Stage:
    return Stage(name="bytecode", verdict="fail", seconds=0.0, summary=_NOT_LOOKED_AT)


def _too_large(length: int) -> Finding:
    return Finding(
        rule="too-large",
        severity="error",
        place="the file",
        meaning=f"The object has {length >> 20} MB or more; a scheduler's has at most {OBJECT_LIMIT_BYTES >> 20} MB.",
        remedy="Give the .bpf.o file of a scheduler, without the program that loads it.",
    )


def _unreadable(ended: str) -> Finding:
    return Finding(
        rule="not-an-object",
        severity="error",
        place="the file",
        meaning="Reading it broke the reader, or took it more time or memory than any real object does.",
        remedy="Compile the policy again. If it is a real one, please report this.",
        details=ended,
    )


def _not_followed(ended: str) -> Finding:
    return Finding(
        rule="too-hard-to-follow",
        severity="error",
        place="the whole program",
        meaning="Its paths could not be followed within the limits on time and memory, so nothing is known of them.",
        remedy="Make the callbacks shorter, with fewer branches inside of loops.",
        details=ended,
    )
