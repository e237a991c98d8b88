"""A computer that exists only in memory, for what decides about schedulers and not for what schedulers do.

It keeps the Machine's promises: one scheduler at a time, leases, a latch. Its tasks wait as long as the running
scheduler makes them; a script may let something happen at the n-th sample after a load.
"""

from __future__ import annotations

import hashlib
import random
import threading
import time
from collections.abc import Callable, Iterator

from msgspec.structs import replace

from schedtui.backend.errors import HelperGone, LeaseEnded, PanicLatched, SchedtuiError
from schedtui.backend.histogram import SLOTS, slot_of
from schedtui.backend.machine import Progress
from schedtui.backend.model import (
    Completed,
    Frame,
    KernelId,
    Loadable,
    MachineInfo,
    MachineKind,
    Panic,
    Report,
    Sample,
    Scheduler,
    Setting,
    digest_of,
)

KERNEL = KernelId(release="6.18.0", build_id="ab" * 20, btf_hash="cd" * 32)
EEVDF = Scheduler(sched_ext="disabled", name="EEVDF", owner="kernel")
OBJECT = b"an object that nothing reads"
DIGEST = hashlib.sha256(OBJECT).hexdigest()


class Computer:
    """See the module. ``wait_us``: how long a task waits under EEVDF, and under what was loaded."""

    def __init__(self, *, kind: MachineKind = "host", wait_us: tuple[float, float] = (100.0, 100.0)) -> None:
        self.kind = kind
        self.wait_us = wait_us
        self.script: dict[int, Callable[[], None]] = {}
        """What happens at the n-th sample after the first load."""
        self.focused: list[tuple[str, ...]] = []
        self.calls: list[str] = []
        self.lease_s: float | None = None
        self.longest_wait_ms = 5.0
        self.wake_ups = 60
        self.command_s = (1.0, 1.0)
        self.exit_code = 0
        self._lock = threading.RLock()
        self._running = EEVDF
        self._random = random.Random(1)
        self._slots = [0] * SLOTS
        self._time_s = 0.0
        self._samples = 0
        self._loaded = False
        self.loads: list[str] = []
        """That were started."""
        self.helper_died = False
        self.last_words = "It was unloaded"
        self.refusal: SchedtuiError | None = None
        """What a load is answered with; None: it is loaded."""
        self.proof: Report | SchedtuiError | None = None
        """What its own helper finds of whatever it is asked to prove; None: it asks for no proof."""

    def open(self, progress: Progress) -> MachineInfo:
        return MachineInfo(
            kind=self.kind,
            name="memory",
            kernel="6.18.0",
            sched_ext=True,
            default_scheduler="EEVDF",
            can_load=True,
            kernel_id=KERNEL,
        )

    def frames(self, interval_s: float = 1.0) -> Iterator[Frame]:
        return iter(())

    def scheduler(self) -> Scheduler:
        if self._running.sched_ext == "disabling":
            self._running = replace(EEVDF, enable_seq=self._running.enable_seq)
        return self._running

    def sample(self) -> Sample:
        with self._lock:
            if self.helper_died:
                self.helper_died = False
                self.end("The helper that held it ended, and another took its place")
                raise HelperGone("The helper ended while it worked, and was started again.")
            if self._loaded:
                self._samples += 1
                if act := self.script.pop(self._samples, None):
                    act()
            self._time_s += 0.1
            median_us = self.wait_us[self._running.sched_ext == "enabled"]
            for _ in range(self.wake_ups):
                self._slots[slot_of(round(1000 * median_us * self._random.lognormvariate(0, 0.5)))] += 1
            return Sample(
                time_s=self._time_s,
                scheduler=self._running,
                wakeups=tuple(self._slots),
                focus_wakeups=tuple(self._slots),
                longest_wait_ms=self.longest_wait_ms,
                longest_waiter="somebody (7)",
                source="wakeup-probe",
            )

    @property
    def samples(self) -> int:
        """How many were taken of what was loaded."""
        return self._samples

    def focus(self, names: tuple[str, ...]) -> None:
        self.focused.append(names)

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
        if self.proof is not None:
            self.calls.append("certify")
        if isinstance(self.proof, SchedtuiError):
            raise self.proof
        return self.proof

    def load(
        self, name: str, obj: Loadable, settings: dict[str, Setting], *, lease_s: float | None = None
    ) -> Scheduler:
        with self._lock:
            self.calls.append("load")
            if self.refusal is not None:
                raise self.refusal
            if self._running.latched:
                raise PanicLatched("Panic was pressed: nothing is loaded until you release it.")
            self._loaded, self.lease_s = True, lease_s
            self.put(name, digest_of(obj), settings)
            return self._running

    def put(self, name: str, digest: str, settings: dict[str, Setting], owner: str = "schedtui") -> None:
        """It runs, whoever loaded it."""
        self._running = Scheduler(
            sched_ext="enabled",
            name=name,
            owner=owner,
            policy=name,
            digest=digest,
            settings=settings,
            enable_seq=self._running.enable_seq + 1,
            rejected=self._running.rejected,
        )

    def end(self, last_words: str) -> None:
        """The kernel's own scheduler runs again."""
        self.last_words = last_words
        self.lease_s = None
        self._running = replace(EEVDF, enable_seq=self._running.enable_seq, latched=self._running.latched)

    def leave(self) -> None:
        """The kernel is taking the scheduler out, and its own runs after the next look."""
        self._running = replace(self._running, sched_ext="disabling")

    def reject(self, tasks: int) -> None:
        """The scheduler refuses some tasks."""
        self._running = replace(self._running, rejected=self._running.rejected + tasks)

    def renew(self, lease_s: float | None = None) -> None:
        with self._lock:
            if self.lease_s is None:
                raise LeaseEnded(f"{self.last_words}.")

    def keep(self) -> Scheduler:
        with self._lock:
            self.calls.append("keep")
            if self._running.sched_ext != "enabled":
                raise LeaseEnded(f"There is nothing to keep: {self.last_words}.")
            self.lease_s = None
            return self._running

    def output(self) -> str:
        return ""

    def tune(self, settings: dict[str, Setting]) -> Scheduler:
        return self._running

    def unload(self) -> Scheduler:
        with self._lock:
            self.calls.append("unload")
            self.end("It was unloaded")
            return self._running

    def panic(self) -> Panic:
        before = self._running.name
        self.end("Panic was pressed")
        self._running = replace(self._running, latched=True)
        return Panic(scheduler=self._running, before=before, path="helper", took_ms=1.0)

    def unlatch(self) -> None:
        self._running = replace(self._running, latched=False)

    def start_workload(self, kind: str) -> None:
        self.loads.append(kind)

    def stop_workloads(self) -> None: ...

    def run(self, command: list[str], timeout_s: float) -> Completed:
        enabled = self._running.sched_ext == "enabled"
        time.sleep(0.01)
        seconds = self.command_s[enabled] * self._random.lognormvariate(0, 0.01)
        return Completed(command=tuple(command), exit_code=self.exit_code if enabled else 0, output="", seconds=seconds)

    def close(self) -> None: ...
