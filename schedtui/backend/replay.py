"""A recording as a machine: it can be watched, and nothing else can be done to it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

from msgspec.structs import replace

from schedtui.backend.errors import NotPermitted
from schedtui.backend.histogram import Histogram, added
from schedtui.backend.machine import Progress
from schedtui.backend.model import (
    Completed,
    Event,
    Frame,
    LatencySource,
    Loadable,
    MachineInfo,
    Panic,
    Report,
    Sample,
    Scheduler,
    Setting,
)
from schedtui.backend.recording import Recording, read_recording

_LONGEST_PAUSE_S = 60.0


class ReplayMachine:
    """See machine.Machine. Raises BadFile from ``open`` when the file is no sound recording.

    ``speed`` divides the pauses between frames. With ``until``, that many frames come at once, and no more follow.
    """

    def __init__(self, path: Path, *, speed: float = 1.0, until: int | None = None) -> None:
        self.speed = speed
        self.until = until
        self._path = path
        self._recording: Recording | None = None
        self._scheduler: Scheduler | None = None
        self._closed = threading.Event()
        self._waits: Histogram = ()
        self._source: LatencySource | None = None
        self._shown_at = 0.0

    def open(self, progress: Progress) -> MachineInfo:
        """Reads and checks the whole file."""
        progress(f"Reading {self._path.name}", 0.0)
        return _as_replay(self._opened())

    def frames(self, interval_s: float = 1.0) -> Iterator[Frame]:
        """The recorded frames at the recorded pace, whatever ``interval_s``; then none, until the machine is closed."""
        recording = self._opened()
        count = len(recording.lines)
        shown = count if self.until is None else min(self.until, count)
        before: Frame | None = None
        for number in range(shown):
            frame = recording.frame(number)
            if number == count - 1 and recording.problem:
                warning = Event(time=frame.time, kind="warning", text=recording.problem)
                frame = replace(frame, events=(*frame.events, warning))
            if self._closed.wait(self._pause_s(before, frame)):
                return
            self._note(frame)
            yield frame
            before = frame
        self._closed.wait()

    def scheduler(self) -> Scheduler:
        """The scheduler of the frame that was shown last."""
        return self._scheduler or self._opened().frame(0).scheduler

    def sample(self) -> Sample:
        """The sums of the frames that were shown so far; nothing of single processes."""
        return Sample(time_s=self._shown_at, scheduler=self.scheduler(), wakeups=self._waits, source=self._source)

    def focus(self, names: tuple[str, ...]) -> None:
        """Refused."""
        raise _refusal()

    def certify(
        self,
        name: str,
        obj: Loadable,
        settings: dict[str, Setting],
        progress: Progress,
        *,
        quick: bool = False,
        generated: bool = False,
    ) -> Report | None:
        """Nothing is loaded here, so nothing is proven."""
        return None

    def load(
        self, name: str, obj: Loadable, settings: dict[str, Setting], *, lease_s: float | None = None
    ) -> Scheduler:
        """Refused."""
        raise _refusal()

    def renew(self, lease_s: float | None = None) -> None:
        """Refused."""
        raise _refusal()

    def keep(self) -> Scheduler:
        """Refused."""
        raise _refusal()

    def output(self) -> str:
        """Nothing: a recording holds none."""
        return ""

    def tune(self, settings: dict[str, Setting]) -> Scheduler:
        """Refused."""
        raise _refusal()

    def unload(self) -> Scheduler:
        """Refused."""
        raise _refusal()

    def panic(self) -> Panic:
        """Nothing runs here, so there is nothing to take away."""
        began = time.monotonic()
        scheduler = self.scheduler()
        took_ms = (time.monotonic() - began) * 1000
        return Panic(scheduler=scheduler, before=scheduler.name, path="nothing-to-do", took_ms=took_ms)

    def unlatch(self) -> None:
        """Nothing is latched."""

    def start_workload(self, kind: str) -> None:
        """Refused."""
        raise _refusal()

    def stop_workloads(self) -> None:
        """Refused."""
        raise _refusal()

    def run(self, command: list[str], timeout_s: float) -> Completed:
        """Refused."""
        raise _refusal()

    def close(self) -> None:
        """Ends ``frames``."""
        self._closed.set()

    def _opened(self) -> Recording:
        if self._recording is None:
            self._recording = read_recording(self._path)
        return self._recording

    def _note(self, frame: Frame) -> None:
        self._scheduler, self._shown_at = frame.scheduler, frame.time
        if frame.latency:
            self._waits, self._source = added(self._waits, frame.latency.histogram), frame.latency.source

    def _pause_s(self, before: Frame | None, frame: Frame) -> float:
        if before is None or self.until is not None or self.speed <= 0:
            return 0.0
        return min(max(frame.time - before.time, 0.0), _LONGEST_PAUSE_S) / self.speed


def _refusal() -> NotPermitted:
    return NotPermitted(_REASON, "Open the lab (m, or --machine lab).")


_REASON = "This is a recording: it can be watched, but nothing can be changed in it."


def _as_replay(recording: Recording) -> MachineInfo:
    """The recorded machine, saying what it is."""
    info = recording.header.info
    date = time.strftime("%Y-%m-%d", time.localtime(recording.header.recorded))
    return replace(
        info,
        kind="replay",
        can_load=False,
        reason=_REASON,
        note=f"recorded {date} on {info.name} · Linux {info.kernel}",
    )
