"""Runs a command to its end, with a limit on its time and its output."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import time

from schedtui.backend.errors import UnknownName
from schedtui.backend.model import Completed

_MAX_OUTPUT = 1 << 20
_PIPE_BYTES = 1 << 16


def run_command(command: list[str], timeout_s: float) -> Completed:
    """Run a command to its end; its whole process group is killed at the time limit, or when it leaves others behind.

    Output (both streams) is kept up to 1 MiB. Raises UnknownName when there is no such program.
    """
    if not command:
        raise UnknownName("There is no command to run.")
    began = time.monotonic()
    try:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True
        )
    except (OSError, ValueError) as error:
        raise UnknownName(f"“{command[0]}” cannot be run there: {error}.") from error
    assert process.stdout is not None
    output = _Output(process.stdout.fileno())
    while process.poll() is None:
        if time.monotonic() - began > timeout_s:
            _kill_group(process.pid)
            process.wait()
            output.truncated = True
        else:
            output.read_within(50)
    _kill_group(process.pid)
    output.read_within(0)  # the pipe holds no more than one read takes; others may fill it again without end
    process.stdout.close()
    return Completed(
        command=tuple(command),
        exit_code=process.returncode,
        output=output.kept.decode(errors="replace"),
        seconds=time.monotonic() - began,
        truncated=output.truncated,
    )


class _Output:
    """What a command prints, up to 1 MiB of it."""

    def __init__(self, descriptor: int) -> None:
        self.kept = bytearray()
        self.truncated = False
        self._descriptor = descriptor
        self._ended = False
        os.set_blocking(descriptor, False)
        self._poll = select.poll()
        self._poll.register(descriptor, select.POLLIN)

    def read_within(self, limit_ms: int) -> None:
        """Take what is there, or comes before the limit."""
        if self._ended:
            time.sleep(min(limit_ms, 10) / 1000)
        elif self._poll.poll(limit_ms):
            data = os.read(self._descriptor, _PIPE_BYTES)
            self._ended = not data
            self.truncated |= len(self.kept) + len(data) > _MAX_OUTPUT
            self.kept += data[: _MAX_OUTPUT - len(self.kept)]


def _kill_group(leader: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(leader, signal.SIGKILL)
