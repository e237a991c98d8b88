"""This computer: everything about it can be watched by anybody; nothing is changed from here but by panic.

Panic asks the kernel directly (sysrq S), which needs root.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from msgspec.structs import replace

from schedtui.backend.errors import NotPermitted
from schedtui.backend.machine import Progress
from schedtui.backend.model import (
    Completed,
    Event,
    Frame,
    Loadable,
    MachineInfo,
    Panic,
    ProbeResult,
    Report,
    Sample,
    Scheduler,
    Setting,
)
from schedtui.backend.probes.counters import RunDelayCounters
from schedtui.backend.probes.owner import OwnerProbe
from schedtui.backend.probes.sampler import Sampler
from schedtui.backend.probes.scheduler import default_scheduler, describe_change, read_scheduler
from schedtui.backend.probes.topology import read_memory_mib, read_topology

ROOT = Path("/")
FIRST_FRAME_S = 0.15
"""The first frame comes early, so that a screen is alive at once."""
PANIC_TIMEOUT_S = 5.0
ASK_THE_KERNEL = "echo S | sudo tee /proc/sysrq-trigger"


class HostMachine:
    """See machine.Machine."""

    def __init__(self, root: Path = ROOT) -> None:
        self._root = root
        self._info: MachineInfo | None = None
        self._closed = threading.Event()
        self._sampling = threading.Lock()
        self._sampler: Sampler | None = None
        self._counting = threading.Lock()
        self._counters: RunDelayCounters | None = None
        self._seen: Scheduler | None = None
        self._owners = OwnerProbe(root)

    def open(self, progress: Progress) -> MachineInfo:
        """Reads what does not change, and takes the baseline of the first frame."""
        if self._info is None:
            began = time.monotonic()
            progress("Looking at this computer", 0.0)
            with self._sampling:  # two threads may open it at once, and one sampler would be left over
                if self._info is None:
                    self._sampler = Sampler(root=self._root)
                    self._info = _describe(self._root)
            progress("Ready", time.monotonic() - began)
        return self._info

    def frames(self, interval_s: float = 1.0) -> Iterator[Frame]:
        """Samples until ``close``; the first one after 0.15 s."""
        wait_s = min(FIRST_FRAME_S, interval_s)
        due = time.monotonic()
        while True:
            due = max(due + wait_s, time.monotonic())
            self._closed.wait(due - time.monotonic())
            with self._sampling:
                if self._closed.is_set() or not self._sampler:
                    return
                frame = self._sampler.sample()
            yield self._with_events(frame)
            wait_s = interval_s

    def scheduler(self) -> Scheduler:
        """Read from the kernel now."""
        return self._with_owner(read_scheduler(self._root))

    def sample(self) -> Sample:
        """From the kernel's run delay of each task: a lower bound of latency, and nothing of what waits right now.

        Counting begins with the first call. Without privileges there is no better source.
        """
        counts = self._ready_counters().read()
        return Sample(
            time_s=time.monotonic(),
            scheduler=self.scheduler(),
            wakeups=counts.wakeups,
            focus_wakeups=counts.focus_wakeups,
            source=counts.source,
        )

    def focus(self, names: tuple[str, ...]) -> None:
        """See machine.Machine."""
        self._ready_counters().focus(names)

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
        """None without a helper: nothing can be loaded then."""
        return None

    def load(
        self, name: str, obj: Loadable, settings: dict[str, Setting], *, lease_s: float | None = None
    ) -> Scheduler:
        """Refused: nothing is loaded on this computer."""
        raise self._refusal()

    def renew(self, lease_s: float | None = None) -> None:
        """Refused, as ``load`` is."""
        raise self._refusal()

    def keep(self) -> Scheduler:
        """Refused, as ``load`` is."""
        raise self._refusal()

    def output(self) -> str:
        """Nothing, without the helper."""
        return ""

    def tune(self, settings: dict[str, Setting]) -> Scheduler:
        """Refused, as ``load`` is."""
        raise self._refusal()

    def unload(self) -> Scheduler:
        """Refused while a scheduler runs that others loaded; without one there is nothing to do."""
        scheduler = self.scheduler()
        if scheduler.sched_ext in ("unsupported", "disabled"):
            return scheduler
        raise NotPermitted(
            f"{scheduler.name} was loaded by {scheduler.owner}, not by schedtui.",
            f"Stop it where it was started, or tell the kernel: {ASK_THE_KERNEL}",
        )

    def panic(self) -> Panic:
        """Tells the kernel to throw out whatever runs, and reads back what runs then."""
        began = time.monotonic()
        before = read_scheduler(self._root)
        if before.sched_ext in ("unsupported", "disabled"):
            return Panic(scheduler=before, before=before.name, path="nothing-to-do", took_ms=_ms_since(began))
        try:
            (self._root / "proc/sysrq-trigger").write_text("S")
        except OSError as error:
            raise NotPermitted(
                f"{before.name} still runs: only root may tell the kernel to throw it out ({error.strerror}).",
                f"This command does it: {ASK_THE_KERNEL}",
            ) from error
        after = self._wait_until_disabled(began)
        return Panic(scheduler=after, before=before.name, path="sysrq", took_ms=_ms_since(began))

    def unlatch(self) -> None:
        """Nothing is latched where nothing is loaded."""

    def start_workload(self, kind: str) -> None:
        """Refused: this computer has its own work."""
        raise NotPermitted("Loads are not started on your own computer.", "Open the lab (m) and start one there.")

    def stop_workloads(self) -> None:
        """None were started."""

    def probe(self, name: str, pid: int, cgroup: str, seconds: float, progress: Progress) -> ProbeResult:
        """See ``dive``. Root looks itself; everybody else needs the helper for it."""
        if os.geteuid() != 0:
            raise NotPermitted(
                "Looking at every switch of this computer needs the privileged helper.",
                "Set it up: sudo schedtui setup · or look once, as root: sudo schedtui probe · or in the lab.",
            )
        from schedtui.backend.helper.deep import run_probe

        progress(f"bcc: compiling, then looking for {seconds:g} s", 0.0)
        return run_probe(name, pid, cgroup, seconds)

    def run(self, command: list[str], timeout_s: float) -> Completed:
        """Refused: a shell does that."""
        raise NotPermitted(
            "Commands are run only in the lab.", "Use --machine lab, or run the command in a shell of its own."
        )

    def close(self) -> None:
        """Ends ``frames`` and whatever the probes hold."""
        self._closed.set()
        with self._sampling:
            if self._sampler:
                self._sampler.close()
                self._sampler = None

    def _ready_counters(self) -> RunDelayCounters:
        with self._counting:
            if self._counters is None:
                self._counters = RunDelayCounters(self._root)
            return self._counters

    def _refusal(self) -> NotPermitted:
        info = self._info or _describe(self._root)
        return NotPermitted(info.reason, "Open the lab (m, or --machine lab): a real kernel with sched_ext.")

    def _with_owner(self, scheduler: Scheduler) -> Scheduler:
        """Names who started a scheduler."""
        if scheduler.owner == "kernel":
            return scheduler
        return replace(scheduler, owner=self._owners.owner(scheduler).words)

    def _with_events(self, frame: Frame) -> Frame:
        scheduler = self._with_owner(frame.scheduler)
        event = describe_change(self._seen, scheduler, frame.time) if self._seen else None
        if event:
            scheduler = replace(scheduler, since=frame.time)
        elif self._seen:
            scheduler = replace(scheduler, since=self._seen.since)
        self._seen = scheduler
        events: tuple[Event, ...] = (event,) if event else ()
        return replace(frame, scheduler=scheduler, events=events)

    def _wait_until_disabled(self, began: float) -> Scheduler:
        after = read_scheduler(self._root)
        while after.sched_ext != "disabled":
            if time.monotonic() - began > PANIC_TIMEOUT_S:
                raise NotPermitted(
                    f"The kernel was told to throw {after.name} out and has not done it in {PANIC_TIMEOUT_S:.0f} s.",
                    "End the program that loaded it; the kernel takes over when it dies.",
                )
            time.sleep(0.005)
            after = read_scheduler(self._root)
        return after


def _describe(root: Path) -> MachineInfo:
    sched_ext = read_scheduler(root).sched_ext != "unsupported"
    return MachineInfo(
        kind="host",
        name=os.uname().nodename,
        kernel=os.uname().release,
        sched_ext=sched_ext,
        default_scheduler=default_scheduler(root),
        can_load=False,
        reason=_why_not(sched_ext, os.uname().release),
        cpus=read_topology(root),
        memory_mib=read_memory_mib(root),
    )


def _why_not(sched_ext: bool, release: str) -> str:
    if sched_ext:
        return (
            "Loading on this computer needs the privileged helper, which this version does not have yet. "
            "The lab can load everything."
        )
    return (
        f"This kernel ({release}) was built without sched_ext, so no other scheduler can be loaded on it. The lab can."
    )


def _ms_since(began: float) -> float:
    return (time.monotonic() - began) * 1000
