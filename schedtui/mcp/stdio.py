"""One client on stdin and stdout, until it closes stdin or a signal ends the server; then everything is let go of.

Nothing but the protocol is written to stdout, whatever a library or a child prints: it goes to stderr. A client that
floods is read no faster than it reads the answers, and a line that is too long is thrown away unread.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import logging
import os
import signal
import threading
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, Any

import anyio
import mcp_types as types
from mcp.shared.message import SessionMessage

from schedtui.mcp.server import build

if TYPE_CHECKING:
    from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

    from schedtui.mcp.client import Client
    from schedtui.mcp.place import Place

LONGEST_LINE = 4 << 20
"""Bytes of one message."""
UNANSWERED = 64
"""Requests that may be open; no further one is read before one of them is answered."""
_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
_CHUNK = 1 << 16
_AT_ONCE = 4096
"""Bytes that a pipe takes without blocking once it can be written to (PIPE_BUF)."""
_LOG = logging.getLogger("mcp.schedtui")


class _Only:
    """The one client of stdio, made when it is first needed: what it needs takes a moment to import."""

    def __init__(self, place: Place, name: str) -> None:
        self._place = place
        self._name = name
        self._lock = threading.Lock()
        self._client: Client | None = None

    def __call__(self, _context: Any = None) -> Client:
        from schedtui.mcp.client import Client

        with self._lock:
            if self._client is None:
                self._client = Client(self._place, self._name)
            return self._client

    def prepare(self) -> None:
        """Open the machine and make the client, once the first answer is out."""
        self._place.begin()
        self()


def serve(place: Place, name: str) -> int:
    """Serve until stdin ends (0), or a signal comes (its number). The place is closed then."""
    _log_in_lines()
    wire = [fcntl.fcntl(each, fcntl.F_DUPFD_CLOEXEC, 3) for each in (0, 1)]
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    try:
        return asyncio.run(_serve(place, name, *wire))
    finally:
        place.close()
        for each in wire:
            os.close(each)


async def _serve(place: Place, name: str, read_from: int, write_to: int) -> int:
    ended_by = 0
    only = _Only(place, name)
    server = build(only)
    scope = anyio.CancelScope()

    def end(number: int) -> None:
        nonlocal ended_by
        ended_by = ended_by or number
        scope.cancel()

    loop = asyncio.get_running_loop()
    for each in _SIGNALS:
        if signal.getsignal(each) != signal.SIG_IGN:
            loop.add_signal_handler(each, end, each)
    with scope:
        async with _streams(read_from, write_to, only.prepare) as (read, write):
            await server.run(read, write, server.create_initialization_options())
    with anyio.CancelScope(shield=True):
        await asyncio.to_thread(place.close)
    return ended_by


@contextlib.asynccontextmanager
async def _streams(
    read_from: int, write_to: int, first_answered: Callable[[], object]
) -> AsyncIterator[
    tuple[MemoryObjectReceiveStream[SessionMessage | Exception], MemoryObjectSendStream[SessionMessage]]
]:
    """The two streams of the protocol over two descriptors. ``first_answered`` is called in a thread of its own."""
    to_server, read = anyio.create_memory_object_stream[SessionMessage | Exception](0)
    write, from_server = anyio.create_memory_object_stream[SessionMessage](0)
    traffic = _Traffic()

    async def reading() -> None:
        with contextlib.suppress(anyio.BrokenResourceError, anyio.ClosedResourceError, OSError):
            async with to_server:
                async for line in _lines(read_from):
                    message = _understood(line)
                    await traffic.came(message)
                    await to_server.send(message)

    async def writing() -> None:
        preparing = threading.Thread(target=_quietly, args=(first_answered,), daemon=True)
        async with from_server:
            async for message in from_server:
                line = message.message.model_dump_json(by_alias=True, exclude_unset=True).encode()
                try:
                    await _written(write_to, line + b"\n")
                except OSError:  # the client reads no more: as if it had closed
                    group.cancel_scope.cancel()
                    return
                traffic.went(message)
                if preparing.ident is None:
                    preparing.start()

    async with anyio.create_task_group() as group:
        group.start_soon(reading)
        group.start_soon(writing)
        yield read, write
        group.cancel_scope.cancel()


class _Traffic:
    """Requests that were read and not answered yet."""

    def __init__(self) -> None:
        self._open: set[types.RequestId] = set()
        self._fewer = asyncio.Event()

    async def came(self, message: SessionMessage | Exception) -> None:
        """Wait until another one may be read."""
        if isinstance(message, Exception):
            return
        match message.message:
            case types.JSONRPCRequest(id=id):
                while len(self._open) >= UNANSWERED:
                    self._fewer.clear()
                    await self._fewer.wait()
                self._open.add(id)
            case types.JSONRPCNotification(method="notifications/cancelled", params={"requestId": str() | int() as id}):
                self._done(id)

    def went(self, message: SessionMessage) -> None:
        """One was answered."""
        match message.message:
            case types.JSONRPCResponse(id=id) | types.JSONRPCError(id=id) if id is not None:
                self._done(id)

    def _done(self, id: types.RequestId) -> None:
        self._open.discard(id)
        self._fewer.set()


async def _lines(descriptor: int) -> AsyncIterator[bytes]:
    """Lines, without those that are too long."""
    pending = bytearray()
    skipping = False
    while True:
        with contextlib.suppress(PermissionError):  # a file: it can always be read
            await anyio.wait_readable(descriptor)
        chunk = os.read(descriptor, _CHUNK)
        if not chunk:
            return
        *whole, rest = chunk.split(b"\n")
        for each in whole:
            pending += each
            if not skipping and pending.strip():
                yield bytes(pending)
            pending.clear()
            skipping = False
        pending += rest
        if len(pending) > LONGEST_LINE:
            if not skipping:
                _LOG.warning("A message of more than %d bytes was thrown away.", LONGEST_LINE)
            skipping = True
            pending.clear()


async def _written(descriptor: int, line: bytes) -> None:
    view = memoryview(line)
    while view:
        with contextlib.suppress(PermissionError):
            await anyio.wait_writable(descriptor)
        view = view[os.write(descriptor, view[:_AT_ONCE]) :]


def _understood(line: bytes) -> SessionMessage | Exception:
    try:
        return SessionMessage(types.jsonrpc_message_adapter.validate_json(line, by_name=False))
    except Exception as error:  # noqa: BLE001  whatever a client sends: the SDK is told, and goes on
        return error


def _quietly(act: Callable[[], object]) -> None:
    """What fails here fails again, and is told, when it is needed."""
    with contextlib.suppress(Exception):
        act()


def _log_in_lines() -> None:
    """What the SDK has to say goes to stderr, a line each and no traceback."""
    handler = logging.StreamHandler()
    handler.setFormatter(_Line("schedtui mcp: %(message)s"))
    logging.getLogger("mcp").addHandler(handler)
    logging.getLogger("mcp").propagate = False


class _Line(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        """One line; of an exception its last."""
        record.exc_text = None
        said = record.getMessage().replace("\n", " ")[:500]
        fault = record.exc_info[1] if record.exc_info else None
        return f"schedtui mcp: {said}{f' ({type(fault).__name__})' if fault else ''}"
