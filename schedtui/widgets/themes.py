"""Themes from TOML files, and the styles that panels draw with.

A theme file has the keys of Textual's ``Theme`` and a table ``[variables]``. Panels look up roles (``bar-high``,
``muted``, …): a theme may give any of the variables below a colour of its own, and what it does not give is derived
from its standard colours, so that every theme serves, also Textual's own. The styles are resolved once for each theme
and shared by all panels; component classes would be resolved anew for every role of every panel at every start.
"""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from rich.segment import Segment
from rich.style import Style
from textual.app import App
from textual.color import Color, ColorParseError
from textual.filter import ANSIToTruecolor
from textual.theme import Theme

_THEME_KEYS = {each.name: each.type for each in fields(Theme)}
_COLOURS = {
    "primary",
    "secondary",
    "accent",
    "warning",
    "error",
    "success",
    "foreground",
    "background",
    "surface",
    "panel",
    "boost",
}

VARIABLES = {
    "frame": "the borders of panels",
    "frame-focus": "the border of the panel that has the focus",
    "title": "titles of panels",
    "muted": "text of less weight",
    "faint": "axes, hints, what is idle",
    "track": "the empty part of a bar",
    "use-low": "a CPU below half",
    "use-mid": "a CPU below 85 %",
    "use-high": "a CPU above",
    "past": "the use of a CPU in the last minutes",
    "wait": "tasks that wait",
    "band-p50": "the chart below the median",
    "band-p99": "the chart from the median to the 99th percentile",
    "ghost": "what is compared with",
    "marker": "where the scheduler changed",
    "cursor": "background of the chosen line",
    "bar-background": "background of the header and the key bar",
}
"""What a theme may colour besides Textual's own colours, and what it is for."""


def load_themes(folders: Sequence[Path]) -> tuple[list[Theme], list[str]]:
    """The themes in ``folders`` (of two with the same name, the later), and what was wrong with the others.

    A damaged file is skipped and named in the second list; a folder that does not exist holds no themes.
    """
    themes: dict[str, Theme] = {}
    problems: list[str] = []
    for folder in folders:
        for path in sorted(folder.glob("*.toml")):
            try:
                theme = read_theme(path)
            except (OSError, ValueError) as error:
                problems.append(f"The theme {path} was skipped: {error}")
            else:
                themes[theme.name] = theme
    return list(themes.values()), problems


def read_theme(path: Path) -> Theme:
    """The theme in a TOML file. Raises ValueError (or OSError) with what is wrong with it."""
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except UnicodeDecodeError as error:
        raise ValueError("it is not text in UTF-8") from error
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"it is not TOML ({error})") from error
    content.setdefault("name", path.stem)
    if "primary" not in content:
        raise ValueError("it has no colour “primary”")
    for key, value in content.items():
        _check(key, value)
    return Theme(**content)


def _check(key: str, value: Any) -> None:
    if key not in _THEME_KEYS:
        raise ValueError(f"it has an unknown key “{key}”")
    if key in _COLOURS:
        _check_colour(key, value)
    elif key == "variables":
        if not isinstance(value, dict):
            raise ValueError("“variables” is not a table")
        for name, colour in value.items():
            if name in VARIABLES:
                _check_colour(name, colour)
            elif not isinstance(colour, str):
                raise ValueError(f"the variable “{name}” is not text")
    elif key in ("dark", "ansi"):
        if not isinstance(value, bool):
            raise ValueError(f"“{key}” is neither true nor false")
    elif key == "name":
        if not isinstance(value, str) or not value:
            raise ValueError("“name” is not a name")
    elif isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"“{key}” is not a number")


def _check_colour(key: str, value: Any) -> None:
    try:
        Color.parse(value)
    except (ColorParseError, TypeError, AttributeError) as error:
        raise ValueError(f"“{key}” is not a colour: {value!r}") from error


@dataclass(frozen=True)
class Palette:
    """The styles of one theme, by role."""

    key: tuple[str, bool]
    styles: dict[str, Style]


_last: Palette | None = None


def palette_of(app: App[Any]) -> Palette:
    """The styles of the theme that ``app`` shows now. The same object until the theme changes."""
    global _last
    key = (app.theme, app.no_color)
    if _last is None or _last.key != key:
        variables = app.get_css_variables()
        styles = _without_colour() if app.no_color else _coloured(variables)
        background = _colour(variables, "background", Color(0, 0, 0))
        _last = Palette(key, {role: _filtered(app, style, background) for role, style in styles.items()})
    return _last


def _filtered(app: App[Any], style: Style, background: Color) -> Style:
    """The style after the app's line filters (NO_COLOR, dim), which then need not look at every line drawn."""
    segments = [Segment("x", style)]
    for each in app.get_line_filters():
        if each.enabled and not isinstance(each, ANSIToTruecolor):
            segments = each.apply(segments, background)
    return segments[0].style or Style.null()


def _coloured(variables: dict[str, str]) -> dict[str, Style]:
    background = _colour(variables, "background", Color(0, 0, 0))
    foreground = _colour(variables, "foreground", background.inverse)
    ansi = background.ansi is not None or foreground.ansi is not None
    primary = _colour(variables, "primary", foreground)
    accent = _colour(variables, "accent", primary)
    warning = _colour(variables, "warning", primary)
    error = _colour(variables, "error", warning)
    success = _colour(variables, "success", primary)

    def mixed(colour: Color, weight: float) -> Color:
        return colour if ansi else background.blend(colour, weight)

    def choice(name: str, fallback: Color) -> Color:
        return _colour(variables, name, fallback)

    track = choice("track", mixed(foreground, 0.10))
    cursor = choice("cursor", mixed(primary, 0.25))
    bar_background = choice("bar-background", mixed(foreground, 0.07))
    muted = choice("muted", mixed(foreground, 0.65))
    faint = choice("faint", mixed(foreground, 0.35))
    low = choice("use-low", primary)
    mid = choice("use-mid", accent)
    high = choice("use-high", warning)
    wait = choice("wait", warning)
    ghost = choice("ghost", mixed(foreground, 0.45))

    def on(colour: Color, back: Color = background, *, bold: bool = False) -> Style:
        return Style(color=colour.rich_color, bgcolor=back.rich_color, bold=bold or None)

    def inverse(back: Color) -> Style:
        text = Color.parse("ansi_black") if ansi else back.get_contrast_text(1.0)
        return on((back + text) if not ansi else text, back, bold=True)

    return {
        "text": on(foreground),
        "strong": on(foreground, bold=True),
        "muted": on(muted),
        "faint": on(faint),
        "frame": on(choice("frame", mixed(foreground, 0.25))),
        "frame-focus": on(choice("frame-focus", primary)),
        "title": on(choice("title", foreground), bold=True),
        "accent": on(primary, bold=True),
        "track": on(faint, track),
        "bar-low": on(low, track),
        "bar-mid": on(mid, track),
        "bar-high": on(high, track),
        "heat-idle": on(faint),
        "heat-low": on(low),
        "heat-mid": on(mid),
        "heat-high": on(high),
        "cursor": on(foreground, cursor, bold=True),
        "cursor-muted": on(muted, cursor),
        "cursor-idle": on(faint, cursor),
        "cursor-low": on(low, cursor),
        "cursor-mid": on(mid, cursor),
        "cursor-high": on(high, cursor),
        "past": on(choice("past", mixed(low, 0.45))),
        "wait": on(wait),
        "p50": on(choice("band-p50", primary)),
        "p99": on(choice("band-p99", mixed(primary, 0.5))),
        "p50-text": on(choice("band-p50", primary), bold=True),
        "p99-text": on(foreground, bold=True),
        "ghost": on(ghost),
        "marker": on(choice("marker", accent)),
        "info": on(muted),
        "good": on(success, bold=True),
        "warning": on(warning, bold=True),
        "bad": on(error, bold=True),
        "head": on(foreground, bar_background),
        "head-muted": on(muted, bar_background),
        "head-brand": on(primary, bar_background, bold=True),
        "head-strong": on(foreground, bar_background, bold=True),
        "head-good": on(success, bar_background, bold=True),
        "head-warning": on(warning, bar_background, bold=True),
        "badge": inverse(accent),
        "panic": inverse(warning),
        "alarm": inverse(error),
    }


def _colour(variables: dict[str, str], name: str, fallback: Color) -> Color:
    try:
        return Color.parse(variables[name])
    except (KeyError, ColorParseError):
        return fallback


def _without_colour() -> dict[str, Style]:
    """Weight alone tells things apart: bold, dim, reverse."""
    plain, bold, dim = Style.null(), Style(bold=True), Style(dim=True)
    reverse, reverse_bold = Style(reverse=True), Style(reverse=True, bold=True)
    groups = {
        plain: "text muted bar-low bar-mid heat-low heat-mid wait p50 marker info head head-muted",
        bold: "strong frame-focus title accent bar-high heat-high p50-text p99-text good warning bad head-brand"
        " head-strong head-good head-warning",
        dim: "faint frame track heat-idle past p99 ghost",
        reverse: "cursor cursor-muted cursor-idle cursor-low cursor-mid cursor-high",
        reverse_bold: "badge panic alarm",
    }
    return {role: style for style, roles in groups.items() for role in roles.split()}
