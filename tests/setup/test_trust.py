"""Whether only root can change a path: every folder and every link on the way counts."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from schedtui.backend.setup.trust import changeable, changeable_tree
from tests.setup.places import fresh_root, needs_root

pytestmark = needs_root
SOMEBODY = 1000


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder of root's, with a program in it."""
    with fresh_root() as targets:
        made = targets.root / "a" / "b"
        made.mkdir(parents=True)
        (made / "program").write_text("")
        yield made


def test_what_is_roots_all_the_way_is_trusted(folder: Path) -> None:
    assert changeable(folder / "program") == ""
    assert changeable(Path("/usr/bin")) == ""


def test_a_file_or_folder_of_somebody_elses_is_not(folder: Path) -> None:
    os.chown(folder / "program", SOMEBODY, 0)
    assert f"belongs to user {SOMEBODY}" in changeable(folder / "program")
    os.chown(folder / "program", 0, 0)
    os.chown(folder.parent, SOMEBODY, 0)
    assert str(folder.parent) in changeable(folder / "program")


@pytest.mark.parametrize("mode", [0o757, 0o722], ids=["others", "group"])
def test_what_others_may_write_is_not(folder: Path, mode: int) -> None:
    os.chown(folder, 0, SOMEBODY)
    folder.chmod(mode)
    assert str(folder) in changeable(folder / "program")


def test_a_link_is_followed_step_by_step(folder: Path) -> None:
    """The first link leads to a second one in a folder of somebody else's, which leads to root's program."""
    theirs = folder.parent / "theirs"
    theirs.mkdir()
    (theirs / "link").symlink_to(folder / "program")
    os.chown(theirs, SOMEBODY, 0)
    (folder / "link").symlink_to(theirs / "link")
    assert str(theirs) in changeable(folder / "link")
    os.chown(theirs, 0, 0)
    assert changeable(folder / "link") == ""


def test_links_that_lead_round_in_circles_are_not_trusted(folder: Path) -> None:
    (folder / "one").symlink_to("two")
    (folder / "two").symlink_to("one")
    assert "circles" in changeable(folder / "one")


def test_a_path_that_somebody_else_could_make_is_not_trusted(folder: Path) -> None:
    shared = folder / "shared"
    shared.mkdir()
    shared.chmod(0o1777)
    assert changeable(shared / "nothing yet") != ""
    (shared / "roots").write_text("")
    assert changeable(shared / "roots") == ""
    assert changeable(folder / "nothing yet") == ""


def test_one_file_of_somebody_elses_spoils_a_tree(folder: Path) -> None:
    assert changeable_tree(folder.parent) == ""
    os.chown(folder / "program", SOMEBODY, 0)
    assert str(folder / "program") in changeable_tree(folder.parent)
