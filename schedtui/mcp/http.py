"""Streamable HTTP on this computer's loopback, for programs that show a token; nothing for pages in a browser.

What reaches the protocol went through the gate first: a Host of ours (else DNS could be made to point here), no Origin
(only browsers send one), a token that is known (tokens.py), not too often, not too large, not too slow. There are no
CORS headers, so that a browser that asks gets no leave. Each token is one client (client.py), with sessions of its own;
when the last is over, or nothing was heard of it for long, the client is closed, and what it tried is taken away.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import anyio
import anyio.abc
import anyio.to_thread
import h11
import uvicorn
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from mcp.server.transport_security import TransportSecuritySettings
from msgspec import Struct
from uvicorn.protocols.http.h11_impl import H11Protocol

from schedtui.backend.errors import BadFile, Interrupted, SchedtuiError
from schedtui.mcp.allowance import Allowance
from schedtui.mcp.server import build

if TYPE_CHECKING:
    from starlette.types import Message, Receive, Scope, Send

    from schedtui.mcp.client import Client
    from schedtui.mcp.place import Place
    from schedtui.mcp.tokens import Tokens

PATH = "/mcp"
_LOOPBACK = "127.0.0.1"
_LOOPBACK_6 = "::1"
_SESSION = "mcp-session-id"
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_LARGEST_HEAD = 32 * 1024
_LOOK_S = 0.5
_GRACE_S = 3
_TRIES = 16
_SAID = {
    400: "That is no request for this server.",
    401: "A valid token is needed.",
    403: "Pages in a browser may not use this.",
    404: f"There is nothing here; the server is at {PATH}.",
    405: "GET, POST and DELETE only.",
    408: "The request came too slowly.",
    413: "The request is too large.",
    421: "This server is 127.0.0.1 and localhost, and no other.",
    429: "Too many requests; wait a moment.",
    500: "Something is wrong in schedtui.",
    503: "The server is ending.",
}


class PortTaken(SchedtuiError):
    """The port cannot be listened on."""

    kind = "port-taken"


class Limits(Struct, frozen=True, kw_only=True):
    """What anybody may take of the server."""

    body_bytes: int = 2 << 20
    """The largest arguments of a call (agent/tools.py), however they are escaped."""
    body_s: float = 15.0
    """A whole body arrives within this."""
    head_s: float = 15.0
    """So does a request's head."""
    burst: int = 120
    """Requests of one token at once,"""
    per_s: float = 20.0
    """and so many each second after that."""
    failures: int = 20
    """Wrong tokens of everybody at once,"""
    failures_per_s: float = 0.5
    """and so many each second after that."""
    sessions: int = 8
    """Of one token."""
    connections: int = 128
    idle_s: float = 900.0
    """A client without any request for so long is gone."""
    broken_s: float = 20.0
    """So is one whose standing connection broke off, or that of a call."""


def bound(port: int) -> list[socket.socket]:
    """Sockets that listen on loopback, IPv6 too where there is any; port 0 finds a free one. Raises PortTaken."""
    for _ in range(_TRIES if port == 0 else 1):
        first = _listening(socket.AF_INET, _LOOPBACK, port)
        try:
            second = _listening(socket.AF_INET6, _LOOPBACK_6, first.getsockname()[1])
        except PortTaken as error:
            first.close()
            taken = error
            continue
        except OSError:  # no IPv6 here
            return [first]
        return [first, second]
    raise taken


def serve(place: Place, tokens: Tokens, port: int, ready: Callable[[str], None], limits: Limits | None = None) -> int:
    """Serve until a signal comes; returns its number. ``ready`` gets the address. The place is closed at the end.

    Raises PortTaken, and BadFile when the tokens cannot be trusted.
    """
    tokens.names()
    try:
        sockets = bound(port)
        try:
            return anyio.run(_serve, place, tokens, sockets, ready, limits or Limits())
        finally:
            for each in sockets:
                each.close()
    finally:
        place.close()


async def _serve(
    place: Place, tokens: Tokens, sockets: list[socket.socket], ready: Callable[[str], None], limits: Limits
) -> int:
    for name in ("uvicorn", "mcp"):  # what a stranger sends is not worth a line of log each
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    port = sockets[0].getsockname()[1]
    ended: asyncio.Queue[int] = asyncio.Queue()
    for number in _SIGNALS:
        if signal.getsignal(number) != signal.SIG_IGN:  # as under nohup
            asyncio.get_running_loop().add_signal_handler(number, ended.put_nowait, number)
    async with anyio.create_task_group() as tasks:
        gate = Gate(place, tokens, port, limits, tasks)
        server = _Server(_config(gate, limits))
        tasks.start_soon(gate.look_after)
        tasks.start_soon(server.serve, sockets)
        place.begin()
        ready(f"http://{_LOOPBACK}:{port}{PATH}")
        got = await ended.get()
        await gate.close()
        server.should_exit = True
        await anyio.to_thread.run_sync(place.close)
    return got


def _config(gate: Gate, limits: Limits) -> uvicorn.Config:
    return uvicorn.Config(
        gate,
        http=_Patient,
        ws="none",
        lifespan="off",
        interface="asgi3",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        limit_concurrency=limits.connections,
        timeout_keep_alive=int(limits.head_s),
        timeout_graceful_shutdown=_GRACE_S,
        h11_max_incomplete_event_size=_LARGEST_HEAD,
    )


class _Server(uvicorn.Server):
    """Signals are heeded by ``_serve``, which lets go of the machine before it ends."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class _Patient(H11Protocol):
    """Hangs up on whoever opens a connection and then sends no whole head of a request."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._look(None)

    def _look(self, seen: object) -> None:
        if self.transport.is_closing():
            return
        if self.conn.their_state is h11.IDLE and seen is (self.cycle or self):
            self.transport.close()
            return
        self.loop.call_later(self.timeout_keep_alive, self._look, self.cycle or self)


class Gate:
    """The ASGI application: who may come in, and to which client they belong."""

    def __init__(self, place: Place, tokens: Tokens, port: int, limits: Limits, tasks: anyio.abc.TaskGroup) -> None:
        hosts = [f"{name}:{port}" for name in (_LOOPBACK, "localhost", f"[{_LOOPBACK_6}]")]
        if port == 80:
            hosts += [_LOOPBACK, "localhost", f"[{_LOOPBACK_6}]"]
        self._security = TransportSecuritySettings(allowed_hosts=hosts, allowed_origins=[])
        self._hosts = {each.encode() for each in hosts}
        self._place = place
        self._tokens = tokens
        self._limits = limits
        self._tasks = tasks
        self._visitors: dict[str, _Visitor] = {}
        self._known: dict[str, _Known] = {}
        self._opening = anyio.Lock()
        self._rates: dict[str, _Rate] = {}
        self._failures = _Rate(limits.failures, limits.failures_per_s)
        self._told = ""
        self._closed = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            return
        status, name = self._admitted(scope)
        body = b""
        if not status:
            status, body = await self._body(scope, receive)
        if status:
            await _refuse(send, status)
            return
        sent = _Sent(body, receive, send)
        try:
            visitor = await self._visitor(name)
            await visitor.handle(scope, sent)
        except Exception as fault:  # noqa: BLE001  whatever it is, the client gets an answer and no traceback
            print(f"A request failed ({type(fault).__name__}: {fault}).", file=sys.stderr, flush=True)
            if not sent.began:
                await _refuse(send, 503 if self._closed else 500)

    async def look_after(self) -> None:
        """End those that are gone, and those whose token was revoked; until it is cancelled or the gate is closed."""
        while not self._closed:
            await anyio.sleep(_LOOK_S)
            made = self._made()
            for visitor in list(self._visitors.values()):
                revoked = made.get(visitor.name) != visitor.token_made
                why = "Its token was revoked." if revoked else visitor.gone()
                if why:
                    visitor.end(why)

    async def close(self) -> None:
        """Let nobody in any more, and end all that are in."""
        self._closed = True
        visitors = list(self._visitors.values())
        for each in visitors:
            each.end("The server ended.")
        for each in visitors:
            await each.over.wait()

    def _admitted(self, scope: Scope) -> tuple[int, str]:
        """0 and the name of the program, or the status of a refusal."""
        headers: list[tuple[bytes, bytes]] = list(scope["headers"])
        if self._closed:
            return 503, ""
        if [value for key, value in headers if key == b"host"][1:] or not self._hosts & _values(headers, b"host"):
            return 421, ""
        if _values(headers, b"origin"):
            return 403, ""
        if scope["path"] != PATH:
            return 404, ""
        if scope["method"] not in ("GET", "POST", "DELETE"):
            return 405, ""
        name = self._holder(_values(headers, b"authorization"))
        if name is None:
            return (401 if self._failures.take() else 429), ""
        rate = self._rates.setdefault(name, _Rate(self._limits.burst, self._limits.per_s))
        return (0 if rate.take() else 429), name

    def _holder(self, given: set[bytes]) -> str | None:
        if len(given) != 1:
            return None
        kind, _, token = next(iter(given)).partition(b" ")
        if kind.lower() != b"bearer":
            return None
        try:
            return self._tokens.holder(token.decode("latin-1"))
        except BadFile as error:
            self._tell(f"{error.message} {error.remedy}")
            return None

    def _made(self) -> dict[str, float]:
        try:
            return self._tokens.made()
        except BadFile as error:
            self._tell(f"{error.message} {error.remedy}")
            return {}

    def _tell(self, words: str) -> None:
        if words != self._told:
            self._told = words
            print(words, file=sys.stderr, flush=True)

    async def _body(self, scope: Scope, receive: Receive) -> tuple[int, bytes]:
        """The whole body, or the status of a refusal."""
        for length in _values(scope["headers"], b"content-length"):
            if not length.isdigit() or len(length) > 12 or int(length) > self._limits.body_bytes:
                return 413, b""
        body = bytearray()
        with anyio.move_on_after(self._limits.body_s):
            while True:
                message = await receive()
                if message["type"] != "http.request":
                    return 400, b""
                body += message.get("body", b"")
                if len(body) > self._limits.body_bytes:
                    return 413, b""
                if not message.get("more_body", False):
                    return 0, bytes(body)
        return 408, b""

    async def _visitor(self, name: str) -> _Visitor:
        """The one of that name; a new one when there is none, or the last has ended."""
        async with self._opening:
            found = self._visitors.get(name)
            if found is not None and found.ending:
                await found.over.wait()
                found = None
            if found is None:
                if self._closed:
                    raise Interrupted("The server is ending.")
                known = self._known.setdefault(name, _Known())
                found = _Visitor(self._place, name, known, self._limits, self._security)
                found.token_made = self._made().get(name)
                await self._tasks.start(found.run)
                self._visitors[name] = found
            found.requests += 1  # from here on it is not idle
            return found


class _Known:
    """Of one token, for as long as the server runs: it is not to be had anew by leaving and coming back."""

    def __init__(self) -> None:
        self.allowance = Allowance()
        self.taken = False
        """A person took the machine back from it."""


class _Visitor:
    """One token's client, while it is connected: its sessions, and whether it is still there."""

    def __init__(
        self, place: Place, name: str, known: _Known, limits: Limits, security: TransportSecuritySettings
    ) -> None:
        self.name = name
        self._known = known
        self.token_made: float | None = None
        """Unix time; another one since then is another program's."""
        self.ending = ""
        """Why; empty until then."""
        self.over = anyio.Event()
        """It is closed, and what it tried is gone."""
        self.requests = 0
        """In flight."""
        self._place = place
        self._limits = limits
        self._end = anyio.Event()
        self._lock = threading.Lock()
        self._client: Client | None = None
        self._sessions: set[str] = set()
        self._said_goodbye = False
        self._broke = False
        self._quiet_since = time.monotonic()
        self._manager = StreamableHTTPSessionManager(
            build(self._choose),
            security_settings=security,
            session_idle_timeout=limits.idle_s,
            max_request_body_size=limits.body_bytes,
            max_sessions=limits.sessions,
        )

    async def run(self, *, task_status: anyio.abc.TaskStatus[None]) -> None:
        """Until it is told to end."""
        try:
            async with self._manager.run():
                task_status.started()
                await self._end.wait()
        finally:
            self.ending = self.ending or "The server ended."
            with anyio.CancelScope(shield=True):
                await anyio.to_thread.run_sync(self._close)
            self.over.set()

    def end(self, why: str) -> None:
        """Its sessions break off, and what it tried is taken away."""
        self.ending = self.ending or why
        self._end.set()

    async def handle(self, scope: Scope, sent: _Sent) -> None:
        """One request, which ``requests`` counts already."""
        self._said_goodbye = self._broke = False
        try:
            await self._manager.handle_request(scope, sent.receive, sent.send)
            self._count_sessions(scope, sent)
        finally:
            self.requests -= 1
            self._broke = self._broke or (sent.broke and self._missed(scope["method"]))
            self._quiet_since = time.monotonic()

    def gone(self) -> str:
        """Why it is taken for gone; empty while it is not."""
        if self._client is not None and self._client not in self._place.clients:
            return "A person sent it away."
        if self.requests:
            return ""
        quiet_s = time.monotonic() - self._quiet_since
        if self._said_goodbye:
            return "It ended its session."
        if self._broke and quiet_s > self._limits.broken_s:
            return "Its connection broke off."
        return "Nothing was heard of it for long." if quiet_s > self._limits.idle_s else ""

    def _missed(self, method: str) -> bool:
        """Whether a connection that broke off was still of use: it stood, or a call was at work."""
        client = self._client
        return method == "GET" or bool(client and client.doing)

    def _count_sessions(self, scope: Scope, sent: _Sent) -> None:
        named = {each.decode("latin-1") for each in _values(scope["headers"], _SESSION.encode())}
        if sent.status >= 400:
            return
        if scope["method"] == "DELETE":
            self._sessions -= named
            self._said_goodbye = not self._sessions
        elif not named and sent.session:
            self._sessions.add(sent.session)

    def _choose(self, _context: Any) -> Client:
        from schedtui.mcp.client import Client

        with self._lock:
            if self.ending:
                raise Interrupted("This connection has ended.")
            if self._client is None:
                self._client = Client(self._place, self.name, allowance=self._known.allowance, taken=self._known.taken)
            return self._client

    def _close(self) -> None:
        with self._lock:
            client = self._client
        if client is not None:
            self._known.taken = client.taken
            client.close(self.ending)


class _Sent:
    """A request whose body was read, and what became of its answer."""

    def __init__(self, body: bytes, receive: Receive, send: Send) -> None:
        self._body: bytes | None = body
        self._receive = receive
        self._send = send
        self.status = 0
        self.session = ""
        """The session that the answer names."""
        self.broke = False
        """The other side hung up before it had the whole answer."""
        self._complete = False

    @property
    def began(self) -> bool:
        """Whether an answer is on its way."""
        return bool(self.status)

    async def receive(self) -> Message:
        """For the protocol: the body, then whether the other side hangs up."""
        if self._body is not None:
            body, self._body = self._body, None
            return {"type": "http.request", "body": body, "more_body": False}
        message = await self._receive()
        self.broke = self.broke or (message["type"] == "http.disconnect" and not self._complete)
        return message

    async def send(self, message: Message) -> None:
        """For the protocol's answer."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.session = next((each.decode() for each in _values(message["headers"], _SESSION.encode())), "")
        elif message["type"] == "http.response.body":
            self._complete = not message.get("more_body", False)
        await self._send(message)


class _Rate:
    """So many at once, and so many each second after that."""

    def __init__(self, burst: int, per_s: float) -> None:
        self._burst = burst
        self._per_s = per_s
        self._left = float(burst)
        self._at = time.monotonic()

    def take(self) -> bool:
        """Whether one more is within it."""
        now = time.monotonic()
        self._left = min(float(self._burst), self._left + (now - self._at) * self._per_s)
        self._at = now
        if self._left < 1:
            return False
        self._left -= 1
        return True


def _values(headers: Any, name: bytes) -> set[bytes]:
    return {value for key, value in headers if key.lower() == name}


async def _refuse(send: Send, status: int) -> None:
    """A short answer, after which the connection is closed: what else comes on it is not read."""
    body = _SAID[status].encode()
    headers = [
        (b"content-type", b"text/plain; charset=utf-8"),
        (b"content-length", str(len(body)).encode()),
        (b"cache-control", b"no-store"),
        (b"x-content-type-options", b"nosniff"),
        (b"connection", b"close"),
    ]
    if status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    if status == 405:
        headers.append((b"allow", b"GET, POST, DELETE"))
    if status == 429:
        headers.append((b"retry-after", b"2"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _listening(family: socket.AddressFamily, address: str, port: int) -> socket.socket:
    """Raises PortTaken, and OSError where there is no such address."""
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listening.bind((address, port))
        listening.listen(64)
    except OSError as error:
        listening.close()
        if error.errno == errno.EADDRINUSE:
            raise PortTaken(
                f"Port {port} of {address} is in use by another program.", "Choose another, or 0 for a free one."
            ) from error
        if error.errno == errno.EACCES:
            raise PortTaken(f"You may not listen on port {port}.", "Choose one from 1024 on.") from error
        raise
    return listening
