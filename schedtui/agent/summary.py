"""What is told of a machine: some seconds of Frames, summed up as figures and in a few lines of words.

Only what the frames hold is told, and what they lack is named. Masking of names is the loop's; finding out more about
single processes is processes.py's.
"""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any, Literal, TypeVar

from msgspec import Struct, field

from schedtui.backend.histogram import added, maximum_us, percentile_us
from schedtui.backend.model import Frame, MachineInfo, Setting

_Key = TypeVar("_Key")
Shape = Literal["idle", "steady", "bursty", "a few busy CPUs", "full"]

_IDLE_PERCENT, _FULL_PERCENT, _BUSY_PERCENT = 10.0, 90.0, 70.0
_BURSTY = 0.35
"""Standard deviation over mean of the use from frame to frame."""
_OWN = "schedtui-"
"""Whoever measures is not what is measured."""
_WORTH_TELLING_MS_PER_S = 5.0
_SHOWN, _SHOWN_MORE = 4, 12
_CHANGED = 2.5
"""A figure that became so many times larger or smaller tells of another phase."""
_LEAST_FORKS_PER_S = 20.0
_LEAST_PERCENT = 20.0


class Group(Struct, frozen=True, kw_only=True):
    """Tasks of one program that stood in run queues: a process and its threads."""

    name: str
    tasks: int
    wait_ms_per_s: float
    run_ms_per_s: float


class Summary(Struct, frozen=True, kw_only=True):
    """A machine over some seconds. Figures that no source gave are None."""

    machine: str
    """``host`` or ``lab``, kernel and CPUs, in words."""
    scheduler: str
    policy: str = ""
    settings: dict[str, Setting] = field(default_factory=dict)
    seconds: float
    cpus: int
    used_percent: float
    """Of all CPUs, on average."""
    shape: Shape
    busiest_percent: float
    """The CPU that was used most, on average."""
    waiting_percent: float | None = None
    """Run queue: how long tasks waited for CPUs, as a share of the time, summed over the CPUs."""
    latency_source: str = ""
    latency_p50_us: float | None = None
    latency_p99_us: float | None = None
    latency_max_us: float | None = None
    wakeups_per_s: float | None = None
    switches_per_s: float | None = None
    forks_per_s: float | None = None
    runnable: float = 0.0
    tasks: int = 0
    pressure_percent: dict[str, float] = field(default_factory=dict)
    """By resource: the time in which some task stood still for want of it."""
    groups: tuple[Group, ...] = ()
    """Who waited most, first the worst."""
    loads: dict[str, dict[str, float]] = field(default_factory=dict)
    """Loads that schedtui itself runs there, with what they measure of themselves."""
    missing: dict[str, str] = field(default_factory=dict)


def summarise(frames: Sequence[Frame], info: MachineInfo) -> Summary:
    """Sums up ``frames``, of which there must be at least one."""
    last = frames[-1]
    seconds = sum(each.interval_s for each in frames)
    use = [statistics.fmean(cpu.used_percent for cpu in each.cpus) for each in frames if each.cpus] or [0.0]
    by_cpu = _mean_by((cpu.cpu, cpu.used_percent) for each in frames for cpu in each.cpus)
    waits = [
        sum(cpu.waiting_percent or 0.0 for cpu in each.cpus)
        for each in frames
        if any(cpu.waiting_percent is not None for cpu in each.cpus)
    ]
    pressure = _mean_by(((name, each.some_percent) for frame in frames for name, each in frame.pressure.items()))
    latency, wakeups = _latency(frames)
    return Summary(
        machine=f"{info.kind}, Linux {info.kernel}, {len(info.cpus) or len(last.cpus)} CPUs, {_caches(info)}",
        scheduler=last.scheduler.name,
        policy=last.scheduler.policy,
        settings=last.scheduler.settings,
        seconds=seconds,
        cpus=len(last.cpus),
        used_percent=statistics.fmean(use),
        shape=_shape(use, list(by_cpu.values())),
        busiest_percent=max(by_cpu.values(), default=0.0),
        waiting_percent=statistics.fmean(waits) if waits else None,
        **latency,
        wakeups_per_s=wakeups / seconds if wakeups is not None and seconds else None,
        switches_per_s=_rate(each.activity.switches_per_s for each in frames),
        forks_per_s=_rate(each.activity.forks_per_s for each in frames),
        runnable=statistics.fmean(each.activity.runnable for each in frames),
        tasks=last.activity.tasks,
        pressure_percent=pressure,
        groups=_groups(frames),
        loads={each.kind: each.metrics for each in last.workloads},
        missing=last.missing,
    )


def in_words(summary: Summary, *, more: bool = False) -> str:
    """A few lines; ``more`` names more programs, and what could not be seen."""
    lines = [
        f"Machine: {summary.machine}. Scheduler: {summary.scheduler}{_settings(summary)}. "
        f"Looked at for {summary.seconds:.1f} s.",
        f"CPUs: {summary.used_percent:.0f} % used, {summary.shape} (busiest {summary.busiest_percent:.0f} %); "
        f"{summary.runnable:.1f} tasks runnable of {summary.tasks}; {_lifetimes(summary)}.",
        _latency_words(summary),
    ]
    if summary.pressure_percent:
        told = ", ".join(f"{name} {percent:.0f} %" for name, percent in summary.pressure_percent.items())
        lines.append(f"Pressure (time in which something stood still for want of it): {told}.")
    groups = [each for each in summary.groups if more or each.wait_ms_per_s >= _WORTH_TELLING_MS_PER_S]
    groups = groups[: _SHOWN_MORE if more else _SHOWN]
    if groups:
        told = "; ".join(
            f"{each.name} ({each.tasks} tasks, waits {each.wait_ms_per_s:.0f} ms/s, runs {each.run_ms_per_s:.0f} ms/s)"
            for each in groups
        )
        lines.append(f"Who waits most: {told}.")
    else:
        lines.append("Nobody waits for a CPU for long.")
    for kind, metrics in summary.loads.items():
        told = ", ".join(f"{name} {value:.4g}" for name, value in metrics.items())
        lines.append(f"schedtui's own load “{kind}” runs: {told or 'no figures yet'}.")
    if more:
        lines += [f"Not seen: {name}: {why}." for name, why in summary.missing.items()]
    return "\n".join(lines)


def phase_change(before: Summary, after: Summary) -> str:
    """Why what runs now is something else than before, in a sentence; empty when it is the same, within reason."""
    if (before.shape == "idle") != (after.shape == "idle"):
        return f"The machine was {before.shape} and is {after.shape} now."
    if _differs(before.forks_per_s, after.forks_per_s, _LEAST_FORKS_PER_S):
        return f"New processes went from {before.forks_per_s:.0f} to {after.forks_per_s:.0f} a second."
    if _differs(before.used_percent, after.used_percent, _LEAST_PERCENT):
        return f"CPU use went from {before.used_percent:.0f} % to {after.used_percent:.0f} %."
    if set(before.loads) != set(after.loads):
        return "Other loads of schedtui run now."
    return ""


def _differs(before: float | None, after: float | None, least: float) -> bool:
    if before is None or after is None:
        return False
    low, high = sorted((before, after))
    return high >= least and high > _CHANGED * max(low, 1e-9)


def _shape(use: list[float], by_cpu: list[float]) -> Shape:
    mean = statistics.fmean(use)
    if mean >= _FULL_PERCENT:
        return "full"
    busy = [each for each in by_cpu if each >= _BUSY_PERCENT]
    if busy and len(busy) <= len(by_cpu) / 2 and mean < _BUSY_PERCENT:
        return "a few busy CPUs"
    if mean < _IDLE_PERCENT:
        return "idle"
    return "bursty" if statistics.pstdev(use) > _BURSTY * mean else "steady"


def _latency(frames: Sequence[Frame]) -> tuple[dict[str, Any], int | None]:
    """Of the best source that the last frames have: percentiles of all of them together; wake-ups, where counted."""
    seen = [each.latency for each in frames if each.latency]
    if not seen:
        return {}, None
    source = seen[-1].source
    histogram: tuple[int, ...] = ()
    for each in seen:
        if each.source == source:
            histogram = added(histogram, each.histogram)
    told = {
        "latency_source": source,
        "latency_p50_us": percentile_us(histogram, 50),
        "latency_p99_us": percentile_us(histogram, 99),
        "latency_max_us": maximum_us(histogram),
    }
    return told, sum(histogram) if source == "wakeup-probe" else None


def _groups(frames: Sequence[Frame]) -> tuple[Group, ...]:
    """Waiting tasks by the program that they belong to, averaged over all frames."""
    waits: dict[str, float] = defaultdict(float)
    runs: dict[str, float] = defaultdict(float)
    tasks: dict[str, set[int]] = defaultdict(set)
    for frame in frames:
        for each in frame.waiters:
            name = _program(each.name, each.detail)
            if name.startswith(_OWN):
                continue
            waits[name] += each.wait_ms_per_s / len(frames)
            runs[name] += each.run_ms_per_s / len(frames)
            tasks[name].add(each.pid)
    return tuple(
        Group(name=name, tasks=len(tasks[name]), wait_ms_per_s=waits[name], run_ms_per_s=runs[name])
        for name in sorted(waits, key=lambda each: -waits[each])
    )


def _program(name: str, detail: str) -> str:
    """``detail`` is 'of PROCESS' for a thread, what an interpreter runs, or nothing."""
    if detail.startswith("of "):
        return detail.removeprefix("of ")
    return f"{name} {detail}".strip()


def _latency_words(summary: Summary) -> str:
    if summary.latency_p99_us is None:
        return "Wake-up latency: not measured here."
    what = {
        "wakeup-probe": "Wake-up latency, each wake-up",
        "run-delay": "Waits in run queues, averaged for each task (a lower bound)",
        "timer-overshoot": "Lateness of a timer of schedtui's own",
    }.get(summary.latency_source, summary.latency_source)
    rates = [
        f"{value:.0f} {what}"
        for value, what in (
            (summary.wakeups_per_s, "wake-ups/s"),
            (summary.switches_per_s, "switches/s"),
        )
        if value is not None
    ]
    waiting = "" if summary.waiting_percent is None else f"; run queues {summary.waiting_percent:.0f} % of the time"
    longest = f", longest {summary.latency_max_us:.0f}" if summary.latency_max_us is not None else ""
    return (
        f"{what}: p50 {summary.latency_p50_us:.0f} µs, p99 {summary.latency_p99_us:.0f}{longest}"
        f"{waiting}{'; ' if rates else ''}{', '.join(rates)}."
    )


def _lifetimes(summary: Summary) -> str:
    """As far as known: the kernel counts births, and says nothing of deaths."""
    if summary.forks_per_s is None:
        return "how long tasks live is not known"
    if summary.forks_per_s < 1:
        return "hardly any new processes, so tasks live long"
    if summary.forks_per_s < _LEAST_FORKS_PER_S:
        return f"{summary.forks_per_s:.0f} new processes/s"
    return f"{summary.forks_per_s:.0f} new processes/s, so many live only briefly"


def _settings(summary: Summary) -> str:
    if not summary.policy:
        return ""
    told = ", ".join(f"{name}={value}" for name, value in summary.settings.items())
    return f" ({summary.policy}{': ' if told else ''}{told})"


def _caches(info: MachineInfo) -> str:
    caches = len({each.llc for each in info.cpus}) or 1
    return "one shared cache" if caches == 1 else f"{caches} caches"


def _rate(values: Iterable[float | None]) -> float | None:
    known = [each for each in values if each is not None]
    return statistics.fmean(known) if known else None


def _mean_by(pairs: Iterable[tuple[_Key, float]]) -> dict[_Key, float]:
    found: dict[_Key, list[float]] = defaultdict(list)
    for key, value in pairs:
        found[key].append(value)
    return {key: statistics.fmean(values) for key, values in found.items()}
