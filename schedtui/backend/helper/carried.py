"""Programs in a lab's guest: taken in piece by piece, and started as the scheduler. A host's helper does neither."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from schedtui.backend.errors import BadFile
from schedtui.backend.helper import protocol
from schedtui.backend.helper.program import RunningProgram, start_program


def put_file(piece: protocol.PutFile) -> None:
    """Write one piece of a file. Raises BadFile when it cannot be written."""
    path = Path(piece.path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | (0 if piece.offset else os.O_TRUNC)
        descriptor = os.open(path, flags, 0o755 if piece.executable else 0o644)
        try:
            written = os.pwrite(descriptor, piece.data, piece.offset)
        finally:
            os.close(descriptor)
    except (OSError, ValueError, OverflowError) as error:
        raise BadFile(f"{piece.path} cannot be written in the lab: {error}.") from error
    if written != len(piece.data):
        raise BadFile(f"{piece.path} cannot be written in the lab: no room is left there.")


def begin_carried(asked: protocol.StartProgram, may_run: Callable[[], bool]) -> RunningProgram:
    """Start what was carried in. Raises BadFile, LoadRejected, Interrupted."""
    try:
        descriptor = os.open(asked.path, os.O_RDONLY | os.O_CLOEXEC)
    except (OSError, ValueError) as error:
        raise BadFile(f"{asked.path} is not in the lab.", "Open the lab anew.") from error
    try:
        return start_program(descriptor, asked.name, asked.arguments, may_run=may_run)
    finally:
        os.close(descriptor)
