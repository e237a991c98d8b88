"""What a command says and how it ends: progress, a result as text or JSON, one sentence for a failure, an exit code.

Progress and failures in words go to stderr, results and everything in JSON to stdout.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

import msgspec

from schedtui.backend.errors import BadTunable, SchedtuiError, UnknownName
from schedtui.backend.machine import Machine, open_machine

NOT_DONE = 1
USAGE = 2
NOT_RUN = 125
"""``lab run`` could not run its command; every smaller code is the command's own."""

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_AT_ONCE_S = 0.05
"""Stages this early are over before anybody could read them."""
_REPEAT_S = 2.0


class Stopped(BaseException):
    """A signal asks this program to end; whatever it opened is closed on the way out."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number

    @property
    def exit_code(self) -> int:
        """As shells count it."""
        return 128 + self.number


class Console:
    """The voice of one command; ``json`` makes it speak to programs."""

    def __init__(self, json: bool) -> None:
        self.json = json
        self._watched = sys.stderr.isatty()
        self._said = ""
        self._said_at = 0.0

    def progress(self, stage: str, seconds: float) -> None:
        """A Progress: one line that changes on a terminal; elsewhere a line for each new stage."""
        if seconds < _AT_ONCE_S:
            return
        if self._watched:
            sys.stderr.write(f"\r\x1b[K{seconds:5.1f} s  {stage}")
            sys.stderr.flush()
        elif not self.json and stage != self._said:
            # Words after a colon change often (“kernel: 12 MB”).
            same = stage.partition(":")[0] == self._said.partition(":")[0]
            if not same or time.monotonic() - self._said_at > _REPEAT_S:
                print(f"{seconds:5.1f} s  {stage}", file=sys.stderr, flush=True)
                self._said, self._said_at = stage, time.monotonic()

    def note(self, words: str) -> None:
        """A line for whoever watches."""
        self._clear()
        if not self.json:
            print(words, file=sys.stderr, flush=True)

    def tell(self, words: str) -> None:
        """A part of the result, as soon as it is known; in JSON it comes with the rest."""
        self._clear()
        if not self.json:
            print(words, flush=True)

    def result(self, data: dict[str, Any], words: str) -> None:
        """What came out."""
        self._clear()
        print(_as_json(data) if self.json else words, flush=True)

    def failure(self, error: SchedtuiError, data: dict[str, Any] | None = None) -> None:
        """What went wrong; ``data`` is what is known all the same."""
        self._clear()
        if self.json:
            told = {"kind": error.kind, "message": error.message, "remedy": error.remedy, "details": error.details}
            print(_as_json({**(data or {}), "error": told}), flush=True)
            return
        for line in (f"schedtui: {error.message}", error.details, error.remedy):
            if line:
                print(line, file=sys.stderr, flush=True)

    def _clear(self) -> None:
        if self._watched:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()


@contextlib.contextmanager
def opened(
    spec: str, console: Console, *, kernel: Path | None = None, cpus: int | None = None, compiler: bool = False
) -> Iterator[Machine]:
    """An open machine, closed at the end whatever happens."""
    machine = open_machine(spec, kernel=kernel, cpus=cpus, compiler=compiler)
    try:
        machine.open(console.progress)
        yield machine
    finally:
        machine.close()


def heed_signals() -> None:
    """From here on the first signal raises Stopped, and further ones do not disturb the closing."""
    for number in _SIGNALS:
        if signal.getsignal(number) != signal.SIG_IGN:  # as under nohup
            signal.signal(number, _stop)


def ignore_signals() -> None:
    """For the last moments: the ending interpreter gives handlers back to the default, which would kill it midway."""
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def exit_code_of(error: SchedtuiError) -> int:
    """A name or value that does not exist is the command line's fault; everything else did not happen."""
    return USAGE if isinstance(error, UnknownName | BadTunable) else NOT_DONE


def _stop(number: int, _frame: FrameType | None) -> NoReturn:
    for each in _SIGNALS:
        signal.signal(each, lambda _number, _frame: None)
    raise Stopped(number)


def _as_json(data: dict[str, Any]) -> str:
    try:
        encoded = msgspec.json.encode(data, enc_hook=os.fspath)
    except UnicodeEncodeError:  # a file's name that is not UTF-8; msgspec cannot be told to replace
        import json

        plain = msgspec.to_builtins(data, enc_hook=os.fspath)
        encoded = json.dumps(plain, ensure_ascii=False).encode(errors="replace")
    return msgspec.json.format(encoded, indent=2).decode()
