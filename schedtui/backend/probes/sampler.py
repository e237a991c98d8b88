"""One Frame from all the probes, for the machine that this process runs on: the host, or the lab's guest."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from schedtui.backend.errors import Interrupted, SchedtuiError
from schedtui.backend.model import CpuSample, Frame, Latency, TaskWait
from schedtui.backend.probes.counters import Counters, RunDelayCounters
from schedtui.backend.probes.cpu import CpuProbe
from schedtui.backend.probes.frequency import FrequencyProbe
from schedtui.backend.probes.latency import LatencyProbe, RunDelay
from schedtui.backend.probes.pressure import RESOURCES, PressureProbe
from schedtui.backend.probes.schedstat import SchedstatProbe
from schedtui.backend.probes.scheduler import read_scheduler
from schedtui.backend.probes.tasks import TasksProbe
from schedtui.backend.probes.topology import possible_cpus, read_topology

if TYPE_CHECKING:
    from schedtui.backend.bpf.loader import LoadedProbe

ROOT = Path("/")


class Sampler:
    """Takes its baseline when it is made, so the first ``sample`` may follow a fraction of a second later.

    ``latency`` is closed with it; without one, the best that needs no privileges is used. ``tried`` names sources that
    were found missing before (see Frame.missing). Raises OSError when /proc is not mounted. For one thread.
    """

    def __init__(
        self,
        *,
        latency: LatencyProbe | None = None,
        tried: dict[str, str] | None = None,
        root: Path = ROOT,
    ) -> None:
        self._root = root
        self._then = time.monotonic()
        self._sequence = 0
        self._cpu = CpuProbe(root)
        self._frequency = FrequencyProbe(tuple(place.cpu for place in read_topology(root)), root)
        self._pressure = PressureProbe(root)
        self._schedstat = SchedstatProbe(root)
        self._tasks = TasksProbe(self._then, root)
        self._latency = latency or _unprivileged_latency(self._tasks)
        self._tried = tried or {}

    def sample(self) -> Frame:
        """What happened since the last call; ``interval_s`` says how long that really was."""
        now = time.monotonic()
        interval_s = max(now - self._then, 1e-6)
        self._then = now
        use = self._cpu.sample(interval_s)
        waiters = self._tasks.sample(now, forked=use.forks > 0)
        latency = self._latency.sample()
        self._sequence += 1
        return Frame(
            sequence=self._sequence,
            time=time.time(),
            interval_s=interval_s,
            cpus=self._cpus(use.used_percent, interval_s),
            scheduler=read_scheduler(self._root),
            activity=use.activity,
            latency=latency,
            pressure=self._pressure.sample(interval_s),
            waiters=self._with_latency(waiters, latency),
            missing=self._missing(),
        )

    def close(self) -> None:
        """Let go of every descriptor, map and process."""
        for probe in (self._cpu, self._frequency, self._pressure, self._schedstat, self._tasks, self._latency):
            probe.close()

    def _cpus(self, used: dict[int, float], interval_s: float) -> tuple[CpuSample, ...]:
        speeds = self._frequency.sample()
        waiting = self._schedstat.sample(interval_s)
        p99 = self._latency.cpu_p99_us()
        return tuple(
            CpuSample(
                cpu=cpu,
                used_percent=percent,
                frequency_mhz=speeds.get(cpu),
                waiting_percent=waiting.get(cpu),
                latency_p99_us=p99.get(cpu),
            )
            for cpu, percent in used.items()
        )

    def _with_latency(self, waiters: tuple[TaskWait, ...], latency: Latency | None) -> tuple[TaskWait, ...]:
        if not latency or latency.source != "wakeup-probe":
            return waiters
        p99 = self._latency.task_p99_us([task.pid for task in waiters])
        return tuple(
            TaskWait(
                pid=task.pid,
                name=task.name,
                wait_ms_per_s=task.wait_ms_per_s,
                run_ms_per_s=task.run_ms_per_s,
                detail=task.detail,
                latency_p99_us=p99.get(task.pid),
            )
            for task in waiters
        )

    def _missing(self) -> dict[str, str]:
        found = {
            "frequency": self._frequency.missing,
            "schedstat": self._schedstat.missing,
            "waiters": self._tasks.missing,
            "latency": self._latency.missing,
        }
        pressure = self._pressure.missing
        if len(pressure) == len(RESOURCES):
            found["pressure"] = pressure["cpu"]
        found |= {f"pressure.{resource}": why for resource, why in pressure.items()}
        return self._tried | {source: why for source, why in found.items() if why}


class Samplers:
    """Samplers for several watchers at once, each with a baseline of its own; they share a BPF probe and its counters.

    Wake-up latency comes from the BPF probe where it can be loaded, else from the kernel's run delay, else from the
    timer overshoot of a tiny process. ``wakeup_object`` reads the compiled probe, None while there is none. Probe and
    counters end with the last watcher, unless they are ``resident``: then they, and one sampler for the next watcher,
    are kept ready. For any thread.
    """

    def __init__(
        self, wakeup_object: Callable[[], bytes | None] | None = None, root: Path = ROOT, *, resident: bool = False
    ) -> None:
        self._read_object = wakeup_object
        self._root = root
        self._resident = resident
        self._lock = threading.Lock()
        self._watchers = 0
        self._probe: LoadedProbe | None = None
        self._counters: Counters | None = None
        self._tried: dict[str, str] = {}
        self._spare: Sampler | None = None
        if resident:
            with self._lock:
                self._ready_counters()
                self._spare = self._made()

    def watch(self) -> Watcher:
        """One more who looks; it closes what it gets."""
        with self._lock:
            self._watchers += 1
        return Watcher(self)

    def counters(self) -> Counters:
        """Shared by all; so is their focus."""
        with self._lock:
            return self._ready_counters()

    def rescan(self) -> None:
        """See Counters; costs nothing while nobody counts."""
        counters = self._counters
        if counters:
            counters.rescan()

    def take(self) -> Sampler:
        """A sampler for one watcher."""
        with self._lock:
            spare, self._spare = self._spare, None
            return spare or self._made()

    def leave(self, sampler: Sampler | None) -> None:
        """A watcher has gone, with its sampler if it had one."""
        with self._lock:
            self._watchers -= 1
            if sampler and self._resident and not self._spare:
                self._spare = sampler
            elif sampler:
                sampler.close()
            if not self._watchers and not self._resident:
                self._counters = None
                if self._probe:
                    self._probe.close()
                    self._probe = None

    def _ready_counters(self) -> Counters:
        if self._counters is None:
            self._load()
            self._counters = self._wakeup_counters() if self._probe else RunDelayCounters(self._root)
        return self._counters

    def _made(self) -> Sampler:
        self._ready_counters()
        if self._probe is None:
            return Sampler(tried=self._tried, root=self._root)
        from schedtui.backend.probes.wakeup import WakeupLatency

        return Sampler(latency=WakeupLatency(self._probe), root=self._root)

    def _wakeup_counters(self) -> Counters:
        from schedtui.backend.probes.wakeup import WakeupCounters

        assert self._probe is not None
        return WakeupCounters(self._probe, self._root)

    def _load(self) -> None:
        obj = self._read_object() if self._read_object else None
        if obj is None:
            return
        from schedtui.backend.bpf.loader import load_probe

        try:
            cpus = possible_cpus(self._root)
            self._probe = load_probe(obj, map_entries={"cpus": cpus, "focus_cpus": cpus})
        except SchedtuiError as error:
            self._read_object, self._tried = None, {"wakeup-probe": error.message}


class Watcher:
    """One who looks at the machine, with a baseline of its own. ``sample`` and ``close`` exclude each other."""

    def __init__(self, samplers: Samplers) -> None:
        self._samplers = samplers
        self._lock = threading.Lock()
        self._sampler: Sampler | None = None
        self._closed = False

    def sample(self) -> Frame | None:
        """What happened since the last call; the first begins the baseline. None when it was closed."""
        with self._lock:
            if self._closed:
                return None
            if self._sampler is None:
                self._sampler = self._samplers.take()
            return self._sampler.sample()

    def counters(self) -> Counters:
        """Those that all share. Raises Interrupted when it was closed."""
        with self._lock:
            if self._closed:
                raise Interrupted("Whoever looked has gone.")
            return self._samplers.counters()

    def close(self) -> None:
        """Let go. May be called twice."""
        with self._lock:
            if not self._closed:
                self._closed = True
                self._samplers.leave(self._sampler)


def _unprivileged_latency(tasks: TasksProbe) -> LatencyProbe:
    if not tasks.missing:
        return RunDelay(tasks)
    from schedtui.backend.probes.overshoot import TimerOvershoot

    return TimerOvershoot()
