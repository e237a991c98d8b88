"""What is read of a project: build files and README below the folder that was named, and nothing else whatever asks."""

from __future__ import annotations

from pathlib import Path

import pytest

from schedtui.agent import project
from schedtui.backend.errors import BadFile, UnknownName


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    work = tmp_path / "work"
    (work / "src" / "deep").mkdir(parents=True)
    (work / "README.md").write_text("# Compiles the moon\n" + "x" * 5000)
    (work / "Makefile").write_text("all:\n\tcc -O2 src/*.c\n")
    (work / ".env").write_text("TOKEN=hunter2\n")
    (work / "src" / "Makefile").write_text("inner:\n")
    for number in range(3):
        (work / "src" / f"{number}.c").write_text("int x;\n")
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "Makefile").write_text("stolen:\n")
    return work


def test_build_files_languages_and_the_head_of_the_readme_are_told(folder: Path) -> None:
    told = project.in_words(project.look_at(folder))
    assert "C (3 files)" in told and "cc -O2" in told and "Compiles the moon" in told
    assert len(told) < 2 * project.HEAD_BYTES + 300


def test_more_of_a_file_is_read_on_request_up_to_a_limit(folder: Path) -> None:
    assert len(project.read(folder, "README.md").head) == project.MORE_BYTES
    assert project.read(folder, "src/Makefile").head == "inner:\n"


@pytest.mark.parametrize("path", [".env", "src/0.c", "../outside/Makefile", "/etc/passwd", "", "src", "none/Makefile"])
def test_nothing_else_is_read(folder: Path, path: str) -> None:
    with pytest.raises(BadFile):
        project.read(folder, path)


def test_no_link_leads_out_of_the_folder(folder: Path) -> None:
    (folder / "GNUmakefile").symlink_to(folder.parent / "outside" / "Makefile")
    (folder / "linked").symlink_to(folder.parent / "outside")
    assert "stolen" not in project.in_words(project.look_at(folder))
    for path in ("GNUmakefile", "linked/Makefile"):
        with pytest.raises(BadFile):
            project.read(folder, path)


def test_a_pipe_that_is_called_makefile_holds_nothing_up(folder: Path) -> None:
    import os

    os.mkfifo(folder / "justfile")
    with pytest.raises(BadFile, match="no plain file"):
        project.read(folder, "justfile")


def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(UnknownName, match="no folder"):
        project.look_at(tmp_path / "none")
