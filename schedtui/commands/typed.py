"""What is typed, or piped in, while a policy runs: live tunables, a NAME=VALUE a line."""

from __future__ import annotations

import contextlib
import os
import select
import sys
from collections.abc import Iterator

_STDIN = 0
_LONGEST_LINE = 4096


class TypedLines:
    """Lines of standard input, as far as they have come. Never waits, and reads no terminal from the background."""

    def __init__(self) -> None:
        self._pending = b""
        self._open = sys.stdin is not None

    def __iter__(self) -> Iterator[str]:
        """The whole lines that came since the last time; at the end of input, also the last."""
        while self._open and self._has_input():
            data = os.read(_STDIN, 4096)
            self._open = bool(data)
            self._pending += data or b"\n"
            *lines, self._pending = self._pending.split(b"\n")
            self._pending = self._pending[-_LONGEST_LINE:]
            yield from (text for line in lines if (text := line.decode(errors="replace").strip()))

    def _has_input(self) -> bool:
        with contextlib.suppress(OSError, ValueError):
            if os.isatty(_STDIN) and os.tcgetpgrp(_STDIN) != os.getpgrp():
                return False  # reading would stop a process in the background
            return bool(select.select([_STDIN], [], [], 0)[0])
        return False
