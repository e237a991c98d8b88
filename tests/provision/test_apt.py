"""The machine's apt sources are read in both formats, and its main archive is found among them."""

from __future__ import annotations

from pathlib import Path

import pytest

from schedtui.backend.apt import Apt, Source, distribution, machine_sources, main_archive

DEB822 = """\
# The main archive
Types: deb deb-src
URIs: http://mirror.example/distro
Suites: bookworm bookworm-updates
Components: main contrib
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb
URIs: http://mirror.example/distro-security
Suites: bookworm-security
Components: main

Types: deb
Enabled: no
URIs: http://off.example/distro
Suites: bookworm
Components: main

Types: deb
URIs: https://vendor.example/apt
Suites: stable
Components: extra
Signed-By:
 -----BEGIN PGP PUBLIC KEY BLOCK-----
 .
 abc
 -----END PGP PUBLIC KEY BLOCK-----
"""
ONE_LINE = """\
# deb http://commented.example/distro bookworm main
deb-src http://source.example/distro bookworm main
deb http://security.example/distro-security bookworm main
deb [arch=amd64 signed-by=/k.gpg trusted=yes] http://line.example/distro bookworm main contrib # ours
"""


def sources_of(folder: Path, name: str, text: str) -> list[Source]:
    """What a sources.list.d with this one file means."""
    (folder / "sources.list.d").mkdir()
    (folder / "sources.list.d" / name).write_text(text)
    return machine_sources(folder)


def test_the_newer_format_is_read_with_its_keys_and_without_what_is_switched_off(tmp_path: Path) -> None:
    main, security, vendor = sources_of(tmp_path, "debian.sources", DEB822)
    assert main.uris == ("http://mirror.example/distro",)
    assert main.suites == ("bookworm", "bookworm-updates")
    assert main.options == {"Signed-By": "/usr/share/keyrings/debian-archive-keyring.gpg"}
    assert security.suites == ("bookworm-security",)
    assert "abc" in vendor.options["Signed-By"]


def test_the_older_format_is_read_with_its_options(tmp_path: Path) -> None:
    security, main = sources_of(tmp_path, "debian.list", ONE_LINE)
    assert security.options == {}
    assert main == Source(
        ("http://line.example/distro",), ("bookworm",), ("main", "contrib"), {"Signed-By": "/k.gpg", "Trusted": "yes"}
    )


@pytest.mark.parametrize(("name", "text"), [("d.sources", DEB822), ("d.list", ONE_LINE)])
def test_the_main_archive_is_neither_the_security_one_nor_another_vendors(tmp_path: Path, name: str, text: str) -> None:
    archive = main_archive(sources_of(tmp_path, name, text), "bookworm")
    assert archive
    assert archive.suites[0] == "bookworm"
    assert "security" not in archive.uris[0]


def test_a_machine_without_sources_has_no_main_archive(tmp_path: Path) -> None:
    assert main_archive(machine_sources(tmp_path), "bookworm") is None


@pytest.mark.parametrize(
    ("text", "debian"),
    [
        ('ID=debian\nVERSION_CODENAME=bookworm\nNAME="Debian"\n', True),
        ("ID=ubuntu\nID_LIKE=debian\nVERSION_CODENAME=noble\n", False),
        ('ID=linuxmint\nID_LIKE="ubuntu debian"\n', False),
        ("ID=arch\n", False),
        ("", False),
    ],
)
def test_debians_archive_serves_debian_and_not_ubuntus_kin(tmp_path: Path, text: str, debian: bool) -> None:
    path = tmp_path / "os-release"
    path.write_text(text)
    assert distribution(path).is_debian == debian


def test_an_unreadable_os_release_is_an_unknown_distribution(tmp_path: Path) -> None:
    assert distribution(tmp_path / "gone").id == ""


@pytest.mark.skipif(not distribution().is_debian, reason="asks Debian's apt")
def test_apt_reads_a_written_source_back_and_leaves_the_systems_alone(tmp_path: Path) -> None:
    key = "\n -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n abc\n -----END PGP PUBLIC KEY BLOCK-----"
    source = Source(("http://mirror.example/distro",), ("sid",), ("main",), {"Signed-By": key})
    apt = Apt(tmp_path / "state", [source])
    uris = apt.run("apt-get", "--print-uris", "update").split()
    assert "'http://mirror.example/distro/dists/sid/InRelease'" in uris
    assert {each.split("/")[2] for each in uris if each.startswith("'")} == {"mirror.example"}
    assert sources_of(tmp_path, "ours.sources", (tmp_path / "state" / "list.sources").read_text()) == [source]
