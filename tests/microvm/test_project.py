"""What of a person's folder goes into the lab's guest, and what a guest with a compiler is given."""

from __future__ import annotations

import io
import os
import tarfile
from pathlib import Path

import pytest

from schedtui.backend.errors import MissingTool, NotPermitted, UnknownName
from schedtui.backend.host import HostMachine
from schedtui.backend.microvm import project
from schedtui.backend.microvm.compiler_image import is_installed, with_compiler
from schedtui.backend.microvm.image import ImagePlan
from schedtui.backend.project import carry_project


def names(folder: Path) -> list[str]:
    with tarfile.open(fileobj=io.BytesIO(project.packed(folder))) as archive:
        return sorted(archive.getnames())


def test_sources_go_in_and_what_was_built_of_them_does_not(tmp_path: Path) -> None:
    for name in ("Makefile", "src/main.c", "src/main.o", "src/main.d"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("all:\n")
    (tmp_path / "program").write_bytes(b"\x7fELF and more")
    (tmp_path / "libx.xyz").write_bytes(b"!<arch>\n")
    assert names(tmp_path) == ["Makefile", "src", "src/main.c"]


def test_hidden_folders_and_settings_with_secrets_stay_where_they_are(tmp_path: Path) -> None:
    for name in (".git/config", ".ssh/key", ".env", ".env.local", "main.c", ".config"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x")
    assert names(tmp_path) == [".config", "main.c"]


def test_a_link_stays_a_link_and_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "secret").write_text("s3cret")
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "folder").symlink_to(tmp_path / "outside")
    (folder / "file").symlink_to(tmp_path / "outside" / "secret")
    os.mkfifo(folder / "pipe")  # reading it would never end
    packed = project.packed(folder)
    assert b"s3cret" not in packed
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        assert {each.name: each.issym() for each in archive} == {"folder": True, "file": True}


@pytest.mark.parametrize("way", ["large", "many"])
def test_a_folder_that_is_too_much_for_a_guest_is_refused(
    way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(project, "MOST_FILES", 3)
    if way == "large":
        with (tmp_path / "data").open("wb") as file:
            file.truncate(project.LARGEST_BYTES + 1)
    else:
        for number in range(4):
            (tmp_path / f"{number}.c").touch()
    with pytest.raises(NotPermitted, match="too much for the lab"):
        project.packed(tmp_path)


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UnknownName, match="no folder"):
        project.packed(tmp_path / "none")


def test_a_computer_without_a_compiler_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert not is_installed()
    with pytest.raises(MissingTool, match="gcc is not installed") as told:
        with_compiler(ImagePlan({}, {}, {}))
    assert "build-essential" in told.value.remedy


@pytest.mark.slow
def test_a_guest_with_a_compiler_has_what_a_program_is_built_with() -> None:
    plan = with_compiler(ImagePlan({}, {}, {}))
    carried = {Path(each).name for each in plan.copied}
    assert {"gcc", "make", "as", "ld", "ar", "cc1", "collect2", "crt1.o", "libgcc.a"} <= carried
    assert {"stdio.h", "math.h", "pthread.h", "epoll.h", "stdint.h"} <= carried
    assert all(each.is_file() for each in plan.copied.values())


def test_on_a_persons_own_computer_the_command_runs_in_the_folder(tmp_path: Path) -> None:
    (tmp_path / "here").touch()
    machine = HostMachine()
    carry_project(machine, tmp_path, ("ls",))
    done = machine.run(["ls"], 30)
    assert (done.output, done.command, done.exit_code) == ("here\n", ("ls",), 0)
    assert "here" not in machine.run(["ls", "-d", "."], 30).output
    machine.close()
