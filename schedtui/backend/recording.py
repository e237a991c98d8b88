"""Recordings: what a machine showed, as a file that anybody can be sent.

JSON lines, compressed when the name ends in ``.gz``: a Header, then one Frame a line. Each line is written whole and
at once, so that a recorder that is killed leaves a file which ends early and can still be read. Reading trusts
nothing: a recording may come from a stranger. Playing one is replay.py's.
"""

from __future__ import annotations

import re
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

import msgspec
from msgspec import Struct, field

from schedtui.backend.errors import BadFile, SchedtuiError
from schedtui.backend.histogram import SLOTS
from schedtui.backend.model import Frame, MachineInfo

FORMAT = "schedtui recording"
VERSION = 1
MAX_BYTES = 64 << 20
"""Longest recording, uncompressed: about ten hours of a desktop."""
MAX_LINE_BYTES = 1 << 20
MAX_CPUS = 4096

_GZIP = 31
"""zlib's number for the gzip format."""
_SUSPECT = re.compile(rb"\\u00|[\x7f]|\xc2[\x80-\x9f]|\d{19}|\d[eE]\+?\d\d")
"""Lines that may hold a control character or an absurd number; only these are looked at value by value."""
_MAX_NUMBER = 2.0**64


class Header(Struct, frozen=True, kw_only=True):
    """The first line."""

    format: str
    version: int
    recorded: float = field(default_factory=time.time)
    """Unix time at which it began."""
    info: MachineInfo


class Recording(Struct, frozen=True, kw_only=True):
    """A recording that was read and found sound. Frames stay encoded, because there may be very many."""

    header: Header
    lines: list[bytes]
    problem: str = ""
    """What is wrong with its end, in a sentence; empty when it was closed properly or at a line's end."""

    def frame(self, number: int) -> Frame:
        """The frame of that number, from 0."""
        return _frames.decode(self.lines[number])


class Recorder:
    """Writes a recording; an existing file is replaced. Raises SchedtuiError when the file cannot be written."""

    def __init__(self, path: Path, info: MachineInfo) -> None:
        self.path = path
        self.frames = 0
        """Frames written so far."""
        self._bytes = 0
        self._squeeze = zlib.compressobj(wbits=_GZIP) if path.suffix == ".gz" else None
        try:
            self._file = path.open("wb", buffering=0)
        except OSError as error:
            raise SchedtuiError(f"{path} cannot be written: {error.strerror}.", "Choose another file.") from error
        self._write(Header(format=FORMAT, version=VERSION, info=info))

    def add(self, frame: Frame) -> None:
        """Append one frame. After an error the file holds the frames before it."""
        self._write(frame)
        self.frames += 1

    def close(self) -> None:
        """Finish the file; may be called twice."""
        if self._file.closed:
            return
        try:
            if self._squeeze:
                self._put(self._squeeze.flush(zlib.Z_FINISH))
        finally:
            self._file.close()

    def __enter__(self) -> Recorder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _write(self, line: Header | Frame) -> None:
        data = _encoder.encode(line) + b"\n"
        self._bytes += len(data)
        if self._bytes > MAX_BYTES:
            raise SchedtuiError(
                f"{self.path} has reached {MAX_BYTES >> 20} MiB, the longest a recording can be.",
                f"Its {self.frames} frames are kept. Record again with a longer interval.",
            )
        if self._squeeze:
            data = self._squeeze.compress(data) + self._squeeze.flush(zlib.Z_SYNC_FLUSH)
        self._put(data)

    def _put(self, data: bytes) -> None:
        """All of it or nothing: what a full disk took of a line is cut off again."""
        try:
            rest = memoryview(data)
            while rest:
                rest = rest[self._file.write(rest) :]
        except OSError as error:
            self._cut(len(data) - len(rest))
            self._file.close()
            raise SchedtuiError(
                f"{self.path} cannot be written: {error.strerror}.",
                f"Its {self.frames} frames up to here are kept. Free some space, or record to another disk.",
            ) from error

    def _cut(self, written: int) -> None:
        if written:
            self._file.truncate(self._file.tell() - written)


def read_recording(path: Path) -> Recording:
    """Read and check a whole recording.

    An incomplete last line is left out and named in ``problem``. Raises BadFile for anything else that is not a
    recording of this version: damage, absurd values, more than 64 MiB.
    """
    lines: list[bytes] = []
    try:
        for line in _lines(path):
            lines.append(line)
    except OSError as error:
        raise BadFile(f"{path} cannot be read: {error.strerror}.", "Name a file that schedtui record made.") from error
    if not lines:
        raise _bad(path, 1, "the file is empty")
    header = _read_header(path, lines.pop(0))
    problem = ""
    if lines and not lines[-1].endswith(b"\n"):
        lines.pop()
        problem = "The recording breaks off here: its last line is incomplete."
    if not lines:
        raise BadFile(f"{path} holds no frames.", "Record again, for some seconds.")
    for number, line in enumerate(lines, start=2):
        _check(path, number, line)
    return Recording(header=header, lines=lines, problem=problem)


_encoder = msgspec.json.Encoder()
_headers = msgspec.json.Decoder(Header)
_frames = msgspec.json.Decoder(Frame)


def _bad(path: Path, number: int, what: str) -> BadFile:
    return BadFile(f"{path}, line {number}: {what}.", "The recording is damaged, or is not one; record it again.")


def _lines(path: Path) -> Iterator[bytes]:
    """The lines with their ends; the last may lack it. Raises BadFile when there is too much."""
    pending = b""
    total = number = 0
    for piece in _pieces(path):
        total += len(piece)
        if total > MAX_BYTES:
            raise BadFile(f"{path} holds more than {MAX_BYTES >> 20} MiB.", "Such a long recording is not played.")
        *whole, pending = (pending + piece).split(b"\n")
        for line in whole:
            number += 1
            yield line + b"\n"
        if len(pending) > MAX_LINE_BYTES:
            raise _bad(path, number + 1, "the line is too long for a recording")
    if pending:
        yield pending


def _pieces(path: Path) -> Iterator[bytes]:
    """The content, uncompressed where it is compressed, whatever the name says; never much at once."""
    with path.open("rb") as file:
        piece = file.read(1 << 16)
        if not piece.startswith(b"\x1f\x8b"):
            while piece:
                yield piece
                piece = file.read(1 << 16)
            return
        expand = zlib.decompressobj(wbits=_GZIP)
        try:
            while piece:
                yield expand.decompress(piece, 1 << 20)
                piece = expand.unconsumed_tail or file.read(1 << 16)
        except zlib.error as error:
            raise BadFile(f"{path} is damaged: {error}.", "Record it again.") from error


def _read_header(path: Path, line: bytes) -> Header:
    try:
        header = _headers.decode(line)
        what = _absurdity(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadFile(
            f"{path} is not a recording of schedtui: {error}.", "Name a file that schedtui record made."
        ) from error
    if header.format != FORMAT:
        raise BadFile(f"{path} is not a recording of schedtui.", "Name a file that schedtui record made.")
    if header.version != VERSION:
        raise BadFile(
            f"{path} is a recording of version {header.version}; this schedtui plays version {VERSION}.",
            "Update schedtui, or record it again.",
        )
    what = what or ("" if 0 <= header.recorded < 1e10 else f"it was recorded at {header.recorded}")
    if what or len(header.info.cpus) > MAX_CPUS:
        raise _bad(path, 1, what or f"a machine with more than {MAX_CPUS} CPUs")
    return header


def _check(path: Path, number: int, line: bytes) -> None:
    try:
        what = _absurdity(line) or _implausible(_frames.decode(line))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _bad(path, number, str(error)) from error
    if what:
        raise _bad(path, number, what)


def _implausible(frame: Frame) -> str:
    """What no machine can have shown, and a screen need not be ready for; empty when there is nothing of it."""
    if not 0 <= frame.time < 1e10:
        return f"the time {frame.time} is no date"
    if not 0 < frame.interval_s <= 86400:
        return f"the interval {frame.interval_s} s is out of range"
    if len(frame.cpus) > MAX_CPUS:
        return f"more than {MAX_CPUS} CPUs"
    for each in frame.cpus:
        if not (0 <= each.cpu < MAX_CPUS and 0 <= each.used_percent <= 100):
            return f"CPU {each.cpu} used {each.used_percent} %"
    if frame.latency and (len(frame.latency.histogram) > SLOTS or min(frame.latency.histogram, default=0) < 0):
        return "a latency histogram of another shape"
    return ""


def _absurdity(line: bytes) -> str:
    """A number beyond 64 bits, or a text that would write control characters to a terminal; empty without one."""
    return _walk(msgspec.json.decode(line)) if _SUSPECT.search(line) else ""


def _walk(value: object) -> str:
    if isinstance(value, dict):
        return next(filter(None, (_walk(each) for pair in value.items() for each in pair)), "")
    if isinstance(value, list):
        return next(filter(None, map(_walk, value)), "")
    if isinstance(value, str) and any(not c.isprintable() and c not in "\n\t" for c in value):
        return "a text with control characters"
    if isinstance(value, int | float) and not -_MAX_NUMBER <= value <= _MAX_NUMBER:
        return "an absurd number"
    return ""
