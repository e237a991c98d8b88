"""How we speak with a server in the desktop's guest: a line of JSON, and as many bytes as it says."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from itertools import count
from typing import Any

from schedtui.backend.microvm.qemu import Qemu

_SLACK_S = 180.0
"""A guest on a busy computer is slow, and that says nothing."""


class DesktopFailed(AssertionError):
    """Something of the guest's own, or the Python given to ``user_python``, failed."""


class Link:
    """Our end of a port of the guest: calls from any thread, answers matched by id."""

    def __init__(self, name: str, qemu: Qemu) -> None:
        """``name``: of one of the ports that ``qemu`` was started with."""
        self._name, self._qemu, self._port = name, qemu, qemu.ports[name]
        self._ids = count(1)
        self._waiting: dict[int, Future[tuple[dict[str, Any], bytes]]] = {}
        self._sending = threading.Lock()
        threading.Thread(target=self._read, name=f"desktop {name}", daemon=True).start()

    def call(
        self, op: str, payload: bytes = b"", *, timeout_s: float | None = None, **arguments: Any
    ) -> tuple[dict[str, Any], bytes]:
        """Ask, and wait for the answer. Raises DesktopFailed."""
        if op == "run":
            arguments["timeout_s"] = timeout_s
        told, content = self.ask(op, payload, **arguments).result((timeout_s or 60) + _SLACK_S)
        if "error" in told:
            raise DesktopFailed(f"{self._name}: {told['error']}")
        return told, content

    def ask(self, op: str, payload: bytes = b"", **arguments: Any) -> Future[tuple[dict[str, Any], bytes]]:
        """Ask, and do not wait."""
        number = next(self._ids)
        future = self._waiting[number] = Future()
        with self._sending:
            send(self._port, {"id": number, "op": op, **arguments}, payload)
        return future

    def _read(self) -> None:
        for message, payload in messages(self._port):
            self._waiting.pop(message["id"]).set_result((message, payload))
        why = f"{self._name}: the guest ended. Its last words:\n{self._qemu.last_console()}"
        for each in self._waiting.values():
            each.set_exception(DesktopFailed(why))


def send(port: socket.socket, message: dict[str, Any], payload: bytes) -> None:
    """As inside.Port.send."""
    port.sendall(json.dumps({**message, "bytes": len(payload)}).encode() + b"\n" + payload)


def messages(port: socket.socket) -> Iterator[tuple[dict[str, Any], bytes]]:
    """What inside.Port.send sent, until the guest ends."""
    with contextlib.suppress(OSError, ValueError), port.makefile("rb") as stream:
        while line := stream.readline():
            message = json.loads(line)
            yield message, stream.read(message.get("bytes", 0))
