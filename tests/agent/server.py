"""A real HTTP server on loopback that speaks the OpenAI protocol, with scripted replies: good ones, and hostile ones.

A script is a function from the request (as it came over the wire) to what is answered. It can only answer with what
stands in the request that it got, when it is written so: a prompt that lost something then fails the story.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Says:
    """A good answer: words, calls of tools (name, arguments), and what it is said to have cost."""

    text: str = ""
    calls: tuple[tuple[str, Any], ...] = ()
    input_tokens: int | None = 100
    """None: the server says nothing of tokens."""
    output_tokens: int = 20


@dataclass(frozen=True)
class Refuses:
    """An HTTP error."""

    status: int
    text: str = "no"
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Sends:
    """These bytes as the stream's body, whatever they are; ``cut`` closes the connection in the middle of it."""

    body: bytes
    cut: bool = False


@dataclass(frozen=True)
class Floods:
    """Words without end, up to so many bytes."""

    size: int


@dataclass(frozen=True)
class Hangs:
    """Nothing at all, until the client goes away or the server closes."""


Answer = Says | Refuses | Sends | Floods | Hangs
Script = Callable[[dict[str, Any]], Answer]


class ModelServer:
    """Serves one script. ``requests`` holds what came, in order."""

    def __init__(self, script: Script) -> None:
        self.requests: list[dict[str, Any]] = []
        self.keys: list[str] = []
        self._script = script
        self._closed = threading.Event()
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._http.daemon_threads = True
        threading.Thread(target=self._http.serve_forever, args=(0.05,), daemon=True).start()

    @property
    def address(self) -> str:
        """For the settings of a model."""
        return f"http://127.0.0.1:{self._http.server_port}/v1"

    def close(self) -> None:
        """End it, and whoever waits."""
        self._closed.set()
        self._http.shutdown()
        self._http.server_close()

    def answer(self, request: dict[str, Any], key: str) -> Answer:
        """What the script says to this request."""
        self.requests.append(request)
        self.keys.append(key)
        return self._script(request)

    def wait_for_the_end(self) -> None:
        """Block until the server is closed."""
        self._closed.wait(60)


@contextlib.contextmanager
def serving(script: Script) -> Iterator[ModelServer]:
    """A server for as long as the block lasts."""
    server = ModelServer(script)
    try:
        yield server
    finally:
        server.close()


def in_turn(*answers: Answer) -> Script:
    """One answer after the other, whatever is asked; the last one for ever."""
    coming = iter(answers)
    return lambda _request: next(coming, answers[-1])


def recorded(folder: Path) -> Script:
    """What a real server said once (schedtui ask --record), in the same order."""
    files = sorted(folder.glob("*.json"))
    bodies = [_stream(json.loads(path.read_text(encoding="utf-8"))["chunks"]) for path in files]
    return in_turn(*(Sends(body) for body in bodies))


def _handler(server: ModelServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *args: object) -> None:
            """Quiet."""

        def do_POST(self) -> None:
            request = json.loads(self.rfile.read(int(self.headers["content-length"])))
            answer = server.answer(request, self.headers.get("authorization", ""))
            with contextlib.suppress(OSError):
                self._send(answer, request)

        def _send(self, answer: Answer, request: dict[str, Any]) -> None:
            self.close_connection = True
            if isinstance(answer, Hangs):
                server.wait_for_the_end()
                return
            if isinstance(answer, Refuses):
                body = json.dumps({"error": {"message": answer.text, "type": "error", "code": answer.status}}).encode()
                self._head(answer.status, {"content-type": "application/json", **answer.headers}, len(body))
                self.wfile.write(body)
                return
            self._head(200, {"content-type": "text/event-stream", "transfer-encoding": "chunked"}, None)
            if isinstance(answer, Sends):
                self._write(answer.body[: len(answer.body) // 2] if answer.cut else answer.body)
                if answer.cut:
                    self.connection.shutdown(socket.SHUT_RDWR)
            elif isinstance(answer, Floods):
                piece = _stream([_chunk(request["model"], {"content": "x" * 10_000})], done=False)
                for _ in range(answer.size // 10_000):
                    self._write(piece)
            else:
                self._write(_stream(_chunks(answer, request["model"])))
            self._write(b"")

        def _write(self, data: bytes) -> None:
            """One chunk of the body; an empty one ends it."""
            self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
            self.wfile.flush()

        def _head(self, status: int, headers: dict[str, str], length: int | None) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            if length is not None:
                self.send_header("content-length", str(length))
            self.send_header("connection", "close")
            self.end_headers()

    return Handler


_numbers = itertools.count(1)


def _chunks(answer: Says, model: str) -> list[dict[str, Any]]:
    chunks = [_chunk(model, {"role": "assistant", "content": ""})]
    chunks += [_chunk(model, {"content": answer.text[at : at + 20]}) for at in range(0, len(answer.text), 20)]
    for index, (name, arguments) in enumerate(answer.calls):
        text = arguments if isinstance(arguments, str) else json.dumps(arguments)
        function = {"name": name, "arguments": text[:7]}
        call = {"index": index, "id": f"call_{next(_numbers)}", "type": "function", "function": function}
        chunks.append(_chunk(model, {"tool_calls": [call]}))
        chunks.append(_chunk(model, {"tool_calls": [{"index": index, "function": {"arguments": text[7:]}}]}))
    chunks.append(_chunk(model, {}, finish="tool_calls" if answer.calls else "stop"))
    if answer.input_tokens is not None:
        total = answer.input_tokens + answer.output_tokens
        usage = {
            "prompt_tokens": answer.input_tokens,
            "completion_tokens": answer.output_tokens,
            "total_tokens": total,
        }
        chunks.append({**_chunk(model, {}), "choices": [], "usage": usage})
    return chunks


def _chunk(model: str, delta: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return {"id": "one", "object": "chat.completion.chunk", "created": 1, "model": model, "choices": [choice]}


def _stream(chunks: list[dict[str, Any]], *, done: bool = True) -> bytes:
    lines = [b"data: " + json.dumps(each).encode() + b"\n\n" for each in chunks]
    return b"".join([*lines, b"data: [DONE]\n\n"] if done else lines)
