"""The folder for drafts: gone with its user, and with the next one when the user was killed."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from schedtui.agent.scratch import PREFIX, Scratch

USER = """
import sys, tempfile, time
tempfile.tempdir = sys.argv[1]
from schedtui.agent.scratch import Scratch
held = Scratch()
print(held.path, flush=True)
time.sleep(100)
"""


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def grown_old(folder: Path) -> Path:
    """As if it had been made an hour ago."""
    then = time.time() - 3600
    os.utime(folder, (then, then))
    return folder


def test_it_is_there_while_it_is_used_and_gone_afterwards(place: Path) -> None:
    with Scratch() as folder:
        (folder / "draft.bpf.c").write_text("x")
        assert folder.parent == place
        with Scratch() as beside:
            assert grown_old(folder).is_dir() and beside.is_dir()
        with Scratch():
            assert (folder / "draft.bpf.c").exists()
    assert not list(place.iterdir())


def test_what_a_killed_process_left_goes_when_the_next_comes_and_not_while_it_lives(place: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", USER, str(place)], stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        left = Path(other.stdout.readline().strip())
        (left / "draft.bpf.c").write_text("x")
        grown_old(left)
        with Scratch():
            spared = left.is_dir()
        other.kill()
    assert spared
    assert left.is_dir()
    with Scratch() as mine:
        assert [each.name for each in place.iterdir()] == [mine.name]


def test_what_was_just_made_what_is_called_otherwise_and_a_link_are_left_alone(place: Path) -> None:
    young, other, link = place / f"{PREFIX}young", place / "letters", place / f"{PREFIX}link"
    young.mkdir()
    other.mkdir()
    grown_old(other)
    link.symlink_to(other)
    with Scratch():
        pass
    assert young.is_dir() and other.is_dir() and link.is_symlink()
