"""Keeps a helper that was started for a session: starts it, and ends it and all its files when the session ends.

Runs as root from the copy that the helper runs from, which lies in the folder that it takes away at the end. Says one
line on standard output: ``ready``, or why not.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from schedtui.backend.setup.launch import CANNOT_START

READY = "ready"
PID_FILE = "keeper.pid"
LOG = "helper.log"
_START_LIMIT_S = 20.0
_END_LIMIT_S = 10.0
_LAST_WORDS_BYTES = 4096
_PR_SET_PDEATHSIG = 1


def main() -> int:
    """Until the session, the helper, or a signal ends it."""
    parser = argparse.ArgumentParser(prog="schedtui-keep")
    parser.add_argument("--until", type=int, required=True, help="the process that the session belongs to")
    parser.add_argument("--place", type=Path, required=True, help="the folder to take away at the end")
    parser.add_argument("--socket", type=Path, required=True, help="where the helper will listen")
    parser.add_argument("helper", nargs="+", help="what starts the helper")
    options = parser.parse_args()
    stop, stopping = os.pipe()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda _number, _frame: os.write(stopping, b"."))
    place: Path = options.place
    try:
        (place / PID_FILE).write_text(f"{os.getpid()}\n")
        session = os.pidfd_open(options.until)
        return _keep(options.helper, options.socket, place / LOG, [stop, session])
    except OSError as error:
        print(f"{error.strerror}: {error.filename or options.until}", flush=True)
        return CANNOT_START
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _keep(command: list[str], path: Path, log: Path, ends: list[int]) -> int:
    with log.open("wb") as output:
        helper = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env={},
            cwd="/",
            preexec_fn=_dies_with(os.getpid()),
        )
    try:
        if not _answers(path, helper, ends):
            print(" ".join(log.read_text(errors="replace")[-_LAST_WORDS_BYTES:].split()) or "It ended.", flush=True)
            return CANNOT_START
        print(READY, flush=True)
        select.select([os.pidfd_open(helper.pid), *ends], [], [])
        return 0
    finally:
        helper.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            helper.wait(_END_LIMIT_S)
        helper.kill()
        helper.wait()
        path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            path.parent.rmdir()  # what a panic left in it stays


def _answers(path: Path, helper: subprocess.Popen[bytes], ends: list[int]) -> bool:
    deadline = time.monotonic() + _START_LIMIT_S
    while time.monotonic() < deadline and helper.poll() is None:
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as link:
            link.connect(str(path))
            return True
        if select.select(ends, [], [], 0.05)[0]:
            return False
    return False


def _dies_with(parent: int) -> Callable[[], None]:
    """The helper must not outlive whoever would end it."""
    libc = ctypes.CDLL(None)

    def prepare() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
        if os.getppid() != parent:
            os._exit(CANNOT_START)

    return prepare


if __name__ == "__main__":
    sys.exit(main())
