"""The figures of the stress suite in words and with their units, for the report on the screen and the one in text."""

from __future__ import annotations

from collections.abc import Callable

from schedtui.units import count, digits, duration

BASELINE = "eevdf_"
"""How the names of figures begin that were measured under the kernel's own scheduler."""
FIGURES = {
    "wakeup_p50_us": "wait after waking up, typical (p50)",
    "wakeup_p99_us": "wait after waking up, worst 1 % (p99)",
    "longest_wait_ms": "longest wait of any program",
    "fairness_of_equals": "equal shares for equals (1 is best)",
    "fairness_by_weight": "shares by nice level (1 is best)",
    "work_per_s": "work done in a second",
    "wakeup_to_idle_p99_us": "wait after waking up, CPUs idle (p99)",
    "cpu_time_percent": "CPU time that programs got",
    "cpus_used_percent": "CPU time used when all could be busy",
    "round_trip_us": "two programs that take turns, a round",
    "handoff_us": "handing on a lock",
    "programs_per_s": "short programs run in a second",
}
"""The stress suite's figures in words."""


def figure_title(name: str) -> str:
    """A figure's name in words: the stress suite's by what they mean, others as they are, without the unit."""
    stem, _, unit = name.rpartition("_")
    return FIGURES.get(name) or (stem if unit in _UNITS and stem else name).replace("_", " ")


def shown_figure(name: str, value: float) -> str:
    """A figure with its unit, which is the end of its name."""
    unit = name.rpartition("_")[2]
    if unit in _UNITS and not name.endswith("_per_s"):
        return _UNITS[unit](value)
    return count(value) if value >= 1000 else digits(value) if value >= 1 else f"{value:.2f}"


_UNITS: dict[str, Callable[[float], str]] = {
    "ns": lambda value: duration(value / 1000),
    "us": duration,
    "ms": lambda value: duration(value * 1000),
    "s": lambda value: duration(value * 1_000_000),
    "percent": lambda value: f"{digits(value)} %",
}
