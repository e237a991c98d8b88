"""Themes: what ships, and what is wrong with damaged ones."""

from __future__ import annotations

from pathlib import Path

import pytest
from textual.color import Color

from schedtui.paths import shipped
from schedtui.widgets.themes import VARIABLES, load_themes
from tests.widgets.showing import written


def test_the_shipped_themes_are_whole_and_colour_every_role() -> None:
    themes, problems = load_themes([shipped("themes")])
    assert problems == []
    assert {theme.name for theme in themes} == {"schedtui-dark", "schedtui-light", "schedtui-contrast"}
    for theme in themes:
        assert VARIABLES.keys() <= theme.variables.keys()


def contrast(text: str, background: str) -> float:
    """Contrast ratio as WCAG 2 defines it."""

    def luminance(colour: str) -> float:
        parts = [
            value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4
            for value in Color.parse(colour).normalized
        ]
        return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]

    lighter, darker = sorted((luminance(text), luminance(background)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def test_text_can_be_read_in_every_shipped_theme() -> None:
    for theme in load_themes([shipped("themes")])[0]:
        assert theme.background and theme.foreground and theme.error and theme.warning and theme.success
        least = 7 if theme.name == "schedtui-contrast" else 4.5
        for colour in (
            theme.foreground,
            theme.variables["muted"],
            theme.error,
            theme.warning,
            theme.success,
            theme.primary,
        ):
            assert contrast(colour, theme.background) >= least, (theme.name, colour)
        assert contrast(theme.variables["faint"], theme.background) >= (7 if least == 7 else 3), theme.name


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("primary = ", "it is not TOML"),
        (b"\xff\xfe\x00", "it is not text in UTF-8"),
        ('name = "x"', "no colour “primary”"),
        ('primary = "not-a-colour"', "“primary” is not a colour"),
        ("primary = 5", "“primary” is not a colour"),
        ('primary = "#fff"\ncolour = "#000"', "unknown key “colour”"),
        ('primary = "#fff"\ndark = "yes"', "“dark” is neither true nor false"),
        ('primary = "#fff"\ntext_alpha = "much"', "“text_alpha” is not a number"),
        ('primary = "#fff"\nvariables = 3', "“variables” is not a table"),
        ('primary = "#fff"\n[variables]\ntrack = "nope"', "“track” is not a colour"),
    ],
)
def test_a_damaged_theme_is_named_and_the_others_still_load(
    tmp_path: Path, content: str | bytes, complaint: str
) -> None:
    path = written(tmp_path, "broken.toml", content)
    written(tmp_path, "whole.toml", 'primary = "#123456"')
    themes, problems = load_themes([tmp_path])
    assert [theme.name for theme in themes] == ["whole"]
    assert len(problems) == 1 and str(path) in problems[0] and complaint in problems[0]


def test_a_users_theme_wins_over_a_shipped_one_and_a_missing_folder_is_no_problem(tmp_path: Path) -> None:
    written(tmp_path, "mine.toml", 'name = "schedtui-dark"\nprimary = "#123456"')
    themes, problems = load_themes([shipped("themes"), tmp_path, tmp_path / "nowhere"])
    assert problems == []
    assert [theme.primary for theme in themes if theme.name == "schedtui-dark"] == ["#123456"]
