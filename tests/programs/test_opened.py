"""What a host's helper would start, beside what its client has looked at: the same bytes and arguments, or nothing."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from msgspec.structs import replace

from schedtui.backend.errors import BadTunable, UnknownName
from schedtui.backend.helper.program_trust import Trust
from schedtui.backend.helper.programs import opened_program
from schedtui.backend.library.catalogue import load_library
from schedtui.backend.library.starting import program_of
from schedtui.backend.model import Setting
from schedtui.paths import shipped

LIBRARY = shipped("library")


@pytest.fixture
def trust(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Trust:
    """A folder that holds a scx_bpfland, of sorts, for helper and client."""
    folder = tmp_path / "bin"
    folder.mkdir()
    tmp_path.chmod(0o755)
    shutil.copyfile("/bin/ls", folder / "scx_bpfland")
    (folder / "scx_bpfland").chmod(0o755)
    monkeypatch.setenv("SCHEDTUI_SCX", str(folder))
    return Trust(owner=os.geteuid(), start=tmp_path, folders=(folder,))


@pytest.mark.parametrize(
    ("goal", "settings"),
    [("", {}), ("audio", {}), ("audio", {"slice-us": 700, "cpufreq": True})],
    ids=["by itself", "mode", "mode and settings"],
)
def test_client_and_helper_mean_the_same(trust: Trust, goal: str, settings: dict[str, Setting]) -> None:
    policy = replace(load_library().policy("scx_bpfland"), goal=goal)
    with opened_program(LIBRARY, trust, "scx_bpfland", goal, settings) as (program, _):
        assert program == program_of(policy, settings)
        assert program.digest == program_of(policy, settings).digest


def test_another_file_or_other_arguments_have_another_digest(trust: Trust) -> None:
    with opened_program(LIBRARY, trust, "scx_bpfland", "", {}) as (before, _):
        pass
    with opened_program(LIBRARY, trust, "scx_bpfland", "", {"slice-us": 700}) as (other, _):
        pass
    shutil.copyfile("/bin/cat", trust.folders[0] / "scx_bpfland")
    with opened_program(LIBRARY, trust, "scx_bpfland", "", {}) as (after, _):
        pass
    assert len({before.digest, other.digest, after.digest}) == 3


def test_a_goal_without_a_mode_and_a_setting_out_of_range_are_refused(trust: Trust) -> None:
    with pytest.raises(UnknownName, match="no mode for"), opened_program(LIBRARY, trust, "scx_bpfland", "x", {}):
        pass
    with pytest.raises(BadTunable), opened_program(LIBRARY, trust, "scx_bpfland", "", {"slice-us": -5}):
        pass


def test_a_program_that_the_library_does_not_name_is_not_started(trust: Trust) -> None:
    shutil.copyfile("/bin/ls", trust.folders[0] / "ls")
    with pytest.raises(UnknownName), opened_program(LIBRARY, trust, "ls", "", {}):
        pass
