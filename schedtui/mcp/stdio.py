"""One client on stdin and stdout, until it closes stdin or a signal ends the server; then everything is let go of.

Nothing but the protocol is written to stdout, whatever a library or a child prints: it goes to stderr.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import anyio
from mcp.server.stdio import stdio_server

from schedtui.mcp.server import build

if TYPE_CHECKING:
    from schedtui.mcp.client import Client
    from schedtui.mcp.place import Place


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


def serve(place: Place, name: str) -> None:
    """Serve until stdin ends. The place is closed then."""
    try:
        anyio.run(_serve, place, name)
    finally:
        place.close()


async def _serve(place: Place, name: str) -> None:
    server = build(_Only(place, name))
    async with stdio_server() as (read, write):
        place.begin()
        await server.run(read, write, server.create_initialization_options())
