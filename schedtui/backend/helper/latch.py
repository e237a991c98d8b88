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
    """``path`` None: it lasts as long as this process. ``last``: where the newest panic is written down for good."""

    def __init__(self, path: Path | None = None, last: Path | None = None) -> None:
        self._path = path
        self._last = last
        self.now = _read(path)
        """None while loads are allowed."""
        before = self.now or _read(last)
        self.last_s = before.since if before else 0.0
        """Unix time of the newest panic, released or not, also before a restart of the computer; 0: none is known."""

    def set(self, why: str) -> None:
        """From now on, at once. ``keep`` makes it last."""
        self.last_s = time.time()
        self.now = self.now or Latched(self.last_s, why)

    def keep(self) -> str:
        """Write it down. What went wrong, in a sentence for the user; empty when nothing did."""
        now = self.now
        if self._path is None or now is None:
            return ""
        problem = ""
        try:
            _write(self._path, now)
        except OSError as error:
            problem = (
                f"Panic's latch could not be written to {self._path} ({error.strerror}): it ends with this helper."
            )
        if self._last is not None:
            with contextlib.suppress(OSError):  # then it is known until this helper ends
                _write(self._last, Latched(self.last_s, now.why))
        return problem

    def release(self) -> None:
        """Loads are allowed again. Raises OSError when the file cannot be removed: then it stays latched."""
        if self._path is not None:
            self._path.unlink(missing_ok=True)
        self.now = None


def _write(path: Path, latched: Latched) -> None:
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        draft.write_bytes(msgspec.json.encode(latched))
        draft.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            draft.unlink()
        raise


def _read(path: Path | None) -> Latched | None:
    if path is None:
        return None
    try:
        return msgspec.json.decode(path.read_bytes(), type=Latched)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.DecodeError, UnicodeDecodeError):
        return Latched(time.time(), "Panic was pressed")
