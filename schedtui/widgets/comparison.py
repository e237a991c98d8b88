"""What a canary measured, drawn: both numbers as bars, and the change with how sure it is.

Draws Comparisons; what they mean for a scheduler is the canary's to say.
"""

from __future__ import annotations

from textual.content import Content

from schedtui.backend.model import Comparison, Metric
from schedtui.units import count, duration
from schedtui.widgets.glyphs import choose_glyphs
from schedtui.widgets.policy import MUTED

BAR = 24
AXIS = 41
"""Cells of the axis on which the change lies; odd, so that nothing is in the middle."""
_SCALES = (10, 25, 50, 100, 200, 400)
_VERDICTS = {
    "better": ("better", "bold $text-success"),
    "worse": ("worse", "bold $text-error"),
    "no-difference": ("no difference", "bold"),
    "inconclusive": ("not sure", "bold $text-warning"),
}
_NAMES = {
    "wakeup_p99_us": "The longest waits for a CPU (p99)",
    "wakeup_p50_us": "The usual wait for a CPU",
    "work_per_s": "Work done each second",
    "command_s": "Time until the command ends",
}


def metric_words(metric: Metric) -> str:
    """What is measured, in plain words, and on whom."""
    better = "less" if metric.better == "lower" else "more"
    return f"{name_words(metric)}; {better} is better"


def name_words(metric: Metric) -> str:
    """What is measured, and on whom."""
    whose = f" of {', '.join(metric.focus)}" if metric.focus else ""
    return f"{_NAMES[metric.name]}{whose}"


def value_words(metric: Metric, value: float | None) -> str:
    """A value of the metric with its unit; a dash while too little was seen."""
    if value is None:
        return "–"
    if metric.name in ("wakeup_p99_us", "wakeup_p50_us"):
        return duration(value)
    return f"{count(value)}/s" if metric.name == "work_per_s" else f"{value:.1f} s"


def change_words(comparison: Comparison, *, short: bool = False) -> str:
    """``−18 % (95 % sure: −24 % to −11 %)``, ``short`` without the interval; empty while nothing can be said."""
    if comparison.change_percent is None:
        return ""
    words = _percent(comparison.change_percent)
    if short or comparison.low_percent is None or comparison.high_percent is None:
        return words
    return f"{words} (95 % sure: {_percent(comparison.low_percent)} to {_percent(comparison.high_percent)})"


def verdict_words(comparison: Comparison) -> tuple[str, str]:
    """The verdict in a word or two, and its style."""
    return _VERDICTS[comparison.verdict]


def comparison_lines(comparison: Comparison, *, side: str = "", final: bool = True) -> Content:
    """The metric, both bars, the change on its axis. ``side`` is what runs now, while it is being measured."""
    glyphs, metric = choose_glyphs(), comparison.metric
    values = (("before", comparison.before), ("after", comparison.after))
    largest = max((value for _, value in values if value is not None), default=0.0)
    lines = [Content.styled(metric_words(metric), MUTED)]
    for name, value in values:
        filled = round(BAR * value / largest) if value and largest else 0
        style = "$text-accent" if name == "after" else "$foreground 65%"
        words = value_words(metric, value)
        bar = glyphs.fills[-1] * max(filled, 1 if value else 0)
        now = f"  {glyphs.on} now" if side == name and not final else ""
        lines.append(Content.assemble(f"{name:<7}", (f"{words:>8} ", "bold"), (bar, style), (now, "bold $text-accent")))
    if comparison.change_percent is not None:
        lines.append(Content.assemble("change  ", (change_words(comparison), "bold")))
        lines.append(_axis(comparison))
    measured = f"{comparison.seconds:.0f} s measured"
    if final:
        word, style = verdict_words(comparison)
        lines.append(Content.assemble("verdict ", (word, style), (f"   {measured}", MUTED)))
    else:
        lines.append(Content.styled(f"{measured}, goes on until the numbers are sure", MUTED))
    return Content("\n").join(lines)


def _axis(comparison: Comparison) -> Content:
    """``worse ┄┄┄┄┄┊┄┄━━●━━┄ better``: the interval, and the change in it."""
    glyphs = choose_glyphs()
    change = comparison.change_percent or 0.0
    low = change if comparison.low_percent is None else comparison.low_percent
    high = change if comparison.high_percent is None else comparison.high_percent
    reach = max(abs(low), abs(high))
    scale = next((each for each in _SCALES if reach <= each), _SCALES[-1])
    good = 1 if comparison.metric.better == "higher" else -1

    def cell(percent: float) -> int:
        middle = AXIS // 2
        return max(0, min(AXIS - 1, middle + round(good * percent / scale * middle)))

    first, last = sorted((cell(low), cell(high)))
    signs: list[tuple[str, str]] = []
    for at in range(AXIS):
        if at == cell(change):
            signs.append((glyphs.on, "bold $text-accent"))
        elif first <= at <= last:
            signs.append(("=" if glyphs.ascii else "━", "bold $text-accent"))
        elif at == AXIS // 2:
            signs.append((glyphs.vertical, "$foreground 65%"))
        else:
            signs.append((glyphs.horizontal, "$foreground 25%"))
    return Content.assemble(("worse ", MUTED), *signs, (" better", MUTED))


def _percent(value: float) -> str:
    sign = "+" if value > 0 else "−" if value < 0 else "±"
    return f"{sign}{abs(value):.0f} %"
