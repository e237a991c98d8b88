"""Command lines as other programs write them become modes and settings that the catalogue checked, and nothing else."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from schedtui.backend.errors import BadTunable
from schedtui.backend.library.catalogue import load_library
from schedtui.backend.programs import arguments_of
from schedtui.mcp import flags
from schedtui.paths import shipped

POLICIES = load_library(shipped("library")).policies


@pytest.fixture(autouse=True)
def nothing_installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Whatever this computer has of external schedulers."""
    for name, value in {"PATH": "", "SCHEDTUI_SCX": "", "HOME": str(tmp_path)}.items():
        monkeypatch.setenv(name, value)


@pytest.mark.parametrize(
    "words",
    [
        ["--slice-us", "5000"],
        ["--slice-us=5000"],
        ["--slice_us", "5000"],
        ["--slice_us=5000"],
        ["-slice-us", "5000"],
        ["--", "--slice-us", "5000"],
        ["--slice-us", "4000", "--slice-us", "5000"],
    ],
    ids=["blank", "equals", "underscore", "underscore and equals", "one dash", "after two dashes", "the last counts"],
)
def test_a_tunable_is_understood_however_its_flag_is_written(words: list[str]) -> None:
    for name, setting in (("fair", "slice_us"), ("scx_bpfland", "slice-us")):
        _, settings = flags.settings_from(POLICIES[name], words)
        assert settings == {setting: 5000}


def test_what_is_on_or_off_needs_no_value_and_may_have_one() -> None:
    rusty = POLICIES["scx_rusty"]
    for words in (["--kthreads-local"], ["--kthreads-local", "true"], ["--kthreads_local=on"]):
        assert flags.settings_from(rusty, words)[1] == {"kthreads-local": True}
    assert flags.settings_from(rusty, ["--kthreads-local", "--perf", "10"])[1] == {"kthreads-local": True, "perf": 10}
    assert flags.settings_from(rusty, ["--kthreads-local", "false"])[1] == {"kthreads-local": False}


def test_the_flags_of_a_mode_choose_the_mode_and_the_others_stay_settings() -> None:
    lavd = POLICIES["scx_lavd"]
    own = lavd.tunables[0]
    policy, settings = flags.settings_from(lavd, ["--powersave", f"--{own.name}={own.default}"])
    assert (policy.goal, settings) == ("battery", {own.name: own.default})
    assert arguments_of(policy.modes, policy.tunables, policy.goal, {}) == ("--powersave",)
    assert flags.settings_from(lavd, [])[0].goal == ""
    layered = POLICIES["scx_layered"]
    assert flags.settings_from(layered, ["--slice-us", "9000"])[0].goal == "server", "it has none without a mode"


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["--bogus", "1"], "has no flag --bogus.*--slice-us"),
        (["--slice"], "has no flag --slice.*Did you mean --slice-us"),
        (["--slice-us", "1"], "slice-us cannot be “1”.*100 to 100000"),
        (["--slice-us", "many"], "slice-us cannot be “many”"),
        (["--slice-us"], "wants a value"),
        (["--slice-us", "--no-such"], "wants a value"),
        (["5000"], "“5000” is no flag"),
        (["/etc/passwd"], "is no flag"),
        (["--primary-domain", "/dev/sda"], "primary-domain cannot be “/dev/sda”"),
        (["--primary-domain"], "wants a value"),
    ],
    ids=[
        "unknown",
        "near",
        "range",
        "no number",
        "no value",
        "flag as value",
        "bare",
        "path",
        "path as value",
        "no text",
    ],
)
def test_what_the_catalogue_does_not_know_is_refused_with_what_it_knows(words: list[str], why: str) -> None:
    with pytest.raises(BadTunable) as refused:
        flags.settings_from(POLICIES["scx_bpfland"], words)
    assert re.search(why, f"{refused.value.message} {refused.value.remedy}")


def test_what_only_belongs_to_another_mode_is_refused_with_the_modes() -> None:
    with pytest.raises(BadTunable) as refused:
        flags.settings_from(POLICIES["scx_lavd"], ["--powersave", "--performance"])
    assert "--autopilot" in refused.value.remedy


def test_every_parameter_that_is_listed_can_be_given_as_its_flag_says() -> None:
    for policy in POLICIES.values():
        for tunable in policy.tunables:
            flag = flags.written(policy, tunable)
            _, settings = flags.settings_from(policy, [flag, str(tunable.default).lower()])
            assert settings == {tunable.name: tunable.default}, (policy.name, flag)


def test_every_mode_of_the_library_can_be_given_as_it_is_written() -> None:
    for policy in POLICIES.values():
        for mode in policy.modes:
            understood, settings = flags.settings_from(policy, mode.flags)
            written = arguments_of(policy.modes, policy.tunables, understood.goal, settings)
            own = arguments_of(policy.modes, policy.tunables, mode.goal, {})
            assert set(_pairs(written)) == set(_pairs(own)), (policy.name, mode.goal)


def _pairs(words: tuple[str, ...]) -> list[str]:
    return " ".join(words).replace("=", " ").split(" ")
