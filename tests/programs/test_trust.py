"""Which program of others a host's helper may start, and that what it looked at is what runs."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from schedtui.backend.errors import BadFile, NotPermitted, UnknownName
from schedtui.backend.helper.program_trust import Trust, trusted_program


@pytest.fixture
def trust(tmp_path: Path) -> Trust:
    """A folder of this user's, judged as the helper judges root's."""
    (tmp_path / "usr" / "bin").mkdir(parents=True)
    tmp_path.chmod(0o755)
    return Trust(owner=os.geteuid(), start=tmp_path, folders=(tmp_path / "usr" / "bin",))


def installed(trust: Trust, source: str = "/bin/true") -> Path:
    """A program where schedulers lie."""
    place = trust.folders[0] / "scx_toy"
    shutil.copyfile(source, place)
    place.chmod(0o755)
    return place


def why_not(trust: Trust) -> str:
    """The sentence with which it is refused."""
    with pytest.raises(NotPermitted) as caught, trusted_program("scx_toy", trust):
        pass
    assert "lab" in caught.value.remedy
    return caught.value.message


def test_a_program_of_the_distribution_is_trusted() -> None:
    with trusted_program("true", Trust(folders=(Path("/usr/bin"),))) as found:
        assert found.sha256 == hashlib.sha256(Path("/usr/bin/true").read_bytes()).hexdigest()


def test_one_that_only_its_owner_can_change_is_trusted(trust: Trust) -> None:
    path = installed(trust)
    with trusted_program("scx_toy", trust) as found:
        assert found.path == path


def test_one_that_belongs_to_somebody_else_is_refused(trust: Trust) -> None:
    installed(trust)
    assert "belongs to somebody else than root" in why_not(Trust(os.geteuid() + 1, trust.start, trust.folders))


def test_a_folder_in_a_home_is_refused(tmp_path: Path) -> None:
    trust = Trust(folders=(tmp_path,))
    shutil.copy("/bin/true", tmp_path / "scx_toy")
    assert "/tmp" in why_not(trust) or "belongs to somebody else" in why_not(trust)


@pytest.mark.parametrize("mode", [0o775, 0o757, 0o1777], ids=["group", "others", "others, sticky"])
@pytest.mark.parametrize("where", ["", "usr", "usr/bin"], ids=["above", "parent", "folder"])
def test_a_folder_on_the_way_that_others_can_write_is_refused(trust: Trust, where: str, mode: int) -> None:
    installed(trust)
    (trust.start / where).chmod(mode)
    assert why_not(trust) == (
        f"{trust.start / where} can be written by others than root, who could put anything there."
    )


def test_a_file_that_its_group_can_write_is_refused(trust: Trust) -> None:
    installed(trust).chmod(0o775)
    assert "scx_toy can be written by others than root" in why_not(trust)


def test_a_setuid_file_is_refused(trust: Trust) -> None:
    installed(trust).chmod(0o4755)
    assert "(setuid), which no scheduler needs" in why_not(trust)


def test_a_link_is_refused(trust: Trust, tmp_path: Path) -> None:
    (trust.folders[0] / "scx_toy").symlink_to("/bin/true")
    assert "scx_toy is a link" in why_not(trust)


def test_a_folder_that_is_a_link_is_refused(trust: Trust) -> None:
    installed(trust)
    (trust.start / "usr").rename(trust.start / "other")
    (trust.start / "usr").symlink_to("other")
    assert "/usr is a link" in why_not(trust)


def test_a_pipe_in_its_place_is_refused_and_not_waited_for(trust: Trust) -> None:
    os.mkfifo(trust.folders[0] / "scx_toy")
    assert "is not a program" in why_not(trust)


def test_a_script_is_refused(trust: Trust) -> None:
    installed(trust).write_text("#!/bin/sh\n")
    with pytest.raises(BadFile, match="no compiled program"), trusted_program("scx_toy", trust):
        pass


@pytest.mark.parametrize("name", ["../scx_toy", "bin/scx_toy", "/bin/true", "", ".", "scx_toy\0", "-x"])
def test_a_name_that_leads_elsewhere_is_no_name(trust: Trust, name: str) -> None:
    installed(trust)
    with pytest.raises(UnknownName), trusted_program(name, trust):
        pass


def test_path_has_no_say(trust: Trust, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine").mkdir()
    shutil.copy("/bin/true", tmp_path / "mine" / "scx_toy")
    monkeypatch.setenv("PATH", str(tmp_path / "mine"))
    with pytest.raises(UnknownName, match="is not installed in"), trusted_program("scx_toy", trust):
        pass


def test_what_is_put_in_its_place_after_the_check_is_not_what_runs(trust: Trust) -> None:
    path = installed(trust)
    checked = path.read_bytes()
    with trusted_program("scx_toy", trust) as found:
        shutil.copy("/bin/false", path.with_name("new"))
        path.with_name("new").replace(path)
        program = f"/proc/self/fd/{found.descriptor}"
        ran = subprocess.run([program], pass_fds=(found.descriptor,), check=False)
    assert found.sha256 == hashlib.sha256(checked).hexdigest()
    assert ran.returncode == 0
    assert subprocess.run([path], check=False).returncode == 1
