"""One Frame from all the probes, for the machine that this process runs on: the host, or the lab's guest."""

from __future__ import annotations

import time
from pathlib import Path

from schedtui.backend.errors import SchedtuiError
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

ROOT = Path("/")


class Sampler:
    """Takes its baseline when it is made, so the first ``sample`` may follow a fraction of a second later.

    ``latency`` is closed with it; without one, the best that needs no privileges is used. ``counters`` belong to the
    same source. ``tried`` names sources that
    were found missing before (see Frame.missing). Raises OSError when /proc is not mounted. For one thread.
    """

    def __init__(
        self,
        *,
        latency: LatencyProbe | None = None,
        counters: Counters | None = None,
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
        self._counters = counters

    def counters(self) -> Counters:
        """The counters behind the Frames' latency, where there are such, else those of the kernel's run delay."""
        if self._counters is None:
            self._counters = RunDelayCounters(self._root)
        return self._counters

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


def make_sampler(wakeup_object: bytes | None = None, root: Path = ROOT) -> Sampler:
    """A sampler with the best source of wake-up latency that works here.

    The BPF probe (``wakeup_object``, compiled) where it can be loaded; else the kernel's run delay; else the timer
    overshoot of a tiny process.
    """
    tried = {}
    if wakeup_object:
        from schedtui.backend.bpf.loader import load_probe
        from schedtui.backend.probes.wakeup import WakeupCounters, WakeupLatency

        try:
            cpus = possible_cpus(root)
            probe = load_probe(wakeup_object, map_entries={"cpus": cpus, "focus_cpus": cpus})
            return Sampler(latency=WakeupLatency(probe), counters=WakeupCounters(probe, root), root=root)
        except SchedtuiError as error:
            tried["wakeup-probe"] = error.message
    return Sampler(tried=tried, root=root)


def _unprivileged_latency(tasks: TasksProbe) -> LatencyProbe:
    if not tasks.missing:
        return RunDelay(tasks)
    from schedtui.backend.probes.overshoot import TimerOvershoot

    return TimerOvershoot()
