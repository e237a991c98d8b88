"""What the helper and the verifying process say to each other: one job, words while it is done, and a report.

The helper sends one line, a ``Job``, and with it the object as a sealed memory file. The process answers with lines,
each a ``Word``, the last of which holds the report, or what kept it from judging. Neither trusts the other: see
``proving`` and ``verifier.service``. Runs as root too: the standard library and msgspec only.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from typing import TypeVar

import msgspec
from msgspec import Struct

from schedtui.backend.errors import BadMessage
from schedtui.backend.helper.protocol import Failure
from schedtui.backend.model import Program, Report, Setting

VERSION = 1
MAX_OBJECT_BYTES = 3 << 20
"""Larger objects are refused unread; policies are about 20 KB."""
MAX_PROGRAM_BYTES = 128 << 20
"""Of an external scheduler; the largest that are built today have 20 MB."""
MAX_JOB_BYTES = 256 << 10
MAX_WORD_BYTES = 8 << 20
"""The longest line of an answer: a report with a kernel's log."""
MAX_ANSWER_BYTES = 16 << 20
"""All that a verifying process may say."""
SEALS = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE
"""What makes a memory file one that nobody can change any more, not even whoever made it."""


class Job(Struct, frozen=True, kw_only=True):
    """What is to be judged; its bytes come with the message."""

    version: int
    name: str
    settings: dict[str, Setting]
    quick: bool
    program: Program | None = None
    """The external scheduler that the bytes are, with its arguments; None: they are an object."""


class Word(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A line of the answer: what is being done, or the end of it."""

    progress: str = ""
    report: Report | None = None
    failure: Failure | None = None


_Message = TypeVar("_Message", Job, Word)


def encode(message: Job | Word) -> bytes:
    """The message as one line, newline included."""
    return msgspec.json.encode(message) + b"\n"


def decode_job(line: bytes) -> Job:
    """Raises BadMessage."""
    return _decode(line, Job)


def decode_word(line: bytes) -> Word:
    """Raises BadMessage."""
    return _decode(line, Word)


def _decode(line: bytes, kind: type[_Message]) -> _Message:
    try:
        return msgspec.json.decode(line, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadMessage(f"Not a {kind.__name__.lower()} of the verifier: {error}") from error


def sealed(content: bytes) -> int:
    """A descriptor of a memory file with these bytes, which nobody can change any more."""
    with _memory() as memory:
        with os.fdopen(os.dup(memory), "wb") as file:
            file.write(content)
        return _closed_for_changes(memory)


def sealed_copy(descriptor: int, limit: int = MAX_PROGRAM_BYTES) -> int:
    """A descriptor of a memory file with what a file holds now. Raises BadMessage when that is too long."""
    with _memory() as memory:
        at = 0
        while copied := os.sendfile(memory, descriptor, at, 1 << 20):
            at += copied
            if at > limit:
                raise BadMessage(f"The program has more than {limit >> 20} MiB.")
        return _closed_for_changes(memory)


@contextlib.contextmanager
def _memory() -> Iterator[int]:
    """Closed again when something goes wrong."""
    memory = os.memfd_create("object", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        yield memory
    except BaseException:
        os.close(memory)
        raise


def _closed_for_changes(memory: int) -> int:
    fcntl.fcntl(memory, fcntl.F_ADD_SEALS, SEALS)
    return memory


def check_sealed(memory: int, limit: int) -> int:
    """How many bytes a memory file has that nobody can change any more.

    Raises BadMessage for any other file: what is read from it now, another could change before it is read again.
    """
    try:
        seals = fcntl.fcntl(memory, fcntl.F_GET_SEALS)
        length = os.fstat(memory).st_size
    except OSError:
        raise BadMessage("The object did not come as a sealed memory file.") from None
    if seals & SEALS != SEALS:
        raise BadMessage("The object's memory file is not sealed: it could still be changed.")
    if not 0 < length <= limit:
        raise BadMessage(f"The object has {length} bytes, and at most {limit >> 20} MiB are read.")
    return length


def read_sealed(memory: int, limit: int = MAX_OBJECT_BYTES) -> bytes:
    """The bytes of a memory file that nobody can change any more. Raises BadMessage, as ``check_sealed`` does."""
    length = check_sealed(memory, limit)
    content = os.pread(memory, length, 0)
    if len(content) != length:
        raise BadMessage("The object could not be read whole.")
    return content
