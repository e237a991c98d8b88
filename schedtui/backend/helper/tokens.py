"""The helper's signed permissions: which bytes, with which settings, may run on which kernel.

A token says that the helper's own verification passed exactly that. It is signed with a key that only root can read,
and kept beside its report, so that the same may be loaded again without another run until it expires. Whoever asks may
hold a token too, as text; that helps nobody, because all of it is checked. Proving is ``proving``'s.
Runs as root: the standard library and msgspec only.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import os
import re
import secrets
import stat
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import msgspec
from msgspec import Struct

from schedtui.backend.errors import BadFile, NotProven
from schedtui.backend.model import KernelId, Report, Setting

LASTS_S = 30 * 24 * 3600.0
"""How long a token holds."""
MOST_KEPT = 256
"""Beyond these, the oldest are forgotten."""
LONGEST_TEXT = 64 << 10
"""Of a token as text, in characters."""
KEY_BYTES = 32
_ENTRY_LIMIT_BYTES = 1 << 20
_FORM = "schedtui1"
_TEXT = re.compile(rf"{_FORM}\.([0-9a-f]{{16}})\.([A-Za-z0-9_-]+)\.([0-9a-f]{{64}})", re.ASCII)
_CLOCK_MAY_DIFFER_S = 300.0
_ENTRY = re.compile(r"[0-9a-f]{64}\.json", re.ASCII)
_AGAIN = "Verify it again; on this computer that is a part of every trial."


class Wanted(Struct, frozen=True, kw_only=True):
    """What is to be loaded, and where: all that a token must be about."""

    digest: str
    """SHA-256 of the object's bytes, or of an external scheduler's program, in hex."""
    settings: dict[str, Setting]
    kernel: KernelId
    rules: str
    """Version of the verifier's rules."""
    arguments: tuple[str, ...] = ()
    """An external scheduler's flags; an object has none."""


class Token(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The helper's word that its own verification passed this."""

    name: str
    digest: str
    settings: dict[str, Setting]
    kernel: KernelId
    """The kernel that it may run on; the report says which one it was proven on."""
    rules: str
    arguments: tuple[str, ...]
    verdict: str
    """``pass`` or ``warn``."""
    report: str
    """SHA-256 of the report's JSON, in hex."""
    quick: bool
    """Its report is of a quick look only."""
    generated: bool
    """It is no object of the helper's own library: a person was asked before."""
    made_at: float
    """Unix time."""
    expires_at: float


class _Entry(Struct, frozen=True):
    token: str
    report: Report


class Key:
    """Signs, and knows its own signature. The file is made at first use."""

    def __init__(self, path: Path) -> None:
        """Raises BadFile for a key that others could have read or put there."""
        self._secret = _read_key(path) or _make_key(path)
        self.id = hashlib.sha256(b"schedtui key id\0" + self._secret).hexdigest()[:16]
        """Names the key, and does not give it away."""

    def sign(self, token: Token) -> str:
        """The token as text."""
        content = base64.urlsafe_b64encode(msgspec.json.encode(token)).rstrip(b"=").decode()
        signed = f"{_FORM}.{self.id}.{content}"
        return f"{signed}.{self._mac(signed)}"

    def read(self, text: str) -> Token:
        """The token that a text is. Raises NotProven for what this key did not sign."""
        found = _TEXT.fullmatch(text) if len(text) <= LONGEST_TEXT else None
        if found is None:
            raise NotProven("The token is damaged.", _AGAIN)
        signed, _, mac = text.rpartition(".")
        if not hmac.compare_digest(mac, self._mac(signed)):
            if found[1] != self.id:
                raise NotProven("The token was signed with another key: by another computer, or long ago.", _AGAIN)
            raise NotProven("The token is forged or damaged: its signature does not fit.", _AGAIN)
        content = found[2]
        try:
            return msgspec.json.decode(base64.urlsafe_b64decode(content + "=" * (-len(content) % 4)), type=Token)
        except (ValueError, msgspec.DecodeError) as error:
            raise NotProven("The token was made by another version of the helper.", _AGAIN) from error

    def _mac(self, signed: str) -> str:
        # Over the text as it travels, so that no other text means the same token.
        return hmac.new(self._secret, b"schedtui token\0" + signed.encode(), hashlib.sha256).hexdigest()


def check(token: Token, wanted: Wanted, now: float | None = None) -> None:
    """Raises NotProven unless the token is about exactly what is wanted, and holds now (Unix time)."""
    now = time.time() if now is None else now
    ours, asked = token.kernel, wanted.kernel
    if token.digest != wanted.digest:
        raise NotProven("The token is about another object.", _AGAIN)
    if not _same(token.settings, wanted.settings):
        raise NotProven(f"The token is about other settings of {token.name}.", _AGAIN)
    if token.arguments != wanted.arguments:
        raise NotProven(f"The token is about other arguments of {token.name}.", _AGAIN)
    if (ours.build_id, ours.btf_hash) != (asked.build_id, asked.btf_hash):
        raise NotProven(f"The token is about another kernel (Linux {ours.release}).", _AGAIN)
    if token.rules != wanted.rules:
        raise NotProven("The token was given under other rules of the verifier.", _AGAIN)
    if token.verdict not in ("pass", "warn"):
        raise NotProven(f"The verifier did not pass {token.name}.", "See its report.")
    if now >= token.expires_at:
        raise NotProven(f"The proof of {token.name} has expired.", _AGAIN)
    if now < token.made_at - _CLOCK_MAY_DIFFER_S:
        raise NotProven(f"The proof of {token.name} is from the future: the clock was set back.", _AGAIN)


def _same(one: dict[str, Setting], other: dict[str, Setting]) -> bool:
    """Equal, and of the same kinds: to Python, True is 1 and 1.0 as well."""
    return msgspec.json.encode(one, order="sorted") == msgspec.json.encode(other, order="sorted")


class Tokens:
    """The key, and the folder of tokens that it signed. Methods may be called from any thread."""

    def __init__(self, state: Path) -> None:
        """``state`` is the helper's own folder. Raises BadFile when it, or the key in it, cannot be used."""
        self._folder = state / "tokens"
        self._turn = threading.Lock()
        try:
            _make_state(state)
            self._folder.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise _unusable(state, error) from error
        self.key = Key(state / "key")

    def issue(self, report: Report, wanted: Wanted, *, generated: bool, now: float | None = None) -> str:
        """Sign what a report found, and keep both; returns the token as text.

        Raises NotProven for a report that is not about ``wanted`` or did not pass, and BadFile when it cannot be kept.
        """
        now = time.time() if now is None else now
        if report.verdict == "fail" or report.kernel is None:
            raise NotProven(f"The verifier did not pass {report.name}.", "See its report.")
        token = Token(
            name=report.name,
            digest=report.digest,
            settings=report.settings,
            kernel=wanted.kernel,
            rules=report.rules,
            arguments=wanted.arguments,
            verdict=report.verdict,
            report=_fingerprint(report),
            quick=report.quick,
            generated=generated,
            made_at=now,
            expires_at=now + LASTS_S,
        )
        check(token, wanted, now)
        text = self.key.sign(token)
        entry = msgspec.json.encode(_Entry(text, report))
        if len(entry) > _ENTRY_LIMIT_BYTES:
            raise NotProven(f"The report on {report.name} is longer than any real one.", _AGAIN)
        with self._turn:
            _write(self._folder / _entry_name(wanted), entry)
            self._prune(now)
        return text

    def find(self, wanted: Wanted, now: float | None = None) -> tuple[str, Token, Report]:
        """The token for this that is kept, as text and as it is, and its report. Raises NotProven when none holds."""
        try:
            text, token, report = self._read(self._folder / _entry_name(wanted))
        except FileNotFoundError:
            raise NotProven(
                "The helper's own verification has not passed this object with these settings.", _AGAIN
            ) from None
        check(token, wanted, now)
        return text, token, report

    def kept(self, now: float | None = None) -> tuple[list[Token], list[str]]:
        """The tokens that have not expired, newest first, and a sentence for each file that is no token."""
        now = time.time() if now is None else now
        found, problems = [], []
        for path in self._entries():
            try:
                token = self._read(path)[1]
            except FileNotFoundError:
                continue
            except (BadFile, NotProven) as error:
                problems.append(f"{path.name}: {error.message}")
                continue
            if now < token.expires_at:
                found.append(token)
        return sorted(found, key=lambda each: each.made_at, reverse=True), problems

    def _read(self, path: Path) -> tuple[str, Token, Report]:
        """Raises FileNotFoundError, BadFile for what is no entry, and NotProven for what was not signed here."""
        try:
            with _opened(path) as file:
                entry = msgspec.json.decode(file.read(_ENTRY_LIMIT_BYTES), type=_Entry)
        except FileNotFoundError:
            raise
        except (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise BadFile(f"The kept token is damaged and not used ({error}).", _AGAIN) from error
        token = self.key.read(entry.token)
        if token.report != _fingerprint(entry.report):
            raise BadFile("The kept token's report was changed, so it is not used.", _AGAIN)
        return entry.token, token, entry.report

    def _entries(self) -> Iterator[Path]:
        with contextlib.suppress(OSError):
            yield from (each for each in sorted(self._folder.iterdir()) if _ENTRY.fullmatch(each.name))

    def _prune(self, now: float) -> None:
        """Forget what expired, what half-written files a killed helper left, and the oldest beyond MOST_KEPT."""
        held: list[tuple[float, Path]] = []
        for path in self._entries():
            with contextlib.suppress(OSError, BadFile, NotProven):
                token = self._read(path)[1]
                if now < token.expires_at:
                    held.append((token.made_at, path))
                    continue
            _remove(path)
        for _, path in sorted(held, reverse=True)[MOST_KEPT:]:
            _remove(path)
        for path in self._folder.glob(".new-*"):
            _remove(path)


def _make_state(state: Path) -> None:
    """A folder that others may pass through, as the verifier must, and not change. Raises BadFile, OSError."""
    if not state.is_dir():
        state.mkdir(parents=True)
        state.chmod(0o711)
    found = state.stat()
    if found.st_uid != os.geteuid() or found.st_mode & 0o022:
        raise BadFile(
            f"Others can change {state}, so nothing in it is trusted.", "Set it up again: sudo schedtui setup"
        )


def _entry_name(wanted: Wanted) -> str:
    """One for each object, settings, arguments and kernel: a newer proof takes the place of the older."""
    named = (
        wanted.digest,
        msgspec.json.encode(wanted.settings, order="sorted").decode(),
        wanted.arguments,
        wanted.kernel.build_id,
        wanted.kernel.btf_hash,
    )
    return f"{hashlib.sha256(msgspec.json.encode(named)).hexdigest()}.json"


def _fingerprint(report: Report) -> str:
    return hashlib.sha256(msgspec.json.encode(report)).hexdigest()


def _opened(path: Path) -> IO[bytes]:
    """For reading, and no link."""
    return os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC), "rb")


def _remove(path: Path) -> None:
    with contextlib.suppress(OSError):
        path.unlink()


def _write(path: Path, content: bytes) -> None:
    """All of it or nothing, also when the power fails. Raises BadFile."""
    try:
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".new-", delete=False) as new:
            try:
                new.write(content)
                new.flush()
                os.fsync(new.fileno())
                Path(new.name).replace(path)
            except BaseException:
                _remove(Path(new.name))
                raise
    except OSError as error:
        raise BadFile(
            f"The proof passed, but its token cannot be kept in {path.parent}: {error.strerror}.",
            "Free some space there, and try again.",
        ) from error


def _read_key(path: Path) -> bytes | None:
    """None when there is none yet. Raises BadFile for one that cannot be trusted."""
    try:
        with _opened(path) as file:
            found = os.fstat(file.fileno())
            content = file.read(KEY_BYTES + 1) if stat.S_ISREG(found.st_mode) else b""
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _unusable(path, error) from error
    wrong = ""
    if not stat.S_ISREG(found.st_mode):
        wrong = "it is no plain file"
    elif found.st_uid != os.geteuid():
        wrong = f"it belongs to user {found.st_uid}"
    elif found.st_mode & 0o177:
        wrong = "others may read or change it"
    elif len(content) != KEY_BYTES:
        wrong = "it is cut short" if len(content) < KEY_BYTES else "it is too long"
    if wrong:
        raise BadFile(
            f"The helper's key {path} is not used: {wrong}.",
            f"Remove it (sudo rm {path}): a new one is made, and everything is proven anew.",
        )
    return content


def _make_key(path: Path) -> bytes:
    """A new key; the one that another helper made in the same moment counts, when there is one. Raises BadFile."""
    part = path.with_name(f".{path.name}-{secrets.token_hex(8)}")
    try:
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(secrets.token_bytes(KEY_BYTES))
            file.flush()
            os.fsync(descriptor)
        # A link, and then one name only: it appears whole, and never in place of another.
        with contextlib.suppress(FileExistsError):
            os.link(part, path)
    except OSError as error:
        raise _unusable(path, error) from error
    finally:
        _remove(part)
    made = _read_key(path)
    if made is None:
        raise BadFile(f"The helper's key {path} was taken away in the moment in which it was made.", "Try again.")
    return made


def _unusable(path: Path, error: OSError) -> BadFile:
    return BadFile(f"{path} cannot be used: {error.strerror}.", "It must be a folder of root's, with some space left.")
