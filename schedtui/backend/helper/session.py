"""One client of the helper: what it sent so far, what it still has to get, and what it subscribed to.

Bytes become requests here, and replies become bytes; what a request does is the handlers'. Nothing here waits for the
client: what it does not read is kept up to a limit, and then the session ends.
"""

from __future__ import annotations

import array
import contextlib
import os
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import Protocol

import msgspec
from msgspec import Struct

from schedtui.backend.errors import BadMessage, SchedtuiError
from schedtui.backend.helper import protocol
from schedtui.backend.helper.protocol import Reply, Request
from schedtui.backend.model import Event
from schedtui.backend.probes.sampler import Watcher

_READ_BYTES = 1 << 16
_MAX_EVENTS = 100
_KERNEL_MAX_FILES = 253
"""SCM_MAX_FD: the most descriptors that the kernel passes with one message. Room for all of them is always given, so
that none is closed by the kernel in our name, where closing may wait for its owner."""


class Limits(Struct, frozen=True, kw_only=True):
    """What one client may ask of the helper."""

    message_bytes: int = protocol.MAX_REQUEST_BYTES
    unread_bytes: int = protocol.MAX_REPLY_BYTES
    """A client that leaves more than this unread is let go."""
    messages_per_s: float | None = None
    """It is read from no faster than this, after a burst of four seconds' worth; None: as fast as it sends."""
    half_message_s: float | None = None
    """A message must be complete within this time of its first byte; None: whenever it comes."""
    unanswered: int = 64
    """Requests that change or compute something, and wait for their turn."""
    files: int = 0
    """Descriptors that came with messages and were not taken yet; more end the session."""
    greets_first: bool = False
    """Only a Hello of the same version opens the session."""


class Channel(Protocol):
    """Where a client is reached; never blocks."""

    fileno: int
    """For polling."""

    def read(self) -> tuple[bytes, list[int]] | None:
        """What came, with its descriptors; empty bytes at the end, None when nothing is there now. Raises OSError."""
        ...

    def write(self, data: memoryview) -> int:
        """How much was taken; 0 when nothing can be now. Raises OSError."""
        ...

    def end(self) -> None:
        """Make the other side, and whoever polls, see the end; it is closed elsewhere."""
        ...


class SocketChannel:
    """A connected stream socket."""

    def __init__(self, link: socket.socket) -> None:
        link.setblocking(False)
        self.link = link
        self.fileno = link.fileno()

    def read(self) -> tuple[bytes, list[int]] | None:
        """See Channel."""
        room = socket.CMSG_SPACE(_KERNEL_MAX_FILES * array.array("i").itemsize)
        try:
            data, control, _, _ = self.link.recvmsg(_READ_BYTES, room, socket.MSG_CMSG_CLOEXEC)
        except (BlockingIOError, InterruptedError):
            return None
        files = array.array("i")
        for level, kind, content in control:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                files.frombytes(content[: len(content) - len(content) % files.itemsize])
        return data, files.tolist()

    def write(self, data: memoryview) -> int:
        """See Channel."""
        try:
            return self.link.send(data, socket.MSG_NOSIGNAL)
        except (BlockingIOError, InterruptedError):
            return 0

    def end(self) -> None:
        """See Channel."""
        with contextlib.suppress(OSError):
            self.link.shutdown(socket.SHUT_RDWR)


class PortChannel:
    """A port of the lab's guest: a device that both sides may leave and come back to."""

    def __init__(self, descriptor: int) -> None:
        os.set_blocking(descriptor, False)
        self.fileno = descriptor

    def read(self) -> tuple[bytes, list[int]] | None:
        """See Channel; a virtio port whose host side is away reads as ended, but may come back."""
        try:
            data = os.read(self.fileno, _READ_BYTES)
        except (BlockingIOError, InterruptedError):
            return None
        if not data:
            time.sleep(0.01)
            return None
        return data, []

    def write(self, data: memoryview) -> int:
        """See Channel."""
        try:
            return os.write(self.fileno, data)
        except (BlockingIOError, InterruptedError):
            return 0

    def end(self) -> None:
        """It has no end."""


class Pace:
    """A token bucket: so many a second, and a burst of four seconds' worth."""

    def __init__(self, per_s: float) -> None:
        self._per_s = per_s
        self._tokens = self._most = 4 * per_s
        self._then = time.monotonic()

    def take(self) -> None:
        """One was done."""
        self._refill()
        self._tokens -= 1

    def wait_s(self) -> float:
        """How long until the next may be done; 0 when now."""
        self._refill()
        return 0.0 if self._tokens >= 1 else (1 - self._tokens) / self._per_s

    def _refill(self) -> None:
        now = time.monotonic()
        self._tokens = min(self._most, self._tokens + (now - self._then) * self._per_s)
        self._then = now


class Session:
    """One client. The server's loop reads and ends it; any thread may send to it."""

    def __init__(
        self,
        channel: Channel,
        limits: Limits,
        uid: int,
        pid: int,
        watcher: Watcher,
        discard: Callable[[int], None],
        wants_writing: Callable[[Session], None],
    ) -> None:
        self.channel = channel
        self.limits = limits
        self.uid = uid
        """The client's user id, as the kernel vouches for it."""
        self.pid = pid
        """The client's process when it connected; 0 where that is not known. It may be another's by now."""
        self.watcher = watcher
        self.greeted = not limits.greets_first
        self.gone = False
        """It has ended; see control.Holder."""
        self.interval_s = 0.0
        """Between Frames; 0: none are wanted."""
        self.due: float | None = None
        """Monotonic time of the next Frame; None: the stream begins with a baseline."""
        self.not_before = 0.0
        """Monotonic time before which not even an event makes a Frame."""
        self.unanswered = 0
        self._pace = Pace(limits.messages_per_s) if limits.messages_per_s else None
        self._discard = discard
        self._wants_writing = wants_writing
        self._pending = bytearray()
        self._pending_since = 0.0
        self._overflowing = False
        self._files: deque[int] = deque()
        self._events: deque[Event] = deque(maxlen=_MAX_EVENTS)
        self._write_lock = threading.Lock()
        self._count_lock = threading.Lock()
        self._unsent = bytearray()
        self._lags = False
        """The client did not take all; told apart from what another thread is just about to send."""

    # What comes in: the loop's thread alone.

    def receive(self) -> Iterator[Request]:
        """The requests that arrived whole. Ends the session when its client has gone or breaks a limit."""
        try:
            got = self.channel.read()
        except OSError:
            self.end()
            return
        if got is None:
            return
        data, files = got
        self._keep(files)
        if not data:
            self.end()
            return
        if not self._pending:
            self._pending_since = time.monotonic()
        self._pending += data
        yield from self.waiting_requests()

    def waiting_requests(self) -> Iterator[Request]:
        """What was received whole and is not too fast."""
        while not self.gone and not self.held_s() and (end := self._pending.find(b"\n")) >= 0:
            line = bytes(self._pending[:end])
            del self._pending[: end + 1]
            self._pending_since = time.monotonic()
            if self._overflowing:
                self._overflowing = False
            elif (request := self._read(line)) is not None:
                yield request
        if len(self._pending) > self.limits.message_bytes and b"\n" not in self._pending:
            if not self._overflowing:
                self.fail(0, BadMessage(f"A message was longer than {_size(self.limits.message_bytes)}: dropped."))
            self._overflowing = True
            self._pending.clear()

    def held_s(self) -> float:
        """How long to read nothing from it, because it sends too fast."""
        return self._pace.wait_s() if self._pace else 0.0

    def overdue(self, now: float) -> bool:
        """Whether half a message has waited for its end too long."""
        limit_s = self.limits.half_message_s
        return bool(self._pending) and limit_s is not None and now - self._pending_since > limit_s

    @property
    def waits_for_more(self) -> bool:
        """Half a message has come."""
        return bool(self._pending)

    def take_file(self) -> int | None:
        """The first descriptor that came and was not taken; whoever takes it gives it to ``discard`` afterwards."""
        return self._files.popleft() if self._files else None

    def discard(self, descriptor: int) -> None:
        """Close it where waiting for that harms nobody."""
        self._discard(descriptor)

    # What goes out: any thread.

    def send(self, reply: Reply) -> None:
        """At once as far as the client reads; the rest when it does."""
        with self._write_lock:
            if self.gone:
                return
            self._unsent += protocol.encode(reply)
            if len(self._unsent) > self.limits.unread_bytes:
                self._unsent.clear()
                self.end()
                return
            self._write()

    def flush(self) -> None:
        """The client reads again."""
        with self._write_lock:
            self._write()

    def fail(self, request_id: int, error: SchedtuiError) -> None:
        """Answer a request, or (0) tell of the connection, with an error."""
        self.send(Reply(request_id, failure=protocol.failure_of(error)))

    def tell(self, event: Event) -> None:
        """An event for its next Frame."""
        self._events.append(event)

    def take_events(self) -> tuple[Event, ...]:
        """Those that it has not seen."""
        return tuple(self._events.popleft() for _ in range(len(self._events)))

    def frame_due(self) -> float | None:
        """Monotonic time of its next Frame: sooner when there are events; None when none is wanted or it lags."""
        if not self.interval_s or self._lags:
            return None
        if self.due is None:
            return 0.0
        return min(self.due, self.not_before) if self._events else self.due

    def waits(self, more: int) -> None:
        """Requests of it wait for their turn, or (negative) do so no more."""
        with self._count_lock:
            self.unanswered += more

    def end(self) -> None:
        """Nothing is sent or received any more; the loop then lets go of it."""
        self.gone = True
        self.interval_s = 0.0
        self.channel.end()

    def drop_files(self) -> None:
        """Let go of what came and nobody took."""
        while (descriptor := self.take_file()) is not None:
            self._discard(descriptor)

    def _write(self) -> None:
        try:
            while self._unsent:
                with memoryview(self._unsent) as view:
                    sent = self.channel.write(view)
                if not sent:
                    break
                del self._unsent[:sent]
        except OSError:
            self._unsent.clear()
            self.end()
            return
        self._lags = bool(self._unsent)
        if self._lags:
            self._wants_writing(self)

    def _read(self, line: bytes) -> Request | None:
        if self._pace:
            self._pace.take()
        if len(line) > self.limits.message_bytes:
            self.fail(0, BadMessage(f"A message was longer than {_size(self.limits.message_bytes)}: dropped."))
            return None
        try:
            return protocol.decode_request(line)
        except BadMessage as error:
            self.fail(_id_of(line), error)
            return None

    def _keep(self, files: list[int]) -> None:
        room = max(0, self.limits.files - len(self._files))
        self._files.extend(files[:room])
        for each in files[room:]:
            self._discard(each)
        if len(files) > room:
            self.fail(0, BadMessage("More files came than messages that take one."))
            self.end()


def _size(count: int) -> str:
    return f"{count >> 20} MiB" if count >= 1 << 20 else f"{count >> 10} KiB"


class _OnlyId(Struct):
    id: int


def _id_of(line: bytes) -> int:
    """The id of a request whose body was wrong, so that its sender does not wait for ever; 0 when unreadable."""
    try:
        return msgspec.json.decode(line, type=_OnlyId).id
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return 0
