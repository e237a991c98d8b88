"""The verifier behind the desktop's guest: the real service, on this computer, because QEMU in QEMU is too slow.

A root process of the guest (inside.Relay) listens at the verifier's socket there, and carries what comes over a port.
Here each connection gets a service process of its own, on the guest's own kernel image. What it answered is kept, so
that the same object is judged once for each version of the rules: a full judgement takes a minute.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import msgspec

from schedtui import paths
from schedtui.backend.helper import jobs
from schedtui.backend.verifier.reports import rules_version
from tests.host.link import messages, send


class Verifier:
    """Our end of the relay's port. ``asked`` counts the jobs, ``judged`` those that were not known already."""

    def __init__(self, port: socket.socket, kernel: Path) -> None:
        self.asked = self.judged = 0
        self._port, self._kernel = port, kernel
        self._sending = threading.Lock()
        self._judging: dict[int, subprocess.Popen[bytes]] = {}
        threading.Thread(target=self._serve, name="verifier", daemon=True).start()

    def close(self) -> None:
        """End what is judged."""
        for each in list(self._judging.values()):
            with contextlib.suppress(ProcessLookupError):
                each.kill()

    def _serve(self) -> None:
        lines: dict[int, bytes] = {}
        files: dict[int, list[bytes]] = {}
        for message, payload in messages(self._port):
            number, what = message["connection"], message["what"]
            if what == "open":
                lines[number], files[number] = b"", []
            elif what == "close":
                judge = self._judging.pop(number, None)
                if judge is not None:
                    judge.kill()
            else:
                for size in message["files"]:
                    files[number].append(payload[:size])
                    payload = payload[size:]
                lines[number] += payload
                if lines[number].endswith(b"\n"):
                    threading.Thread(target=self._judge, args=(number, lines[number], files[number])).start()

    def _judge(self, number: int, line: bytes, files: list[bytes]) -> None:
        self.asked += 1
        entry = self._entry(line, files)
        if entry.exists():
            self._say(number, "data", entry.read_bytes())
        else:
            self.judged += 1
            said = self._judge_now(number, line, files)
            if b'"report"' in said:
                entry.parent.mkdir(parents=True, exist_ok=True)
                part = entry.with_suffix(f".{os.getpid()}.{number}")
                part.write_bytes(said)
                part.replace(entry)
        self._say(number, "close")

    def _judge_now(self, number: int, line: bytes, files: list[bytes]) -> bytes:
        """The last line that the service said."""
        near, far = socket.socketpair()
        with near:
            with far:
                options = ["--kernel", str(self._kernel), "--cache", str(paths.cache_dir().parent), "--as-root"]
                self._judging[number] = subprocess.Popen(
                    [sys.executable, "-m", "schedtui.backend.verifier.service", *options, "--fd", str(far.fileno())],
                    pass_fds=(far.fileno(),),
                )
            memory = [jobs.sealed(each) for each in files]
            socket.send_fds(near, [line], memory)
            for each in memory:
                os.close(each)
            last = b""
            with near.makefile("rb") as stream:
                for word in stream:
                    self._say(number, "data", word)
                    last = word
        if (judge := self._judging.pop(number, None)) is not None:
            judge.wait()
        return last

    def _entry(self, line: bytes, files: list[bytes]) -> Path:
        image = self._kernel.stat()
        named = [msgspec.json.encode(msgspec.json.decode(line), order="sorted"), *files, rules_version().encode()]
        named.append(f"{self._kernel} {image.st_size} {image.st_mtime_ns}".encode())
        digest = hashlib.sha256(b"\0".join(hashlib.sha256(each).digest() for each in named)).hexdigest()
        return paths.cache_dir() / "desktop" / "reports" / digest

    def _say(self, number: int, what: str, payload: bytes = b"") -> None:
        message: dict[str, Any] = {"connection": number, "what": what}
        with self._sending, contextlib.suppress(OSError):
            send(self._port, message, payload)
