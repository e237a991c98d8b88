"""The tokens by which programs show over HTTP who they are: one for each name, made here, kept in a file that only this
user can read.

A file that others could read, or that was damaged, is refused whole, never repaired in silence. What a name may do is
not said here: its trust and allowance are the client's.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import hmac
import os
import re
import secrets
import stat
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
from msgspec import Struct, field

from schedtui.backend.errors import BadFile, UnknownName
from schedtui.paths import data_dir

MOST_TOKENS = 32
_BYTES = 32
_LARGEST_BYTES = 1 << 16
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,31}")
_TOKEN = re.compile(r"schedtui-[A-Za-z0-9_-]{43}")
_Stamp = tuple[int, int, int]


class _Held(Struct, frozen=True):
    token: str
    made_at: float
    """Unix time."""


class _Kept(Struct, kw_only=True, forbid_unknown_fields=True):
    version: int = 1
    tokens: dict[str, _Held] = field(default_factory=dict)


class Tokens:
    """The file. May be used from any thread, and by several programs at once; each look sees what others changed."""

    def __init__(self, path: Path | None = None) -> None:
        self.path = path or data_dir() / "mcp" / "tokens.json"
        self._seen: tuple[_Stamp | None, _Kept] = (None, _Kept())

    def names(self) -> list[str]:
        """Of those that have one. Raises BadFile."""
        return sorted(self._read().tokens)

    def made(self) -> dict[str, float]:
        """When each that is valid was made (Unix time), by name. Raises BadFile."""
        return {name: held.made_at for name, held in self._read().tokens.items()}

    def token(self, name: str) -> str:
        """That of ``name``, made when there is none. Raises UnknownName for what is no name, and BadFile."""
        if not _NAME.fullmatch(name):
            raise UnknownName(
                "A program's name has 1 to 32 small letters, digits, dots, dashes and underscores.",
                "For example: schedtui mcp --token claude",
            )
        with self._changing() as tokens:
            if name not in tokens:
                if len(tokens) >= MOST_TOKENS:
                    raise BadFile(
                        f"There are {MOST_TOKENS} tokens already.", "Revoke one first: schedtui mcp --revoke NAME"
                    )
                tokens[name] = _Held("schedtui-" + secrets.token_urlsafe(_BYTES), time.time())
            return tokens[name].token

    def revoke(self, name: str) -> None:
        """Its token is accepted no more, from the next request on. Raises UnknownName, BadFile."""
        with self._changing() as tokens:
            if tokens.pop(name, None) is None:
                known = ", ".join(sorted(tokens)) or "none"
                raise UnknownName("No program of that name has a token.", f"Those that have one: {known}.")

    def holder(self, token: str) -> str | None:
        """Whose token this is. Takes as long for a wrong one as for a right one. Raises BadFile."""
        given = hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
        found: str | None = None
        for name, held in self._read().tokens.items():
            if hmac.compare_digest(given, hashlib.sha256(held.token.encode()).digest()):
                found = name
        return found

    @contextlib.contextmanager
    def _changing(self) -> Iterator[dict[str, _Held]]:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
            with os.fdopen(os.open(self.path.with_suffix(".lock"), flags, 0o600), "w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                kept = self._read()
                tokens = dict(kept.tokens)
                yield tokens
                if tokens != kept.tokens:
                    self._write(_Kept(tokens=tokens))
        except OSError as error:
            reason = error.strerror or str(error)
            raise BadFile(f"Tokens cannot be kept in {self.path}: {reason}.", "See that you may write it.") from error

    def _write(self, kept: _Kept) -> None:
        fresh = self.path.with_suffix(".new")
        fresh.unlink(missing_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        with os.fdopen(os.open(fresh, flags, 0o600), "wb") as file:
            file.write(msgspec.json.format(msgspec.json.encode(kept), indent=2))
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(self.path)

    def _read(self) -> _Kept:
        try:
            self._check_folder()
            with os.fdopen(os.open(self.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC), "rb") as file:
                found = os.fstat(file.fileno())
                self._check(self.path, found)
                stamp = (found.st_ino, found.st_mtime_ns, found.st_size)
                if stamp != self._seen[0]:
                    self._seen = (stamp, self._parsed(file.read(_LARGEST_BYTES + 1)))
                return self._seen[1]
        except FileNotFoundError:
            return _Kept()
        except OSError as error:
            reason = error.strerror or str(error)
            raise BadFile(f"{self.path} cannot be read: {reason}.", "No token is accepted until it can.") from error

    def _parsed(self, text: bytes) -> _Kept:
        try:
            if len(text) > _LARGEST_BYTES:
                raise msgspec.DecodeError("it is too large")
            kept = msgspec.json.decode(text, type=_Kept)
            if not all(_NAME.fullmatch(name) and _TOKEN.fullmatch(held.token) for name, held in kept.tokens.items()):
                raise msgspec.DecodeError("it holds what schedtui did not write")
        except (msgspec.MsgspecError, RecursionError, UnicodeError) as error:
            raise BadFile(
                f"{self.path} was damaged ({error}), so no token is accepted.",
                "Remove it and make new tokens: schedtui mcp --token NAME",
            ) from error
        return kept

    def _check_folder(self) -> None:
        folder = self.path.parent
        found = folder.stat()
        if found.st_uid != os.geteuid() or found.st_mode & 0o022:
            raise BadFile(
                f"Others may write in {folder}, so no token in it is accepted.", f"Close it: chmod 700 {folder}"
            )

    def _check(self, path: Path, found: os.stat_result) -> None:
        if not stat.S_ISREG(found.st_mode):
            raise BadFile(f"{path} is no file, so no token is accepted.", "Move it away.")
        if found.st_uid != os.geteuid() or found.st_mode & 0o077:
            raise BadFile(
                f"Others may read {path}, so no token in it is accepted.",
                f"Remove it and make new tokens (schedtui mcp --token NAME); or, when nobody else was here: "
                f"chmod 600 {path}",
            )
