"""What the lab needs is found, and what is missing comes with the one command that brings it."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from schedtui.backend.apt import Distribution
from schedtui.backend.bpf import libbpf
from schedtui.backend.bpf.compiler import find_clang
from schedtui.backend.errors import MissingTool
from schedtui.backend.provision import find_qemu, install_command, missing, needs

QEMU = f"qemu-system-{platform.machine()}"


def program(folder: Path, name: str, says: str) -> None:
    """A real executable that says this."""
    path = folder / name
    path.write_text(f"#!/bin/sh\necho '{says}'\n")
    path.chmod(0o755)


@pytest.fixture
def only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that holds the only programs there are."""
    (tmp_path / "ldd").symlink_to(str(shutil.which("ldd")))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path


def test_qemu_is_found_with_its_version(only: Path) -> None:
    program(only, QEMU, "QEMU emulator version 10.0.2 (Debian 1:10.0.2+ds)")
    assert find_qemu().version == (10, 0, 2)
    assert find_qemu().path == only / QEMU


@pytest.mark.parametrize(
    ("says", "words"),
    [
        ("QEMU emulator version 7.2.15 (Debian 1:7.2)", "7.2.15 is too old"),
        ("QEMU emulator version 8.2.0", "8.2.0 is too old"),
        ("what?", "does not run"),
    ],
)
def test_an_unfit_qemu_is_refused_with_the_reason(only: Path, says: str, words: str) -> None:
    program(only, QEMU, says)
    with pytest.raises(MissingTool, match=words) as caught:
        find_qemu()
    assert caught.value.remedy


def test_a_missing_qemu_is_said_with_the_command_that_brings_it(only: Path) -> None:
    with pytest.raises(MissingTool, match="QEMU is not installed") as caught:
        find_qemu()
    assert "schedtui lab install" in caught.value.remedy


def test_what_is_missing_says_what_was_found_instead(only: Path) -> None:
    program(only, QEMU, "QEMU emulator version 7.2.15")
    program(only, "clang", "Debian clang version 14.0.6")
    found = {each.name: each.found for each in missing()}
    assert "7.2.15 is too old" in found["QEMU 9 or newer"]
    assert "clang 14 is too old" in found["clang 16 or newer"]


@pytest.mark.parametrize(
    ("where", "command"),
    [
        (
            Distribution("fedora", ""),
            "sudo dnf install qemu-system-x86-core clang libbpf libbpf-devel busybox bubblewrap git",
        ),
        (
            Distribution("cachyos", "", ("arch",)),
            "sudo pacman -S --needed qemu-system-x86 clang libbpf busybox bubblewrap git",
        ),
    ],
)
def test_each_distribution_gets_its_own_command(where: Distribution, command: str) -> None:
    assert install_command(needs(), where) == command


def test_debian_and_ubuntu_are_served_by_lab_install() -> None:
    for where in (Distribution("debian", "bookworm"), Distribution("ubuntu", "noble", ("debian",))):
        assert install_command(needs(), where).endswith("lab install")


def test_an_unknown_distribution_gets_the_names_of_what_is_needed() -> None:
    assert "QEMU 9 or newer" in install_command(needs(), Distribution("void", ""))


@pytest.mark.lab
def test_nothing_is_missing_where_the_lab_is_tested() -> None:
    assert missing() == []


def test_a_libbpf_that_is_replaced_while_the_program_runs_is_seen(tmp_path: Path) -> None:
    """What ``lab install`` does where an old one was installed; in a process of its own, as libraries stay loaded."""
    functions = "".join(f"int {name}(void) {{ return 1; }}\n" for name, _, _ in libbpf._FUNCTIONS)
    compiled = [
        "-shared",
        "-w",
        "-fno-builtin",
        "-nostdlib",
        "-Wl,-soname,libbpf.so.1",
        "-o",
        str(tmp_path / "libbpf.so.1"),
    ]
    subprocess.run([find_clang().path, *compiled, "-x", "c", "-"], input=functions, text=True, check=True)
    script = (
        "import os, sys\n"
        "from schedtui.backend.provision import missing\n"
        "print([each.found for each in missing() if each.debian == 'libbpf1'])\n"
        "os.remove(sys.argv[1])\n"
        "print([each.found for each in missing() if each.debian == 'libbpf1'])\n"
    )
    said = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "libbpf.so.1")],
        env={**os.environ, "LD_LIBRARY_PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert said == "['libbpf 1.1 is too old: schedulers need 1.2 or newer.']\n[]\n"
