"""Numbers as people read them: a few digits and a unit that fits the size."""

from __future__ import annotations

_STEPS = ((1.0, "µs"), (1e3, "ms"), (1e6, "s"))


def digits(value: float) -> str:
    """Two or three significant digits: 0.42, 2.1, 12, 412."""
    if value < 0.995:
        return f"{value:.2f}".rstrip("0").rstrip(".") or "0"
    return f"{value:.1f}" if value < 9.95 else f"{value:.0f}"


def duration(us: float) -> str:
    """A duration of ``us`` microseconds: ``12 µs``, ``2.1 ms``, ``1.5 s``."""
    number, unit = _scaled(us)
    return f"{number} {unit}"


def short_duration(us: float) -> str:
    """The same for an axis: ``12µ``, ``2.1m``, ``1.5s``."""
    number, unit = _scaled(us)
    return number.removesuffix(".0") + {"ns": "n", "µs": "µ", "ms": "m", "s": "s"}[unit]


def _scaled(us: float) -> tuple[str, str]:
    if us < 0.9995:
        return f"{us * 1000:.0f}", "ns"
    scale, unit = next(((s, u) for s, u in _STEPS if us < s * 999.5), _STEPS[-1])
    return digits(us / scale), unit


def count(value: float) -> str:
    """A count or a rate: ``312``, ``8.4k``, ``1.2M``."""
    steps = ((1.0, ""), (1e3, "k"), (1e6, "M"), (1e9, "G"))
    scale, unit = next((step for step in steps if value < step[0] * 999.5), steps[-1])
    scaled = value / scale
    return f"{scaled:.1f}{unit}" if unit and scaled < 9.95 else f"{scaled:.0f}{unit}"


def span(seconds: float) -> str:
    """How long something lasts: ``12 s``, ``4 min``, ``3 h``, ``2 d``."""
    for limit, scale, unit in ((120, 1, "s"), (7200, 60, "min"), (172800, 3600, "h")):
        if seconds < limit:
            return f"{max(0, int(seconds / scale))} {unit}"
    return f"{int(seconds / 86400)} d"


def gigahertz(mhz: int) -> str:
    """A clock rate in four cells: ``4.2G``, ``800M``."""
    return f"{mhz / 1000:.1f}G" if mhz >= 995 else f"{mhz}M"
