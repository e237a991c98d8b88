"""The doctor: what it looks at, and what it says of each."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from schedtui.backend import doctor_host
from schedtui.backend.errors import MissingTool
from schedtui.backend.probes.deep import find_bcc
from schedtui.backend.setup.targets import Targets
from schedtui.checkup import examine
from tests.cli.commands import schedtui

LOOKED_AT = (
    "kernel",
    "sched_ext",
    "BTF",
    "libbpf",
    "clang",
    "sandbox",
    "QEMU",
    "KVM",
    "helper",
    "owner",
    "model",
    "bcc",
    "free space",
)


@pytest.fixture(scope="module")
def findings() -> dict[str, object]:
    spoken = schedtui("doctor", "--json").spoken["findings"]
    return {each["name"]: each for each in spoken}


@pytest.mark.parametrize("name", LOOKED_AT)
def test_it_looks_at_everything_that_a_scheduler_depends_on(findings: dict[str, object], name: str) -> None:
    assert name in findings


def test_each_line_has_its_state_and_says_why_it_matters() -> None:
    for each in examine():
        assert each.state, each
        assert each.needed_for, each


@pytest.mark.slow
def test_a_scheduler_in_a_user_s_folder_is_named_with_its_version_and_for_the_lab_only(tmp_path: Path) -> None:
    program = tmp_path / "scx_bpfland"
    program.write_text("#!/bin/sh\n[ $1 = --version ] && echo scx_bpfland 9.8.7 || echo '  --slice-us <N>  How long'\n")
    program.chmod(0o777)
    spoken = schedtui("doctor", "--json", PATH=f"{tmp_path}:{os.environ['PATH']}").spoken["findings"]
    line = next(each for each in spoken if each["name"] == "scx_bpfland")
    assert line["ok"]
    assert "9.8.7" in line["state"]
    assert "for the lab only" in line["state"]


def test_without_a_helper_it_says_how_to_get_one_or_where_to_go(tmp_path: Path) -> None:
    line = doctor_host.helper(Targets(root=tmp_path))
    assert not line.ok
    assert "watched only" in line.state
    assert "schedtui" in line.remedy


def test_a_socket_that_nobody_listens_at_is_no_helper(tmp_path: Path) -> None:
    place = Targets(root=tmp_path).socket
    place.parent.mkdir(parents=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as left:
        left.bind(str(place))
    assert not doctor_host.helper(Targets(root=tmp_path)).ok


@pytest.mark.skipif(os.geteuid() != 0, reason="only root's own socket counts as the helper's")
def test_a_helper_that_answers_is_good(tmp_path: Path) -> None:
    place = Targets(root=tmp_path).socket
    place.parent.mkdir(parents=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listening:
        listening.bind(str(place))
        listening.listen()
        line = doctor_host.helper(Targets(root=tmp_path))
    assert line.ok
    assert not line.remedy


def test_without_bcc_it_names_the_distribution_s_packages(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/os-release").write_text('ID=manjaro\nID_LIKE="arch"\n')
    with pytest.raises(MissingTool) as missing:
        find_bcc(tmp_path)
    assert "not installed" in missing.value.message
    assert missing.value.remedy.startswith("sudo pacman")


def test_a_bcc_that_somebody_else_can_change_is_none(tmp_path: Path) -> None:
    package = tmp_path / "usr/lib/python3/dist-packages/bcc"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "__init__.py").chmod(0o666)
    with pytest.raises(MissingTool, match="bcc is not installed"):
        find_bcc(tmp_path)


@pytest.mark.skipif(os.geteuid() != 0, reason="bcc counts only when it is root's")
def test_the_bcc_of_the_distribution_is_found_and_needs_no_headers(tmp_path: Path) -> None:
    package = tmp_path / "usr/lib/python3/dist-packages/bcc"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "__init__.py").chmod(0o644)
    assert find_bcc(tmp_path) == package
