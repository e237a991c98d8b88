"""A real ``schedtui mcp --http`` in a process of its own, and what knocks at it: the SDK's client, and raw requests."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from mcp.client.client import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared._httpx_utils import create_mcp_http_client

from schedtui.mcp.tokens import Tokens

BOTH = "application/json, text/event-stream"
HELLO = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {
        "protocolVersion": "2025-06-18",
        "capabilities": {},
        "clientInfo": {"name": "a test", "version": "1"},
    },
}
PING = {"jsonrpc": "2.0", "id": 2, "method": "ping"}
STRICT = """
import sys
from schedtui.mcp.http import Limits, serve
from schedtui.mcp.place import Place
from schedtui.mcp.tokens import Tokens
limits = Limits(**{limits!r})
place = Place({machine!r}, consent="yes")
sys.exit(128 + serve(place, Tokens(), 0, lambda url: print(url, flush=True), limits))
"""


class Served:
    """A server that runs, and the folder of its data."""

    def __init__(self, process: subprocess.Popen[str], data: Path, url: str) -> None:
        self.process = process
        self.data = data
        self.url = url
        self.port = urlsplit(url).port or 0
        self.tokens = Tokens(data / "schedtui" / "mcp" / "tokens.json")

    def headers(self, name: str = "claude", **more: str) -> dict[str, str]:
        """What a request of this program says."""
        return {
            "authorization": f"Bearer {self.tokens.token(name)}",
            "accept": BOTH,
            "content-type": "application/json",
            **more,
        }

    def ask(
        self, body: Any = None, headers: dict[str, str] | None = None, method: str = "POST", path: str = "/mcp"
    ) -> tuple[int, dict[str, str], bytes]:
        """One request of its own connection: status, headers, body."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            content = body if isinstance(body, bytes | None) else json.dumps(body).encode()
            connection.request(method, path, body=content, headers=self.headers() if headers is None else headers)
            answer = connection.getresponse()
            said = {key.lower(): value for key, value in answer.getheaders()}
            return answer.status, said, answer.read()
        finally:
            connection.close()

    def session(self, name: str = "claude") -> str:
        """A new session of that program."""
        status, said, body = self.ask(HELLO, self.headers(name))
        assert status == 200, body
        return said["mcp-session-id"]

    def ping(self, session: str, name: str = "claude") -> int:
        """The status that a request in that session gets."""
        return self.ask(PING, self.headers(name, **{"mcp-session-id": session}))[0]

    @contextlib.asynccontextmanager
    async def client(self, name: str = "claude", mode: str = "legacy", **more: Any) -> AsyncIterator[Client]:
        """The SDK's own client."""
        headers = {"authorization": f"Bearer {self.tokens.token(name)}"}
        async with (
            create_mcp_http_client(headers=headers) as connection,
            Client(streamable_http_client(self.url, http_client=connection), mode=mode, **more) as client,
        ):
            yield client

    def end(self) -> tuple[int, str]:
        """As a service manager ends it: its exit code, and what it said on stderr."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        _, said = self.process.communicate(timeout=60)
        return self.process.returncode, said


def environment(data: Path) -> dict[str, str]:
    """Nothing of this user's own is read or written but what can be rebuilt."""
    changed = {"XDG_DATA_HOME": str(data), "XDG_CONFIG_HOME": str(data), "XDG_RUNTIME_DIR": str(data)}
    return {**os.environ, **changed}


@contextlib.contextmanager
def served(data: Path, *options: str) -> Iterator[Served]:
    """``schedtui mcp --http 0 OPTIONS``."""
    with _started(data, ["-m", "schedtui", "mcp", "--http", "0", *options]) as it:
        yield it


@contextlib.contextmanager
def served_strictly(data: Path, machine: str = "host", **limits: float) -> Iterator[Served]:
    """The same with limits that a test can reach, and nobody is asked."""
    with _started(data, ["-c", STRICT.format(machine=machine, limits=limits)]) as it:
        yield it


@contextlib.contextmanager
def _started(data: Path, arguments: list[str]) -> Iterator[Served]:
    process = subprocess.Popen(
        [sys.executable, *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(data),
    )
    try:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        assert url.startswith("http://127.0.0.1:"), process.communicate()[1]
        yield Served(process, data, url)
    finally:
        if process.poll() is None:
            process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired, ValueError):
            process.communicate(timeout=60)
        if process.poll() is None:
            process.kill()
            process.wait()
