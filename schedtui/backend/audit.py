"""Everything that was decided and done, in an append-only log that shows when somebody changed it.

One JSON object a line; each holds the hash of the one before and its own, so that an altered, missing or moved entry
breaks the chain. A chain cannot see that its end was cut off: the store keeps where it ended. Who can write both files
can forge both; against the user's own account this is no protection, only a record that does not change unnoticed.
What is worth an entry is for whoever acts to say, and no secret belongs into one.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import itertools
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import msgspec
from msgspec import Struct, field
from msgspec.structs import replace

from schedtui.backend.errors import BadFile
from schedtui.backend.store import AuditHead, Store
from schedtui.paths import data_dir

_LONGEST_DETAILS = 64 * 1024
_LONGEST_LINE = 4 * _LONGEST_DETAILS
_BUSY_S = 15.0
_NOBODY = "0" * 64
"""The hash before the first entry."""


class Entry(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One thing that was decided or done."""

    number: int
    """From 1."""
    time: float
    """Unix time."""
    actor: str
    """``person``, ``offline adviser``, a model's name, ``schedtui`` for what it does by itself."""
    act: str
    """In a word or two: ``panic``, ``canary``, ``keep``, ``revert``."""
    details: dict[str, Any] = field(default_factory=dict)
    before: str
    """The hash of the entry before, in hex."""
    hash: str = ""
    """SHA-256 of this line without it, in hex."""


class Verified(Struct, frozen=True, kw_only=True):
    """Whether the log is as it was written."""

    entries: int
    broken_at: int | None = None
    """The line from which on the log cannot be trusted; None when all of it can."""
    reason: str = ""
    """What is wrong there, in a sentence."""
    notes: tuple[str, ...] = ()
    """What is no fault, and still worth knowing."""


class Audit:
    """The log in ``path`` (in the data directory when none is given), with its end kept in ``store``.

    Several processes and threads may append at once.
    """

    def __init__(self, path: Path | None = None, store: Store | None = None) -> None:
        self.path = path or data_dir() / "audit.jsonl"
        self._store = store or Store(self.path.with_name("history.sqlite"))

    def append(self, actor: str, act: str, details: dict[str, Any] | None = None) -> BadFile | None:
        """Add an entry, on the disk when this returns. Never raises: what went wrong is returned, to be told.

        Details longer than 64 KiB are cut.
        """
        try:
            return self._append(actor, act, _bounded(details or {}))
        except OSError as error:
            return BadFile(f"{act} could not be written to the log {self.path}: {_words(error)}.", _remedy(error))

    def entries(self, limit: int = 1000) -> list[Entry]:
        """The last ones, newest first; lines that cannot be read are left out. Raises BadFile."""
        found = [entry for line in self._lines() if (entry := _entry(line)) is not None]
        return found[: -limit - 1 : -1]

    def verify(self) -> Verified:
        """Whether anything was altered, removed, moved or cut off, as far as that can be known. Raises BadFile."""
        head = self._store.audit_head()
        before, count, kept, notes = _NOBODY, 0, "", list(self._store.notes)
        for line in self._lines():
            if not line.endswith(b"\n"):
                notes.append("The last line was cut short, as by a crash or a full disk; the next entry mends that.")
                break
            count += 1
            entry = _entry(line)
            wrong = _wrong(entry, count, before)
            if entry is None or wrong:
                return Verified(entries=count - 1, broken_at=count, reason=wrong, notes=tuple(notes))
            before = entry.hash
            if head is not None and count == head.entries:
                kept = before
        if head is None and count:
            notes.append("Whether its end was cut off cannot be known: the history does not say where it was.")
        broken_at, reason = _cut_off(head, count, kept)
        return Verified(entries=count, broken_at=broken_at, reason=reason, notes=tuple(notes))

    def _append(self, actor: str, act: str, details: dict[str, Any]) -> BadFile | None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "r+b", buffering=0) as file:
            _lock(file)
            number, before, cut = _end(file)
            was = AuditHead(number, before)
            if cut:
                number, before = _write(file, number, before, "schedtui", "mended the log", {"cut_bytes": cut})
            number, before = _write(file, number, before, actor, act, details)
            os.fsync(file.fileno())
            try:
                kept = self._store.audit_head()
                if kept in (None, was) or _holds(self.path, kept):
                    self._store.keep_audit_head(AuditHead(number, before))
            except BadFile as problem:
                return problem
        return None

    def _lines(self) -> Iterator[bytes]:
        try:
            with self.path.open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_SH)
                while line := file.readline(_LONGEST_LINE):
                    yield line
        except FileNotFoundError:
            return
        except OSError as error:
            raise BadFile(f"The log {self.path} cannot be read: {_words(error)}.", _remedy(error)) from error


def _lock(file: BinaryIO | Any) -> None:
    limit = time.monotonic() + _BUSY_S
    while True:
        try:
            return fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > limit:
                raise
            time.sleep(0.002)


def _end(file: Any) -> tuple[int, str, int]:
    """Number and hash of the last entry, and how many bytes of a line that was cut short were taken away after it."""
    size = file.seek(0, os.SEEK_END)
    start = max(0, size - 2 * _LONGEST_LINE)
    file.seek(start)
    tail = file.read()
    whole, _, cut = tail.rpartition(b"\n")
    if cut:
        file.truncate(size - len(cut))
        size = file.seek(0, os.SEEK_END)
    if not size:
        return 0, _NOBODY, len(cut)
    line = whole.rpartition(b"\n")[2] + b"\n"
    entry = _entry(line)
    if entry is not None:
        return entry.number, entry.hash, len(cut)
    # Somebody damaged the last line. The chain goes on from it as it is; verify tells where it broke.
    file.seek(0)
    return file.read().count(b"\n"), hashlib.sha256(line).hexdigest(), len(cut)


def _holds(path: Path, head: AuditHead) -> bool:
    """Whether the log still holds the end that was kept. If not, it stays kept, so that verify goes on telling."""
    with path.open("rb") as file:
        line = next(itertools.islice(file, head.entries - 1, None), b"")
    entry = _entry(line)
    return entry is not None and entry.hash == head.hash


def _cut_off(head: AuditHead | None, count: int, kept: str) -> tuple[int | None, str]:
    """Where and how a sound chain of ``count`` entries, ``kept`` being the hash at the head, is not what it was."""
    if head is None:
        return None, ""
    if head.entries > count:
        missing = head.entries - count
        lost = "the last entry is" if missing == 1 else f"the last {missing} entries are"
        return count + 1, f"It was cut off: {lost} missing."
    if kept != head.hash:
        return head.entries, f"It was written anew: entry {head.entries} is not the one that was kept."
    return None, ""


def _write(file: Any, number: int, before: str, actor: str, act: str, details: dict[str, Any]) -> tuple[int, str]:
    """Add one whole line or nothing; returns its number and hash."""
    entry = Entry(
        number=number + 1, time=time.time(), actor=_clean(actor), act=_clean(act), details=details, before=before
    )
    entry = replace(entry, hash=_hash(entry))
    size = file.seek(0, os.SEEK_END)
    line = msgspec.json.encode(entry) + b"\n"
    try:
        written = file.write(line)
        if written != len(line):
            file.write(line[written:])
    except OSError:
        with contextlib.suppress(OSError):
            file.truncate(size)
        raise
    return entry.number, entry.hash


def _entry(line: bytes) -> Entry | None:
    """The entry of a line that is exactly as it would be written; else None."""
    try:
        entry = msgspec.json.decode(line, type=Entry)
        return entry if msgspec.json.encode(entry) + b"\n" == line else None
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return None


def _hash(entry: Entry) -> str:
    return hashlib.sha256(msgspec.json.encode(replace(entry, hash=""))).hexdigest()


def _wrong(entry: Entry | None, number: int, before: str) -> str:
    """What is wrong with the entry of line ``number``; empty when nothing is."""
    if entry is None:
        return f"Line {number} is no entry as schedtui writes them: it was altered or damaged."
    if entry.hash != _hash(entry):
        return f"Entry {number} was altered after it was written."
    if entry.number > number:
        return f"Entries are missing: entry {entry.number} stands where entry {number} should."
    if entry.number < number:
        return f"Entries were moved or repeated: entry {entry.number} stands where entry {number} should."
    if entry.before != before:
        return f"Entry {number} does not follow the one before it: one of them was replaced."
    return ""


def _bounded(details: dict[str, Any]) -> dict[str, Any]:
    """What can be written, and read back as the same."""
    try:
        encoded = msgspec.json.encode(details, enc_hook=str)
    except (UnicodeEncodeError, TypeError, ValueError, RecursionError):
        encoded = json.dumps(details, ensure_ascii=False, default=str, skipkeys=True).encode(errors="replace")
    if len(encoded) > _LONGEST_DETAILS:
        return {"cut": encoded[: _LONGEST_DETAILS // 2].decode(errors="replace"), "bytes": len(encoded)}
    found: dict[str, Any] = msgspec.json.decode(encoded)
    return found


def _clean(text: str) -> str:
    return text[:200].encode(errors="replace").decode()


def _words(error: OSError) -> str:
    return "another program holds it" if isinstance(error, BlockingIOError) else error.strerror or str(error)


def _remedy(error: OSError) -> str:
    if isinstance(error, BlockingIOError):
        return "End that program; what was asked for was done all the same."
    return "Free some space on that disk, or see who may write there; what was asked for was done all the same."
