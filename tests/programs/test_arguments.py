"""The command line that a goal and settings make of a scheduler's entry in the library."""

from __future__ import annotations

from pathlib import Path

import pytest

from schedtui.backend.errors import BadFile, BadTunable, UnknownName
from schedtui.backend.model import Mode, Setting, Tunable
from schedtui.backend.programs import arguments_of, read_entry
from schedtui.paths import shipped

MODES = (
    Mode(goal="audio", flags=("-p", "--domain", "fast", "--slice-us", "500", "--deep"), reason="."),
    Mode(goal="battery", flags=("--slice-us=9", "-1"), reason="."),
)
TUNABLES = (
    Tunable(name="slice-us", description=".", cost=".", default=1000, minimum=-1, maximum=9000),
    Tunable(name="f", description=".", cost=".", default=1, minimum=0, maximum=9),
    Tunable(name="deep", description=".", cost=".", default=False),
    Tunable(name="domain", description=".", cost=".", default="auto", max_length=20),
)


@pytest.mark.parametrize(
    ("goal", "settings", "expected"),
    [
        ("", {}, ""),
        ("gaming", {}, ""),
        ("audio", {}, "-p --domain fast --slice-us 500 --deep"),
        ("audio", {"slice-us": 800}, "-p --domain fast --deep --slice-us=800"),
        ("audio", {"domain": "0-3", "deep": False}, "-p --slice-us 500 --domain=0-3"),
        ("battery", {"slice-us": -1}, "-1 --slice-us=-1"),
        ("", {"deep": True, "f": 2}, "--deep -f 2"),
        ("", {"deep": False}, ""),
    ],
    ids=["nothing", "no mode", "mode", "number", "text and switch", "joined", "set", "unset"],
)
def test_a_setting_takes_the_place_of_the_modes_own_flag(
    goal: str, settings: dict[str, Setting], expected: str
) -> None:
    assert " ".join(arguments_of(MODES, TUNABLES, goal, settings)) == expected


@pytest.mark.parametrize(
    "settings",
    [{"other": 1}, {"slice-us": 99999}, {"domain": "/etc/passwd"}, {"domain": "a b"}, {"domain": "a\n"}],
    ids=["unknown", "out of range", "path", "two words", "line"],
)
def test_what_an_entry_does_not_offer_becomes_no_argument(settings: dict[str, Setting]) -> None:
    with pytest.raises(BadTunable):
        arguments_of(MODES, TUNABLES, "audio", settings)


@pytest.mark.parametrize("path", sorted(shipped("library").glob("scx_*")), ids=lambda each: each.name)
def test_every_external_scheduler_of_the_library_can_be_read_by_the_helper(path: Path) -> None:
    entry = read_entry(path.parent, path.name)
    assert entry.binary
    for mode in entry.mode:
        arguments_of(entry.mode, entry.tunable, mode.goal, {each.name: each.default for each in entry.tunable})


@pytest.mark.parametrize("name", ["fair", "../library/scx_lavd", "scx_none", ""])
def test_what_is_no_external_scheduler_is_none(name: str) -> None:
    with pytest.raises((UnknownName, BadFile)):
        read_entry(shipped("library"), name)
