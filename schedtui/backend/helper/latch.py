"""Panic's latch: while it is there nothing is loaded, also by a helper that takes the place of one that died.

A small file in a folder that only root writes and that a restart of the computer empties. One that cannot be read
counts: it takes a person to release a panic, not a full disk.
"""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path

import msgspec
from msgspec import Struct


class Latched(Struct, frozen=True):
    """Since when, and what a person or the helper did."""

    since: float
    why: str


class Latch:
    """``path`` None: it lasts as long as this process."""

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self.now = self._read()
        """None while loads are allowed."""

    def set(self, why: str) -> None:
        """From now on, at once. ``keep`` makes it last."""
        self.now = self.now or Latched(time.time(), why)

    def keep(self) -> str:
        """Write it down. What went wrong, in a sentence for the user; empty when nothing did."""
        if self._path is None or self.now is None:
            return ""
        draft = self._path.with_name(f".{self._path.name}.{os.getpid()}")
        try:
            draft.write_bytes(msgspec.json.encode(self.now))
            draft.replace(self._path)
        except OSError as error:
            with contextlib.suppress(OSError):
                draft.unlink()
            return f"Panic's latch could not be written to {self._path} ({error.strerror}): it ends with this helper."
        return ""

    def release(self) -> None:
        """Loads are allowed again. Raises OSError when the file cannot be removed: then it stays latched."""
        if self._path is not None:
            self._path.unlink(missing_ok=True)
        self.now = None

    def _read(self) -> Latched | None:
        if self._path is None:
            return None
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=Latched)
        except FileNotFoundError:
            return None
        except (OSError, msgspec.DecodeError, UnicodeDecodeError):
            return Latched(time.time(), "Panic was pressed")
