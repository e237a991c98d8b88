"""Opens a machine and reads its Frames, in a thread of its own.

Knows no user interface: whoever listens is told in the feed's thread. What happens before anyone listens is
kept, so that a machine can be opened while the rest of the program is still being imported.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from schedtui.backend.errors import SchedtuiError
from schedtui.backend.machine import Machine, open_machine
from schedtui.backend.model import Frame, MachineInfo
from schedtui.faults import unexpected as unexpected
from schedtui.observer import Observer


class Listener(Protocol):
    """Is told what a feed sees. Called from the feed's thread; must not block."""

    def stage(self, feed: Feed, text: str, seconds: float) -> None:
        """Opening reached a stage, ``seconds`` after it began."""

    def opened(self, feed: Feed, info: MachineInfo) -> None:
        """The machine is ready."""

    def frame(self, feed: Feed, frame: Frame) -> None:
        """One more sample."""

    def failed(self, feed: Feed, error: SchedtuiError) -> None:
        """It could not be opened, or its Frames broke off."""


class Feed:
    """One machine, from before it is open until it is closed."""

    def __init__(self, spec: str, machine: Machine, interval_s: float = 1.0) -> None:
        self.spec = spec
        self.machine = machine
        self.info: MachineInfo | None = None
        self._interval_s = interval_s
        self._lock = threading.Lock()
        self._listener: Listener | None = None
        self._unheard: list[Callable[[Listener], None]] = []
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"feed {spec}", daemon=True)

    @classmethod
    def named(
        cls,
        spec: str,
        *,
        kernel: Path | None = None,
        cpus: int | None = None,
        compiler: bool = False,
        interval_s: float = 1.0,
    ) -> Feed:
        """The feed of the machine that ``spec`` names. Raises UnknownName."""
        return cls(spec, open_machine(spec, kernel=kernel, cpus=cpus, compiler=compiler), interval_s)

    @property
    def closed(self) -> bool:
        """Whether ``close`` was called."""
        return self._closed.is_set()

    def start(self) -> None:
        """Begin to open the machine."""
        self._thread.start()

    def attach(self, listener: Listener) -> None:
        """From now on tell ``listener``, beginning with what nobody heard."""
        with self._lock:
            unheard, self._unheard = self._unheard, []
            for news in unheard:
                news(listener)
            self._listener = listener

    def close(self) -> None:
        """Close the machine and fall silent. Blocks until it is closed; never raises; may be called twice."""
        self._closed.set()
        self.machine.close()

    def _tell(self, news: Callable[[Listener], None]) -> None:
        if self.closed:
            return
        with self._lock:
            if self._listener is None:
                self._unheard.append(news)
            else:
                news(self._listener)

    def _run(self) -> None:
        try:
            info = self.machine.open(lambda text, seconds: self._tell(lambda to: to.stage(self, text, seconds)))
            self.info = info
            self._tell(lambda to: to.opened(self, info))
            observer = Observer(info)
            for frame in self.machine.frames(self._interval_s):
                if self.closed:
                    break
                self._tell(lambda to, frame=frame: to.frame(self, frame))  # type: ignore[misc]
                observer.add(frame)  # second, because it may write to the disk
        except SchedtuiError as error:
            self._fail(error)
        except Exception as error:  # noqa: BLE001  a fault of ours in a thread must reach the user too
            self._fail(unexpected(error))
        finally:
            if self.closed:
                self.machine.close()

    def _fail(self, error: SchedtuiError) -> None:
        self._tell(lambda to: to.failed(self, error))
