"""The catalogue reads a library folder: sound entries come in, damaged ones are named with file and line."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from schedtui.backend.errors import BadTunable, UnknownName
from schedtui.backend.library.catalogue import Library, load_library
from schedtui.backend.tunables import check_settings, range_of
from schedtui.paths import shipped

POLICY = """\
name = "plain"
title = "Plain"
summary = "Runs tasks in turn."
description = "Long."
for_whom = ["everybody"]
source = "plain.bpf.c"

[[tunable]]
name = "slice_us"
description = "How long a task runs."
cost = "Others wait longer."
unit = "µs"
default = 3000
minimum = 100
maximum = 100000

[[tunable]]
name = "keep_cpu"
description = "Stay on one CPU."
cost = "Idle CPUs."
default = true

[[tunable]]
name = "favourite"
description = "Name of the task that goes first."
cost = "Others wait."
default = ""
max_length = 15

[[statistic]]
name = "nr_dispatched"
description = "Tasks that were dispatched."
"""
PRESETS = """\
[[preset]]
id = "smooth"
title = "Smooth"
summary = "Nothing stutters."
does = "Shares."
costs = "Throughput."

[[preset.choice]]
policy = "plain"
reason = "It is there."
settings = { slice_us = 1000 }

[[preset]]
id = "default"
title = "Back"
summary = "The kernel's own."
does = "Unloads."
costs = "Nothing."
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A library of one policy and two presets."""
    add_policy(tmp_path, "plain", POLICY)
    (tmp_path / "presets.toml").write_text(PRESETS)
    return tmp_path


def add_policy(folder: Path, name: str, text: str) -> Path:
    """Write a policy's two files."""
    (folder / name).mkdir()
    (folder / name / f"{name}.bpf.c").write_text("// nothing\n")
    path = folder / name / "policy.toml"
    path.write_text(text)
    return path


def only_problem(library: Library) -> str:
    """The one problem that there is."""
    assert len(library.problems) == 1, library.problems
    return library.problems[0]


def test_a_sound_library_has_no_problems_and_keeps_the_order_of_its_presets(folder: Path) -> None:
    library = load_library(folder)
    assert library.problems == []
    assert list(library.presets) == ["smooth", "default"]
    assert library.policy("plain").source == str(folder / "plain" / "plain.bpf.c")
    assert [each.name for each in library.policy("plain").statistics] == ["nr_dispatched"]
    assert library.preset("smooth").choices[0].settings == {"slice_us": 1000}


def test_the_library_that_ships_is_sound_and_leads_back_to_the_kernels_own_scheduler() -> None:
    library = load_library(shipped("library"))
    assert library.problems == []
    assert {"fair", "fifo", "interactive", "longest-first"} <= set(library.policies)
    assert library.preset("default").choices == ()


def test_each_policy_that_ships_says_how_it_decides_and_when_not_to_use_it() -> None:
    notes = {policy.name: policy.note for policy in load_library(shipped("library")).policies.values()}
    assert [name for name, note in notes.items() if "hen not to use it" not in note] == []


@pytest.mark.parametrize(
    ("old", "new", "where", "what"),
    [
        ('unit = "µs"', "unit = 5", 12, "Expected `str`, got `int`"),
        ('cost = "Others wait longer."\n', "", 8, "missing cost"),
        ("minimum = 100\n", "minimum = 100\nminimun = 1\n", 15, "unknown minimun"),
        ("minimum = 100\n", "", 9, "needs a minimum and a maximum"),
        ("maximum = 100000", "maximum = 2000", 9, "100 to 2000 µs"),
        ("minimum = 100\n", "minimum = 200000\n", 9, "above its maximum"),
        ("max_length = 15", "", 24, "needs a max_length"),
        ('default = ""', 'default = "a name that is too long"', 24, "at most 15 bytes"),
        ('name = "keep_cpu"', 'name = "slice_us"', 18, "listed twice"),
        ('name = "keep_cpu"', 'name = "keep cpu"', 18, "C global"),
        ('name = "plain"', 'name = "other"', 1, "the folder is called “plain”"),
        ('source = "plain.bpf.c"', 'source = "../x.bpf.c"', 6, "not a file of this folder"),
        ('title = "Plain"', "title = ", 2, "not TOML"),
    ],
)
def test_a_damaged_policy_is_named_with_file_and_line(folder: Path, old: str, new: str, where: int, what: str) -> None:
    (folder / "presets.toml").write_text(PRESETS.partition("\n\n[[preset.choice]]")[0])
    path = folder / "plain" / "policy.toml"
    assert POLICY.count(old) >= 1
    path.write_text(POLICY.replace(old, new, 1))
    problem = only_problem(load_library(folder))
    assert problem.startswith(f"{path}:{where}: ")
    assert what.replace("`", "") in problem


def test_a_damaged_policy_hides_no_other(folder: Path) -> None:
    add_policy(folder, "broken", "name = [")
    library = load_library(folder)
    assert list(library.policies) == ["plain"]
    assert "broken" in only_problem(library)


def test_a_policy_file_that_is_no_text_is_named(folder: Path) -> None:
    add_policy(folder, "binary", "").write_bytes(b"\xff\xfe\x00")
    assert "not UTF-8" in only_problem(load_library(folder))


@pytest.mark.parametrize(
    ("old", "new", "where", "what"),
    [
        ('policy = "plain"', 'policy = "gone"', 1, "no usable policy called “gone”"),
        ("slice_us = 1000", "slice_us = 1", 1, "100 to 100000 µs"),
        ("slice_us = 1000", "slce_us = 1000", 1, "Did you mean “slice_us”?"),
    ],
)
def test_a_preset_that_cannot_be_used_stays_and_is_named(
    folder: Path, old: str, new: str, where: int, what: str
) -> None:
    (folder / "presets.toml").write_text(PRESETS.replace(old, new))
    library = load_library(folder)
    assert "smooth" in library.presets
    assert only_problem(library).startswith(f"{folder / 'presets.toml'}:{where}: smooth: ")
    assert what in only_problem(library)


def test_a_damaged_preset_hides_no_other(folder: Path) -> None:
    (folder / "presets.toml").write_text(PRESETS.replace('costs = "Nothing."', "costs = 3"))
    library = load_library(folder)
    assert list(library.presets) == ["smooth"]
    assert only_problem(library).startswith(f"{folder / 'presets.toml'}:18: ")


def test_a_preset_may_not_take_the_name_of_a_policy(folder: Path) -> None:
    (folder / "presets.toml").write_text(PRESETS.replace('id = "default"', 'id = "plain"'))
    library = load_library(folder)
    assert list(library.presets) == ["smooth"]
    assert "already the name" in only_problem(library)


def test_an_empty_folder_is_a_library_with_problems_and_nothing_else(tmp_path: Path) -> None:
    library = load_library(tmp_path)
    assert not library.policies
    assert not library.presets
    assert len(library.problems) == 2


def test_an_unknown_name_leads_to_the_near_one(folder: Path) -> None:
    library = load_library(folder)
    for ask in (library.policy, library.find):
        with pytest.raises(UnknownName) as caught:
            ask("plian")
        assert "“plain”" in caught.value.remedy


@pytest.mark.parametrize(
    ("name", "given", "value"),
    [
        ("slice_us", "2000", 2000),
        ("slice_us", "0x100", 256),
        ("slice_us", 100, 100),
        ("slice_us", 100000, 100000),
        ("keep_cpu", "off", False),
        ("keep_cpu", True, True),
        ("favourite", "game.exe", "game.exe"),
        ("favourite", "15 bytes long..", "15 bytes long.."),
    ],
)
def test_a_setting_in_range_is_taken_as_the_tunables_own_type(
    folder: Path, name: str, given: str | int | bool, value: str | int | bool
) -> None:
    settings = check_settings(load_library(folder).policy("plain"), {name: given})
    assert settings == {name: value}
    assert type(settings[name]) is type(value)


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("slice_us", "99"),
        ("slice_us", 100001),
        ("slice_us", "many"),
        ("slice_us", ""),
        ("slice_us", True),
        ("slice_us", "9" * 5000),
        ("keep_cpu", "maybe"),
        ("keep_cpu", 2),
        ("favourite", "sixteen bytes ..."),
        ("favourite", "nul\0"),
        ("favourite", "äöüäöüäö"),
        ("favourite", 3),
    ],
)
def test_a_setting_out_of_range_is_refused_with_its_name_and_range(
    folder: Path, name: str, given: str | int | bool
) -> None:
    policy = load_library(folder).policy("plain")
    tunable = next(each for each in policy.tunables if each.name == name)
    with pytest.raises(BadTunable) as caught:
        check_settings(policy, {name: given})
    assert name in caught.value.message
    assert len(caught.value.message) < 200
    assert range_of(tunable) in caught.value.remedy


def test_a_misspelt_tunable_leads_to_the_near_one(folder: Path) -> None:
    with pytest.raises(BadTunable) as caught:
        check_settings(load_library(folder).policy("plain"), {"slce_us": 1000})
    assert "“slice_us”" in caught.value.remedy


EXTERNAL = """\
name = "scx_toy"
title = "toy"
summary = "A toy."
description = "Long."
binary = "scx_toy"
for_whom = ["children"]

[[mode]]
goal = "gaming"
flags = ["--fast"]
reason = "Fast."

[[tunable]]
name = "slice-us"
description = "How long."
cost = "Others wait."
default = 3000
minimum = 100
maximum = 100000
"""


def add_external(folder: Path, text: str = EXTERNAL) -> Path:
    """Write an external scheduler's entry."""
    (folder / "scx_toy").mkdir()
    path = folder / "scx_toy" / "policy.toml"
    path.write_text(text)
    return path


def test_an_external_scheduler_has_a_program_and_modes_instead_of_a_source(folder: Path) -> None:
    add_external(folder)
    library = load_library(folder)
    policy = library.policy("scx_toy")
    assert library.problems == []
    assert (policy.origin, policy.binary, policy.source) == ("external", "scx_toy", "")
    assert [(each.goal, each.flags) for each in policy.modes] == [("gaming", ("--fast",))]
    assert list(library.loadable()) == ["plain"]


@pytest.mark.parametrize(
    ("old", "new", "where", "what"),
    [
        ('goal = "gaming"', 'goal = "fun"', 9, "goal “fun” is none of"),
        ('binary = "scx_toy"', 'binary = "/bin/sh"', 5, "not the name of a program"),
        ('binary = "scx_toy"', 'binary = ""', 5, "needs either a source or"),
        ('binary = "scx_toy"', 'binary = "scx_toy"\nsource = "x.bpf.c"', 5, "needs either a source or"),
        ('name = "slice-us"', 'name = "--slice-us"', 14, "leave out the dashes"),
        ('flags = ["--fast"]', 'flags = "--fast"', 10, "Expected `array`"),
        (
            "[[tunable]]",
            '[[mode]]\ngoal = "gaming"\nflags = []\nreason = ""\n\n[[tunable]]',
            14,
            "two modes for gaming",
        ),
        ('binary = "scx_toy"', 'binary = "scx_toy"\ndefault_mode = "audio"', 6, "no mode has that goal"),
    ],
)
def test_a_damaged_external_entry_is_named_with_file_and_line(
    folder: Path, old: str, new: str, where: int, what: str
) -> None:
    path = add_external(folder, EXTERNAL.replace(old, new, 1))
    library = load_library(folder)
    assert only_problem(library).startswith(f"{path}:{where}: ")
    assert what.replace("`", "") in only_problem(library)
    assert list(library.policies) == ["plain"]


def test_a_policy_of_ours_has_no_modes(folder: Path) -> None:
    path = folder / "plain" / "policy.toml"
    path.write_text(POLICY + '\n[[mode]]\ngoal = "gaming"\nflags = []\nreason = "None."\n')
    assert "only an external scheduler has modes" in load_library(folder).problems[0]


def test_a_note_beside_the_entry_is_part_of_it(folder: Path) -> None:
    (folder / "plain" / "NOTE.md").write_text("# How it decides\nIn turn.\n")
    assert load_library(folder).policy("plain").note == "# How it decides\nIn turn."


def test_a_note_that_is_no_text_is_named(folder: Path) -> None:
    (folder / "plain" / "NOTE.md").write_bytes(b"\xff")
    assert "NOTE.md is not UTF-8 text" in load_library(folder).problems[0]


def test_a_user_adds_policies_in_the_data_directory(folder: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    (data / "policies").mkdir(parents=True)
    add_policy(data / "policies", "mine", POLICY.replace("plain", "mine"))
    add_external(data / "policies")
    library = load_library(folder, data)
    assert library.problems == []
    assert library.policy("mine").origin == "user"
    assert library.policy("scx_toy").origin == "user"


@pytest.mark.parametrize("name", ["plain", "smooth"])
def test_a_user_cannot_take_the_name_of_what_ships(folder: Path, tmp_path: Path, name: str) -> None:
    data = tmp_path / "data"
    (data / "policies").mkdir(parents=True)
    path = add_policy(data / "policies", name, POLICY.replace("plain", name).replace("in turn", "otherwise"))
    library = load_library(folder, data)
    assert only_problem(library).startswith(f"{path}:1: “{name}” is already the name")
    assert library.policy("plain").summary == "Runs tasks in turn."


def test_an_entry_that_is_no_file_holds_nothing_up(folder: Path) -> None:
    (folder / "pipe").mkdir()
    os.mkfifo(folder / "pipe" / "policy.toml")
    (folder / "place" / "policy.toml").mkdir(parents=True)
    problems = load_library(folder).problems
    assert len(problems) == 2
    assert all("is not a file" in each for each in problems)


def test_an_entry_that_is_far_too_large_is_not_read(folder: Path) -> None:
    with add_policy(folder, "huge", POLICY).open("ab") as file:
        file.truncate(1 << 40)
    assert "too large" in only_problem(load_library(folder))
