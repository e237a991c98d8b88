"""A D-Bus of one service, as busctl speaks with it over a socket: scx_loader, which starts real processes.

The soak test drives the real scx_loader on a real bus; this one needs neither.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any


def put_programs(folder: Path, *names: str) -> Path:
    """Programs that stand for schedulers: they take any arguments, and /proc shows them under their names."""
    (folder / "sleeping").mkdir(parents=True)
    for name in names:
        (folder / "sleeping" / name).symlink_to("/bin/sleep")
        (folder / name).write_text('#!/bin/sh\nexec "${0%/*}/sleeping/${0##*/}" 1000\n')
        (folder / name).chmod(0o755)
    return folder


SUPPORTED = ["scx_bpfland", "scx_lavd"]


class LoaderOnABus:
    """``programs`` is a folder with the schedulers that it may start. Used as a context manager."""

    def __init__(self, folder: Path, programs: Path) -> None:
        self.address = f"unix:path={folder}/bus"
        self.scheduler, self.mode, self.arguments = "", 0, list[str]()
        self.process: subprocess.Popen[bytes] | None = None
        self.deaf = False
        """Whether calls are left without an answer."""
        self._programs = programs
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.bind(f"{folder}/bus")
        self._socket.listen()
        threading.Thread(target=self._serve, daemon=True).start()

    def __enter__(self) -> LoaderOnABus:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self._socket.close()

    def start(self, scheduler: str, mode: int = 0, arguments: list[str] | None = None) -> None:
        """As a person would with scxctl."""
        self.stop()
        self.scheduler, self.mode, self.arguments = scheduler, mode, arguments or []
        self.process = subprocess.Popen([self._programs / scheduler, *self.arguments])

    def stop(self) -> None:
        """End what runs."""
        if self.process:
            self.process.terminate()
            self.process.wait()
        self.process, self.scheduler, self.arguments = None, "", []

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._socket.accept()
                threading.Thread(target=self._converse, args=(client,), daemon=True).start()

    def _converse(self, client: socket.socket) -> None:
        with client, client.makefile("rb") as lines, contextlib.suppress(OSError, struct.error, IndexError):
            lines.read(1)
            while not (line := lines.readline()).startswith(b"BEGIN"):
                answer = {b"AUTH": b"OK " + b"0" * 32, b"NEGO": b"AGREE_UNIX_FD", b"DATA": b"OK " + b"0" * 32}
                client.sendall(answer.get(line[:4], b"ERROR") + b"\r\n")
            while head := lines.read(16):
                body_length, serial, fields_length = struct.unpack("<III", head[4:16])
                fields = _header(lines.read(_aligned(fields_length, 8)), fields_length)
                body = lines.read(body_length)
                if not self.deaf:
                    signature, data = self._answer(fields[3], _values(fields.get(8, ""), body))
                    client.sendall(_reply(serial, signature, data))

    def _answer(self, member: str, given: list[Any]) -> tuple[str, bytes]:
        match member:
            case "Hello":
                return "s", _string(":1.1")
            case "NameHasOwner":
                return "b", struct.pack("<I", given[0] == "org.scx.Loader")
            case "Get":
                return "v", self._property(given[1])
            case "StopScheduler":
                self.stop()
            case "SwitchScheduler":
                self.start(given[0], mode=given[1])
            case "SwitchSchedulerWithArgs":
                self.start(given[0], arguments=given[1])
        return "", b""

    def _property(self, name: str) -> bytes:
        names: dict[str, Callable[[], bytes]] = {
            "CurrentScheduler": lambda: b"\x01s\0\0" + _string(self.scheduler or "unknown"),
            "SchedulerMode": lambda: b"\x01u\0\0" + struct.pack("<I", self.mode),
            "CurrentSchedulerArgs": lambda: b"\x02as\0" + _strings(self.arguments),
            "SupportedSchedulers": lambda: b"\x02as\0" + _strings(SUPPORTED),
        }
        return names[name]()


def _aligned(length: int, to: int) -> int:
    return -(-length // to) * to


def _string(text: str) -> bytes:
    data = text.encode()
    return struct.pack("<I", len(data)) + data + b"\0"


def _strings(texts: list[str]) -> bytes:
    data = b""
    for text in texts:
        data += bytes(_aligned(len(data), 4) - len(data)) + _string(text)
    return struct.pack("<I", len(data)) + data


def _reply(serial: int, signature: str, body: bytes) -> bytes:
    fields = b"\x05\x01u\0" + struct.pack("<I", serial)
    if signature:
        fields += b"\x08\x01g\0" + bytes([len(signature)]) + signature.encode() + b"\0"
    head = b"l\x02\x01\x01" + struct.pack("<III", len(body), serial + 1000, len(fields))
    return head + fields + bytes(_aligned(len(fields), 8) - len(fields)) + body


def _header(data: bytes, length: int) -> dict[int, str]:
    """The header's fields that are texts."""
    fields, at = {}, 0
    while at < length:
        at = _aligned(at, 8)
        code, kind = data[at], data[at + 2 : at + 3]
        at += 4
        if kind == b"g":
            fields[code] = data[at + 1 : at + 1 + data[at]].decode()
            at += data[at] + 2
        elif kind == b"u":
            at += 4
        else:
            size = struct.unpack_from("<I", data, at)[0]
            fields[code] = data[at + 4 : at + 4 + size].decode()
            at += 4 + size + 1
    return fields


def _values(signature: str, data: bytes) -> list[Any]:
    return list(_read(signature, data))


def _read(signature: str, data: bytes) -> Iterator[Any]:
    at = 0

    def number() -> int:
        nonlocal at
        at = _aligned(at, 4)
        at += 4
        return int(struct.unpack_from("<I", data, at - 4)[0])

    def text() -> str:
        nonlocal at
        size = number()
        at += size + 1
        return data[at - size - 1 : at - 1].decode()

    for kind in signature.replace("as", "a"):
        if kind == "u":
            yield number()
        elif kind == "s":
            yield text()
        else:
            end = number() + at
            texts = []
            while at < end:
                texts.append(text())
            yield texts
