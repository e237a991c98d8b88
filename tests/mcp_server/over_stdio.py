"""A real ``schedtui mcp`` in a process of its own, spoken to by the SDK's client, or by hand, line by line."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

from mcp import ClientSession, StdioServerParameters
from mcp.client.stdio import stdio_client

from schedtui.backend.recording import Recorder, read_recording

COMMAND = Path(sys.executable).parent / "schedtui"
RECORDING = Path(__file__).parents[1] / "recordings" / "busy-4-eevdf.jsonl.gz"
VERSION = "2025-06-18"
PATIENCE_S = 60.0


def folders(place: Path) -> dict[str, str]:
    """An environment in which everything that is written goes below ``place``, save the cache, which is shared."""
    for name in ("config", "data", "run", "temporary"):
        (place / name).mkdir(mode=0o700, exist_ok=True)
    return {
        **os.environ,
        "XDG_CONFIG_HOME": str(place / "config"),
        "XDG_DATA_HOME": str(place / "data"),
        "XDG_RUNTIME_DIR": str(place / "run"),
        "TMPDIR": str(place / "temporary"),
        "PYTHON_KEYRING_BACKEND": "keyring.backends.null.Keyring",
    }


def standing_still(place: Path) -> str:
    """A machine that shows one frame and then nothing more, so that a look at it waits."""
    recording = read_recording(RECORDING)
    path = place / "still.jsonl"
    with Recorder(path, recording.header.info) as recorder:
        recorder.add(recording.frame(0))
    return f"replay:{path}"


@contextlib.asynccontextmanager
async def session(place: Path, *options: str) -> AsyncIterator[ClientSession]:
    """The SDK's client, introduced to a server with these options."""
    server = StdioServerParameters(command=str(COMMAND), args=["mcp", *options], env=folders(place))
    async with stdio_client(server) as (read, write), ClientSession(read, write) as it:
        await it.initialize()
        yield it


class Raw:
    """A server that is written to and read by hand."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process = process
        self._number = 0

    def write(self, line: bytes) -> None:
        """One line."""
        assert self.process.stdin is not None
        self.process.stdin.write(line + b"\n")
        self.process.stdin.flush()

    def send(self, method: str, **params: Any) -> int:
        """A request; its id."""
        self._number += 1
        message = {"jsonrpc": "2.0", "id": self._number, "method": method, "params": params}
        self.write(json.dumps(message).encode())
        return self._number

    def call(self, tool: str, **arguments: Any) -> int:
        """A tool's call; its id."""
        return self.send("tools/call", name=tool, arguments=arguments)

    def next(self) -> dict[str, Any]:
        """The next message."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, "the server is gone"
        message: dict[str, Any] = json.loads(line)
        return message

    def answer(self, id: int) -> dict[str, Any]:
        """The answer of that request; what comes before it is not kept."""
        while True:
            message = self.next()
            if message.get("id") == id and "method" not in message:
                return message

    def introduce(self) -> None:
        """The handshake."""
        who = {"name": "a test", "version": "1"}
        self.answer(self.send("initialize", protocolVersion=VERSION, capabilities={}, clientInfo=who))
        self.write(b'{"jsonrpc": "2.0", "method": "notifications/initialized"}')

    def leave(self) -> int:
        """Close its stdin; the exit code."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        return self.process.wait(PATIENCE_S)


@contextlib.contextmanager
def raw(place: Path, *options: str) -> Iterator[Raw]:
    """A server, killed in the end if it is still there."""
    process = subprocess.Popen(
        [COMMAND, "mcp", *options],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=(place / "stderr").open("wb"),
        env=folders(place),
    )
    try:
        yield Raw(process)
    finally:
        process.kill()
        process.wait(PATIENCE_S)


def text_of(answer: Any) -> str:
    """Of a tool's answer."""
    found: str = answer.content[0].text
    return found
