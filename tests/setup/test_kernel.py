"""The copy of the kernel's image, where the system keeps its own from everybody but root."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from schedtui.backend.setup.kernel import copy_kernel
from tests.setup.places import needs_root

pytestmark = needs_root
GROUP = 995


@pytest.fixture
def boot(tmp_path: Path) -> Path:
    """A computer whose kernel is for root alone."""
    folder = tmp_path / "boot"
    folder.mkdir()
    for each in ("vmlinuz-7.0", "config-7.0"):
        (folder / each).write_text(each)
        (folder / each).chmod(0o600)
    (tmp_path / "lab").mkdir()
    return folder


def test_it_is_readable_for_the_verifier_and_for_nobody_else(tmp_path: Path, boot: Path) -> None:
    lab = tmp_path / "lab"
    assert copy_kernel(lab, GROUP, root=tmp_path, release="7.0") == str(boot / "vmlinuz-7.0")
    found = (lab / "vmlinuz-7.0").stat()
    assert (found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)) == (0, GROUP, 0o640)
    assert (lab / "config-7.0").read_text() == "config-7.0"
    assert copy_kernel(lab, GROUP, root=tmp_path, release="7.0") == ""


def test_after_an_update_the_new_one_takes_its_place(tmp_path: Path, boot: Path) -> None:
    lab = tmp_path / "lab"
    copy_kernel(lab, GROUP, root=tmp_path, release="7.0")
    (boot / "vmlinuz-7.1").write_text("newer")
    (boot / "vmlinuz-7.1").chmod(0o600)
    assert copy_kernel(lab, GROUP, root=tmp_path, release="7.1")
    assert [each.name for each in lab.iterdir()] == ["vmlinuz-7.1"]


def test_the_same_release_built_anew_is_copied_again(tmp_path: Path, boot: Path) -> None:
    lab = tmp_path / "lab"
    copy_kernel(lab, GROUP, root=tmp_path, release="7.0")
    (boot / "vmlinuz-7.0").write_text("VMLINUZ-7.0")
    os.utime(boot / "vmlinuz-7.0", (1, 1))
    assert copy_kernel(lab, GROUP, root=tmp_path, release="7.0")
    assert (lab / "vmlinuz-7.0").read_text() == "VMLINUZ-7.0"


def test_one_that_everybody_may_read_is_left_where_it_is(tmp_path: Path, boot: Path) -> None:
    (boot / "vmlinuz-7.0").chmod(0o644)
    assert copy_kernel(tmp_path / "lab", GROUP, root=tmp_path, release="7.0") == ""
    assert list((tmp_path / "lab").iterdir()) == []


def test_without_an_image_nothing_is_done(tmp_path: Path) -> None:
    assert copy_kernel(tmp_path, GROUP, root=tmp_path, release="7.0") == ""
