"""The client's end of the helper's protocol: calls from any thread, answers matched by id, the newest Frames kept."""

from __future__ import annotations

import array
import contextlib
import itertools
import queue
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from pathlib import Path

from schedtui.backend.errors import BadMessage, HelperGone, NotPermitted, SchedtuiError
from schedtui.backend.helper import protocol
from schedtui.backend.helper.protocol import Body, Reply, Request
from schedtui.backend.model import Frame

_FRAMES_KEPT = 16
_UNSUBSCRIBE_S = 2
_SEND_LIMIT_S = 10
"""A helper that takes nothing for so long has stopped."""
_CONNECT_LIMIT_S = 5

Told = Callable[[str], None]
"""Called with what is being done for a long request."""


def connect(path: Path, *, owner: int = 0) -> HelperClient:
    """A client of the helper that listens at ``path``, which must run as user ``owner``.

    Raises FileNotFoundError when none listens there, NotPermitted when somebody else does, HelperGone when it is
    stopped.
    """
    link = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        # A blocking connect waits for its turn when many knock; one with Python's timeout would fail at once.
        link.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", _CONNECT_LIMIT_S, 0))
        link.connect(str(path))
        _, uid, _ = struct.unpack("3i", link.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
        if uid != owner:
            raise NotPermitted(
                f"What listens at {path} is no helper of root's: user {uid} runs it.", "Run: sudo schedtui setup"
            )
    except (FileNotFoundError, ConnectionRefusedError) as error:
        link.close()
        raise FileNotFoundError(path) from error
    except OSError as error:
        link.close()
        raise HelperGone(f"The helper cannot be reached: {error.strerror or error}.", "Run: schedtui doctor") from error
    except NotPermitted:
        link.close()
        raise
    return HelperClient(link)


class HelperClient:
    """Speaks to one helper over a connected stream socket, which it owns."""

    def __init__(self, link: socket.socket) -> None:
        self._link = link
        self._ids = itertools.count(1)
        self._waiting: dict[int, Future[Reply]] = {}
        self._told: dict[int, Told] = {}
        self._lock = threading.Lock()
        self._write_lock = threading.RLock()
        self._torn = False
        """The last message was cut short: the next one begins with the end of its line."""
        link.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", _SEND_LIMIT_S, 0))
        self._gone: SchedtuiError | None = None
        self._over = threading.Event()
        self._refused: SchedtuiError | None = None
        """Why the helper is about to end the connection, as it said."""
        self._latched = False
        """Panic was asked for and not released since: a helper that takes over must know."""
        self._interval_s = 0.0
        self._stream = object()
        self._frames: queue.Queue[Frame | None] = queue.Queue(_FRAMES_KEPT)
        threading.Thread(target=self._read, name="helper-client", daemon=True).start()

    def call(
        self, body: Body, timeout_s: float = 30, *, progress: Told | None = None, fds: Sequence[int] = ()
    ) -> Reply:
        """Send one request, with descriptors (they stay the caller's), and wait for its answer.

        ``progress`` is called from another thread, with what is being done meanwhile. Raises what the helper raised,
        HelperGone when it went away, or when it did not answer in time.
        """
        request = Request(next(self._ids), body)
        future: Future[Reply] = Future()
        if isinstance(body, protocol.DoPanic):
            self._latched = True
        with self._lock:
            if self._gone:
                raise self._gone
            self._waiting[request.id] = future
            if progress:
                self._told[request.id] = progress
        try:
            self._send(request, timeout_s, fds)
            reply = future.result(timeout_s)
        except TimeoutError as error:  # first: it is an OSError too, and says nothing of the kernel's scheduler
            raise HelperGone(f"The helper did not answer within {timeout_s:.0f} s.") from error
        except OSError as error:
            self._over.wait(1)  # what it said last may still be on its way
            raise self._refused or _went_away() from error
        finally:
            with self._lock:
                self._waiting.pop(request.id, None)
                self._told.pop(request.id, None)
        if reply.failure:
            raise protocol.error_of(reply.failure)
        if isinstance(body, protocol.Unlatch):
            self._latched = False
        return reply

    @property
    def gone(self) -> bool:
        """The connection has ended."""
        return self._gone is not None

    def hello(self, timeout_s: float = 10) -> Reply:
        """Greet the helper, giving it the time of day; the answer holds its MachineInfo and the scheduler."""
        return self.call(protocol.Hello(protocol.VERSION, time.time_ns()), timeout_s)

    def frames(self, interval_s: float) -> Iterator[Frame]:
        """Frames from now until the connection ends. Raises HelperGone when it ends by itself."""
        with contextlib.suppress(queue.Empty):  # the last of an earlier stream
            while self._frames.get_nowait() is not None:
                pass
        stream = self._stream = object()
        self._interval_s = interval_s
        self.call(protocol.Subscribe(interval_s))
        try:
            while (frame := self._frames.get()) is not None:
                yield frame
        finally:
            if self._stream is stream:  # else somebody else looks already
                self._interval_s = 0.0
                with contextlib.suppress(SchedtuiError):
                    self.call(protocol.Subscribe(0), _UNSUBSCRIBE_S)
        if self._gone and self._gone.message:
            raise self._gone

    def close(self) -> None:
        """Let go of the helper; waiting calls end with HelperGone."""
        self._end(HelperGone(""))
        with contextlib.suppress(OSError):
            self._link.shutdown(socket.SHUT_RDWR)
        self._link.close()

    def _send(self, request: Request, timeout_s: float, fds: Sequence[int] = ()) -> None:
        """Raises TimeoutError when the helper does not take it, or another message before it, in time."""
        line = protocol.encode(request)
        try:  # a signal may raise anywhere in here: neither half a line nor the lock must stay behind
            if not self._write_lock.acquire(timeout=timeout_s):
                raise TimeoutError
            torn, self._torn = self._torn, True
            line = b"\n" + line if torn else line
            if fds:
                rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))
                line = line[self._link.sendmsg([line], [rights]) :]
            self._link.sendall(line)
            self._torn = False
        except BlockingIOError as error:
            raise TimeoutError from error
        finally:
            with contextlib.suppress(RuntimeError):  # it was not acquired
                self._write_lock.release()

    def _read(self) -> None:
        pending = bytearray()
        try:
            while data := self._link.recv(1 << 18):
                pending += data
                while (end := pending.find(b"\n")) >= 0:
                    line = bytes(pending[:end])
                    del pending[: end + 1]
                    self._deliver(line)
                if len(pending) > protocol.MAX_REPLY_BYTES:
                    raise BadMessage("The helper sent a message without end.")
        except (OSError, BadMessage):
            pass
        self._end(self._refused or _went_away())

    def _deliver(self, line: bytes) -> None:
        if not line:
            return
        try:
            reply = protocol.decode_reply(line)
        except BadMessage:
            return  # the half line of a helper that was killed while it wrote
        if reply.id == 0 and reply.info is not None:
            self._start_again()
            return
        if reply.frame is not None:
            self._offer(reply.frame)
            return
        if reply.id == 0 and reply.failure is not None:
            self._refused = protocol.error_of(reply.failure)
            return
        with self._lock:
            told = self._told.get(reply.id)
            future = None if reply.progress else self._waiting.pop(reply.id, None)
        if reply.progress and told:
            told(reply.progress)
        if future:
            future.set_result(reply)

    def _start_again(self) -> None:
        """The helper died and another took its place.

        What was asked of the old one is lost; the stream goes on, and so does the latch of a panic.
        """
        with self._lock:
            waiting, self._waiting = self._waiting, {}
        lost = HelperGone("The helper ended while it worked, and was started again.", "Try once more.")
        for future in waiting.values():
            future.set_exception(lost)
        if self._latched:
            self._tell(protocol.DoPanic())
        if self._interval_s:
            self._tell(protocol.Subscribe(self._interval_s))

    def _tell(self, body: Body) -> None:
        """Send a request whose answer nobody waits for."""
        with contextlib.suppress(OSError):
            self._send(Request(next(self._ids), body), _SEND_LIMIT_S)

    def _offer(self, frame: Frame | None) -> None:
        while True:
            try:
                self._frames.put_nowait(frame)
                return
            except queue.Full:
                with contextlib.suppress(queue.Empty):
                    self._frames.get_nowait()

    def _end(self, reason: SchedtuiError) -> None:
        with self._lock:
            if self._gone:
                return
            self._gone = reason
            waiting, self._waiting = self._waiting, {}
        for future in waiting.values():
            future.set_exception(reason)
        self._over.set()
        self._offer(None)


def _went_away() -> HelperGone:
    return HelperGone("The helper went away.", "The kernel is back on its own scheduler by itself.")
