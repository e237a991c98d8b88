"""Frames with known content, to see what panels make of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from schedtui.backend.histogram import Histogram, maximum_us, percentile_us, slot_of, trimmed
from schedtui.backend.model import (
    Activity,
    CpuPlace,
    CpuSample,
    Frame,
    Latency,
    LatencySource,
    MachineInfo,
    MachineKind,
    Pressure,
    Scheduler,
    TaskWait,
    WorkloadStatus,
)

NOW = 1_795_000_000.0


def machine(cpus: int, *, cache: int = 8, kind: MachineKind = "lab", can_load: bool = True) -> MachineInfo:
    """A machine in which ``cache`` CPUs share a last-level cache."""
    return MachineInfo(
        kind=kind,
        name=kind,
        kernel="6.18.15",
        sched_ext=can_load,
        default_scheduler="EEVDF",
        can_load=can_load,
        cpus=tuple(CpuPlace(cpu=cpu, core=cpu, llc=cpu // cache, node=0) for cpu in range(cpus)),
    )


def scheduler(name: str = "EEVDF", *, owner: str = "kernel", latched: bool = False) -> Scheduler:
    """What the kernel reports: its own scheduler, or one that was loaded 12 s ago."""
    if name == "EEVDF":
        return Scheduler(sched_ext="disabled", name=name, owner=owner, latched=latched)
    return Scheduler(sched_ext="enabled", name=name, owner=owner, since=NOW - 12)


def histogram(*counts: tuple[float, int]) -> Histogram:
    """A histogram from durations in µs and how often each was seen."""
    slots = [0] * 128
    for duration_us, count in counts:
        slots[slot_of(int(duration_us * 1000))] += count
    return trimmed(slots)


def latency(*counts: tuple[float, int], source: LatencySource = "wakeup-probe") -> Latency:
    """A latency sample with its percentiles."""
    slots = histogram(*counts)
    return Latency(
        source=source,
        histogram=slots,
        count=sum(slots),
        p50_us=percentile_us(slots, 50),
        p95_us=percentile_us(slots, 95),
        p99_us=percentile_us(slots, 99),
        max_us=maximum_us(slots),
    )


def frame(
    used: Sequence[float] = (),
    *,
    mhz: int | None = None,
    waiting: float | None = None,
    wait: Latency | None = None,
    pressure: Mapping[str, Pressure] | None = None,
    waiters: Sequence[TaskWait] = (),
    workloads: Sequence[WorkloadStatus] = (),
    runs: Scheduler | None = None,
    missing: Mapping[str, str] | None = None,
) -> Frame:
    """A frame of one second; ``used`` is the use of each CPU in percent."""
    return Frame(
        sequence=0,
        time=NOW,
        interval_s=1.0,
        cpus=tuple(
            CpuSample(cpu=cpu, used_percent=percent, frequency_mhz=mhz, waiting_percent=waiting)
            for cpu, percent in enumerate(used)
        ),
        scheduler=runs or scheduler(),
        activity=Activity(runnable=3, tasks=212, switches_per_s=8400.0, forks_per_s=12.0),
        latency=wait,
        pressure=dict(pressure or {}),
        waiters=tuple(waiters),
        workloads=tuple(workloads),
        missing=dict(missing or {}),
    )
