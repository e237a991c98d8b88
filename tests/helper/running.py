"""A real helper for tests: the daemon in a process of its own, in a folder of its own, and clients of any user."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from schedtui.backend.helper import protocol
from schedtui.backend.helper.client import HelperClient, connect
from schedtui.backend.helper.protocol import Body, Reply, Request
from tests.conftest import until

ALLOWED, STRANGER = 1000, 65534


@contextlib.contextmanager
def as_user(uid: int) -> Iterator[None]:
    """What is connected here is connected by that user, as the kernel vouches."""
    before = os.geteuid()
    if uid == before:
        yield
        return
    os.seteuid(uid)
    try:
        yield
    finally:
        os.seteuid(before)


class RunningHelper:
    """The daemon, and the folder that stands for the computer's root."""

    def __init__(self, *arguments: str) -> None:
        self.root = Path(tempfile.mkdtemp(prefix="schedtui-helper-"))
        for folder in ("run", "etc/schedtui", "var/lib/schedtui"):
            (self.root / folder).mkdir(parents=True)
        for each in (self.root, *self.root.rglob("*")):
            each.chmod(0o755)
        for folder in ("proc", "sys"):
            (self.root / folder).symlink_to(f"/{folder}")
        self.socket = self.root / "run/schedtui/helper.sock"
        self.arguments = arguments
        self.process: subprocess.Popen[str] | None = None

    @property
    def command(self) -> list[str]:
        """What starts it."""
        return [sys.executable, "-m", "schedtui.backend.helper.daemon", "--root", str(self.root), *self.arguments]

    def start(self) -> None:
        """Returns when it listens."""
        self.process = subprocess.Popen(self.command, stderr=subprocess.PIPE, text=True)
        process = self.process
        assert until(lambda: self._listens() or process.poll() is not None)
        assert process.poll() is None, process.communicate()[1]

    def _listens(self) -> bool:
        """Its socket is there a moment before it does."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as link:
            return link.connect_ex(str(self.socket)) == 0

    def refused(self) -> tuple[int, str]:
        """Start it where it must not start: its exit code, and what it said."""
        done = subprocess.run(self.command, capture_output=True, text=True, timeout=60, check=False)
        return done.returncode, done.stderr

    @property
    def pid(self) -> int:
        """Of the daemon."""
        assert self.process is not None
        return self.process.pid

    def client(self, uid: int = ALLOWED, *, greet: bool = True) -> HelperClient:
        """A client of that user."""
        with as_user(uid):
            found = connect(self.socket, owner=os.getuid())
        if greet:
            found.hello()
        return found

    def raw(self, uid: int = ALLOWED) -> socket.socket:
        """A connection that says nothing by itself."""
        link = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        with as_user(uid):
            link.connect(str(self.socket))
        link.settimeout(20)
        return link

    def close(self) -> None:
        """End it, and take its folder away."""
        if self.process:
            self.process.terminate()
            self.process.wait(20)
            assert self.process.stderr is not None
            self.process.stderr.close()
        shutil.rmtree(self.root)


def line(body: Body, number: int = 1) -> bytes:
    """A request as it travels."""
    return protocol.encode(Request(number, body))


def answers(link: socket.socket) -> Iterator[Reply]:
    """What the helper says, until it ends the connection."""
    with contextlib.suppress(ConnectionResetError), link.makefile("rb") as lines:
        for each in lines:
            yield protocol.decode_reply(each)
