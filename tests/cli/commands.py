"""Runs the real ``schedtui`` command, as a shell or a script would."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from msgspec import Struct

COMMAND = Path(sys.executable).parent / "schedtui"


class Ended(Struct, frozen=True):
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def spoken(self) -> dict[str, Any]:
        """Its JSON."""
        spoken: dict[str, Any] = json.loads(self.out)
        return spoken


def schedtui(*arguments: str, timeout: float = 180, **variables: str) -> Ended:
    """Run it to its end. Whatever happens, it must not show a traceback."""
    environment = {**os.environ, "LANG": "C.UTF-8", **variables}
    done = subprocess.run(
        [str(COMMAND), *arguments],
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout,
    )
    assert "Traceback" not in done.stderr + done.stdout
    return Ended(done.returncode, done.stdout, done.stderr)


def started(*arguments: str) -> subprocess.Popen[str]:
    """Start it, for a test that sends it a signal."""
    return subprocess.Popen(
        [str(COMMAND), *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
