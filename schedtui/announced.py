"""What a server for other programs (``schedtui mcp``) announces of itself on this computer, and what a person at a
watcher may ask of it: the messages, where the sockets lie, and how lines are cut.

Both sides are the same user's: the folder lets nobody else in, and each side asks the kernel who the other is. Who
listens is mcp/announce.py's, who watches clients.py's.
"""

from __future__ import annotations

import contextlib
import os
import socket
import stat
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import msgspec
from msgspec import Struct

from schedtui.agent.events import AnyEvent
from schedtui.backend.errors import BadFile, BadMessage
from schedtui.backend.model import Deployment, SchedExt
from schedtui.paths import data_dir

VERSION = 1
LONGEST_NEWS = 1 << 20
"""Bytes of one line from a server."""
LONGEST_WISH = 16 << 10
"""Bytes of one line from a watcher."""
ALIVE_EACH_S = 5.0
"""So often a watcher with a person says that it is there."""
ENDING = ".sock"
_PRIVATE = 0o700


class Share(Struct, frozen=True, kw_only=True):
    """Of one thing that a client may spend."""

    what: str
    """'calls'."""
    spent: float
    limit: float
    per: Literal["minute", "hour"]
    """In how long."""


class ClientSeen(Struct, frozen=True, kw_only=True):
    """One connected program, as it is now."""

    id: int
    """In this server, never given twice."""
    name: str
    """Its identity: whom trust, allowance and audit know."""
    label: str = ""
    """What it calls itself, cleaned; proves nothing."""
    since: float
    """Unix time."""
    may: str = ""
    """What it may do without asking, in words: 'may only propose'."""
    shares: tuple[Share, ...] = ()
    """What it may spend, and what it has spent."""
    deployment: Deployment | None = None
    """The last that it began."""
    taken: bool = False
    """A person took the machine back from it, and has not given it back."""


class MachineSeen(Struct, frozen=True, kw_only=True):
    """The server's machine in a few numbers, so that a person sees what a client does to it."""

    scheduler: str
    state: SchedExt
    used_percent: float
    """Of all CPUs together."""
    p50_us: float | None = None
    p99_us: float | None = None
    """Of wake-ups; None where they are not measured."""
    latched: bool = False


class News(Struct, frozen=True, kw_only=True, tag_field="news"):
    """What a server says."""


class Hello(News, frozen=True, kw_only=True, tag="hello"):
    """The first line."""

    version: int
    pid: int
    machine: Literal["host", "lab", "replay"]
    kernel: str = ""
    """Empty until the machine is open."""
    began: float
    """Unix time."""


class Seen(News, frozen=True, kw_only=True, tag="client"):
    """A client came, or is not as it was."""

    client: ClientSeen


class Gone(News, frozen=True, kw_only=True, tag="gone"):
    """A client is no longer connected."""

    id: int
    why: str


class Happened(News, frozen=True, kw_only=True, tag="event"):
    """A client did something, or something came of it."""

    id: int
    at: float
    """Unix time."""
    event: AnyEvent


class CaughtUp(News, frozen=True, kw_only=True, tag="caught-up"):
    """What was before a watcher came is told; from here on it is what happens."""


class Watched(News, frozen=True, kw_only=True, tag="machine"):
    """The machine, once a second."""

    kernel: str = ""
    machine: MachineSeen


class Done(News, frozen=True, kw_only=True, tag="done"):
    """What came of a wish."""

    number: int
    ok: bool
    text: str
    """A sentence for the person."""


AnyNews = Hello | Seen | Gone | Happened | CaughtUp | Watched | Done


class Wish(Struct, frozen=True, kw_only=True, tag_field="wish", forbid_unknown_fields=True):
    """What a watcher says. ``number`` comes back with what came of it."""

    number: int = 0


class Here(Wish, frozen=True, kw_only=True, tag="here"):
    """A person can be asked here; said again every few seconds."""


class Answer(Wish, frozen=True, kw_only=True, tag="answer"):
    """A person's answer to what a client's work asked."""

    client: int
    question: str
    choice: str


class TakeBack(Wish, frozen=True, kw_only=True, tag="take-back"):
    """The machine belongs to the person again: what the client works on ends, what it deployed goes."""

    client: int | None = None
    """None: from all."""


class GiveBack(Wish, frozen=True, kw_only=True, tag="give-back"):
    """The client may go on."""

    client: int | None = None


class Disconnect(Wish, frozen=True, kw_only=True, tag="disconnect"):
    """The client is sent away."""

    client: int


AnyWish = Here | Answer | TakeBack | GiveBack | Disconnect

_NEWS: msgspec.json.Decoder[AnyNews] = msgspec.json.Decoder(AnyNews)
_WISHES: msgspec.json.Decoder[AnyWish] = msgspec.json.Decoder(AnyWish)


def line_of(message: News | Wish) -> bytes:
    """A message as it is sent."""
    return msgspec.json.encode(message) + b"\n"


def news_of(line: bytes) -> AnyNews:
    """Raises BadMessage."""
    try:
        return _NEWS.decode(line)
    except (msgspec.DecodeError, RecursionError) as error:
        raise BadMessage(f"A server says something that is no news: {error}") from error


def wish_of(line: bytes) -> AnyWish:
    """Raises BadMessage."""
    try:
        return _WISHES.decode(line)
    except (msgspec.DecodeError, RecursionError) as error:
        raise BadMessage(f"A watcher wants something that is no wish: {error}") from error


class Lines:
    """Cuts what arrives into lines."""

    def __init__(self, longest: int) -> None:
        self._longest = longest
        self._rest = bytearray()

    def add(self, data: bytes) -> list[bytes]:
        """The lines that are whole now. Raises BadMessage when one is too long."""
        self._rest += data
        *whole, rest = self._rest.split(b"\n")
        if len(rest) > self._longest or any(len(each) > self._longest for each in whole):
            raise BadMessage("A line is longer than anything that is said here.")
        self._rest = bytearray(rest)
        return [bytes(each) for each in whole if each]


# Where the sockets lie


def folders() -> list[Path]:
    """Where servers of this user announce themselves: in the first, or where that cannot be, in the second."""
    wanted = os.environ.get("XDG_RUNTIME_DIR", "")
    runtime = Path(wanted) if wanted.startswith("/") else Path(f"/run/user/{os.getuid()}")
    return [runtime / "schedtui" / "mcp", data_dir() / "mcp"]


def own_folder() -> Path:
    """The folder to announce in; made when it is not there. Raises BadFile when none can be had."""
    problem = ""
    for folder in folders():
        try:
            if folder.parent.parent.is_dir() or folder.is_relative_to(data_dir()):
                folder.mkdir(parents=True, mode=_PRIVATE, exist_ok=True)
                if _is_ours(folder.lstat()):
                    folder.chmod(_PRIVATE)
                    return folder
                problem = f"{folder} is not yours alone."
        except OSError as error:
            problem = f"{folder} cannot be made: {error.strerror}."
    raise BadFile(f"No screen can show what other programs do here: {problem}", "Make the folder writable for you.")


def _is_ours(found: os.stat_result) -> bool:
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid()


def announced() -> list[Path]:
    """The sockets that lie there, of servers that live or lived."""
    found: list[Path] = []
    for folder in folders():
        with contextlib.suppress(OSError):
            there = folder.lstat()
            if _is_ours(there) and stat.S_IMODE(there.st_mode) == _PRIVATE:
                found += [each for each in folder.iterdir() if each.name.endswith(ENDING)]
    return sorted(found)


def connect(path: Path) -> socket.socket | None:
    """A connection to a server of this user; None where none listens, and then its socket is cleared away."""
    link = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    link.setblocking(False)  # a server that hangs is not waited for
    try:
        with short(path) as name:
            link.connect(name)
        if peer(link)[1] == os.getuid():
            return link
    except ConnectionRefusedError:
        with contextlib.suppress(OSError):
            path.unlink()
    except OSError:
        pass
    link.close()
    return None


@contextlib.contextmanager
def short(path: Path) -> Iterator[str]:
    """A name for a socket that is short enough for the kernel, wherever its folder lies. Raises OSError."""
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)


def peer(link: socket.socket) -> tuple[int, int]:
    """The process at the other end, and its user. Raises OSError."""
    pid, uid, _ = struct.unpack("iII", link.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    return pid, uid
