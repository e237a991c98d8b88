"""What a connected program may read without calling a tool, and how it hears that there is something new.

What stands in them is reading.py's. ``schedtui://frame`` can be subscribed to: whoever does is told at most every two
seconds that there is a newer one, and reads it when it wants to.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import anyio.to_thread
import mcp_types as types
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel import Server
from mcp.server.session import ServerSession
from mcp.server.subscriptions import InMemorySubscriptionBus, ListenHandler, ResourceUpdated, ServerEvent
from mcp.shared.exceptions import MCPError
from msgspec import Struct

from schedtui.backend.errors import SchedtuiError, UnknownName

if TYPE_CHECKING:
    from schedtui.mcp.client import Client

FRAME = "schedtui://frame"
TELL_S = 2.0
"""A subscriber is told of newer frames at most this often."""
_RECENT_S = 60.0
_MOST_SUBSCRIBERS = 16
_MOST_UNREAD = 64
_Choose = Callable[[ServerRequestContext[Any, Any]], "Client"]
_Context = ServerRequestContext[Any, Any]


class _Known(Struct, frozen=True):
    uri: str
    title: str
    description: str


_RESOURCES = (
    _Known(FRAME, "The machine now", "The last sample: CPUs, scheduler, wake-up latency, pressure, who waits. Live."),
    _Known("schedtui://machine", "The machine", "Kernel, CPUs, memory, and whether a scheduler can be loaded."),
    _Known("schedtui://library", "The library", "All policies and presets, in short."),
    _Known("schedtui://reports", "Reports", "The newest reports of the verifier, in short."),
    _Known("schedtui://history", "History", "The last requests and trials, and what came of them."),
)
_TEMPLATES = (
    _Known("schedtui://library/{name}", "A policy", "All that the library knows of it, with its source."),
    _Known("schedtui://reports/{digest}", "A policy's reports", "Whole reports of one object, newest first."),
)


def register(server: Server[Any], choose: _Choose) -> None:
    """Let the server answer for resources; ``choose`` says which client asks."""
    bus = _FrameBus()
    subscriptions = _Subscriptions(bus)

    async def read(context: _Context, params: types.ReadResourceRequestParams) -> types.ReadResourceResult:
        stop = threading.Event()

        def content() -> str:
            from schedtui.mcp.reading import read

            return read(choose(context), params.uri, stop)

        try:
            text = await anyio.to_thread.run_sync(content, abandon_on_cancel=True)
        except SchedtuiError as error:
            said = " ".join(each for each in (error.message, error.remedy) if each)
            code = types.INVALID_PARAMS if isinstance(error, UnknownName) else types.INTERNAL_ERROR
            raise MCPError(code, said) from error
        finally:
            stop.set()
        contents = types.TextResourceContents(uri=params.uri, mime_type="application/json", text=text)
        return types.ReadResourceResult(contents=[contents])

    async def subscribe(context: _Context, params: types.SubscribeRequestParams) -> types.EmptyResult:
        _only_frame(params.uri)
        bus.watched = await asyncio.to_thread(choose, context)
        subscriptions.add(context)
        return types.EmptyResult()

    async def unsubscribe(context: _Context, params: types.UnsubscribeRequestParams) -> types.EmptyResult:
        _only_frame(params.uri)
        subscriptions.remove(context)
        return types.EmptyResult()

    listen = ListenHandler(bus, max_subscriptions=_MOST_SUBSCRIBERS, max_buffered_events=_MOST_UNREAD)

    async def listen_to(
        context: _Context, params: types.SubscriptionsListenRequestParams
    ) -> types.SubscriptionsListenResult:
        bus.watched = await asyncio.to_thread(choose, context)
        return await listen(context, params)

    server.add_request_handler("resources/list", types.PaginatedRequestParams, _listed)
    server.add_request_handler("resources/templates/list", types.PaginatedRequestParams, _templates)
    server.add_request_handler("resources/read", types.ReadResourceRequestParams, read)
    server.add_request_handler("resources/subscribe", types.SubscribeRequestParams, subscribe)
    server.add_request_handler("resources/unsubscribe", types.UnsubscribeRequestParams, unsubscribe)
    server.add_request_handler("subscriptions/listen", types.SubscriptionsListenRequestParams, listen_to)


async def _listed(_context: _Context, _params: types.PaginatedRequestParams) -> types.ListResourcesResult:
    return types.ListResourcesResult(
        resources=[
            types.Resource(
                uri=each.uri,
                name=each.uri.removeprefix("schedtui://"),
                title=each.title,
                description=each.description,
                mime_type="application/json",
            )
            for each in _RESOURCES
        ]
    )


async def _templates(_context: _Context, _params: types.PaginatedRequestParams) -> types.ListResourceTemplatesResult:
    return types.ListResourceTemplatesResult(
        resource_templates=[
            types.ResourceTemplate(
                uri_template=each.uri,
                name=each.uri.removeprefix("schedtui://"),
                title=each.title,
                description=each.description,
                mime_type="application/json",
            )
            for each in _TEMPLATES
        ]
    )


class _FrameBus(InMemorySubscriptionBus):
    """Tells its listeners of newer frames, in a task that runs while there are any."""

    def __init__(self) -> None:
        super().__init__()
        self.watched: Client | None = None
        """The last that subscribed; all see the same machine."""
        self._heard = 0
        self._task: asyncio.Task[None] | None = None

    def subscribe(self, listener: Callable[[ServerEvent], None]) -> Callable[[], None]:
        """See the base class."""
        forget = super().subscribe(listener)
        self._heard += 1
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._tell())
        over = False

        def unsubscribe() -> None:
            nonlocal over
            if not over:
                over = True
                forget()
                self._heard -= 1

        return unsubscribe

    async def _tell(self) -> None:
        told, stop = -1, threading.Event()
        try:
            while self._heard and self.watched is not None:
                place = self.watched.place
                desk = await anyio.to_thread.run_sync(place.desk, stop, abandon_on_cancel=True)
                sequence = max((each.sequence for each in desk.watch.last(_RECENT_S)), default=told)
                if sequence != told:
                    told = sequence
                    await self.publish(ResourceUpdated(FRAME))
                await asyncio.sleep(TELL_S)
        except SchedtuiError:
            return  # whoever reads the frame is told why there is none
        finally:
            stop.set()
            self._task = None


class _Subscriptions:
    """Of the handshake era, where a session subscribes and is told on its standing stream."""

    def __init__(self, bus: _FrameBus) -> None:
        self._bus = bus
        self._forget: dict[str, Callable[[], None]] = {}
        self._sending: set[asyncio.Task[None]] = set()

    def add(self, context: _Context) -> None:
        self.remove(context)
        if len(self._forget) >= _MOST_SUBSCRIBERS:  # of sessions that are gone, most likely
            self._forget.pop(next(iter(self._forget)))()
        session, key = context.session, _session_key(context)

        def listener(_event: ServerEvent) -> None:
            if not self._sending:  # one that does not read is not told twice
                task = asyncio.get_running_loop().create_task(self._send(session, key))
                self._sending.add(task)
                task.add_done_callback(self._sending.discard)

        self._forget[key] = self._bus.subscribe(listener)

    def remove(self, context: _Context) -> None:
        self._drop(_session_key(context))

    def _drop(self, key: str) -> None:
        forget = self._forget.pop(key, None)
        if forget:
            forget()

    async def _send(self, session: ServerSession, key: str) -> None:
        try:
            await session.send_resource_updated(FRAME)
        except Exception:  # noqa: BLE001  whatever the transport raises of a session that is gone
            self._drop(key)


def _session_key(context: _Context) -> str:
    headers = getattr(context.request, "headers", None)
    return headers.get("mcp-session-id", "") if headers is not None else ""


def _only_frame(uri: str) -> None:
    if uri != FRAME:
        raise MCPError(types.INVALID_PARAMS, f"Only {FRAME} tells of changes.")
