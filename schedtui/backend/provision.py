"""What the lab needs of this machine besides a kernel: what is there, what is missing, and how it gets here.

Nothing of this is needed to watch the host. Kernels are left to ``microvm.kernels``.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from msgspec import Struct

from schedtui.backend.apt import Apt, Distribution, Source, distribution, machine_sources, main_archive
from schedtui.backend.bpf import libbpf
from schedtui.backend.bpf.compiler import find_clang
from schedtui.backend.errors import LabFailed, MissingTool
from schedtui.backend.library.generated import find_git
from schedtui.backend.machine import Progress
from schedtui.backend.microvm.image import find_busybox
from schedtui.backend.probes.deep import find_bcc
from schedtui.backend.setup.sudo import program
from schedtui.backend.verifier.sandbox import find_bubblewrap

OLDEST_QEMU = 9
"""QEMU 7.2 once crashed a guest while a scheduler was enabled (int3 in patched text)."""
INSTALL_COMMAND = "schedtui lab install"
_HOW = f"Run: {INSTALL_COMMAND}"

_ARM_PACKAGES = ("qemu-system-arm", "qemu-system-aarch64-core", "qemu-system-aarch64")
_WANT_BACKPORTS = {"bookworm"}
"""Releases whose own QEMU or libbpf is too old."""


class Qemu(Struct, frozen=True):
    """The emulator of this machine's architecture."""

    path: Path
    version: tuple[int, ...]


class Need(Struct, frozen=True, kw_only=True):
    """One thing that the lab needs. ``found`` is what there is, in words: 'QEMU 10.0.2', 'clang is not installed'."""

    name: str
    ok: bool
    found: str
    needed_for: str
    debian: str
    fedora: str
    arch: str
    """The package that brings it, by distribution."""


def needs() -> list[Need]:
    """Everything that the lab needs, there or not. Takes a few tens of milliseconds, and no network."""
    return [_need(*each) for each in _CATALOGUE]


def _need(name: str, find: Callable[[], str], needed_for: str, debian: str, fedora: str, arch: str) -> Need:
    try:
        found, ok = find(), True
    except MissingTool as error:
        found, ok = error.message, False
    return Need(name=name, ok=ok, found=found, needed_for=needed_for, debian=debian, fedora=fedora, arch=arch)


def missing(*, bcc: bool = False) -> list[Need]:
    """What the lab needs and this machine lacks, or has too old; with ``bcc``, what deep dives need besides."""
    wanted = [*needs(), *([_need(*_BCC)] if bcc else [])]
    return [each for each in wanted if not each.ok]


def find_qemu() -> Qemu:
    """The QEMU to run the lab in. Raises MissingTool when there is none, or one older than OLDEST_QEMU."""
    program = f"qemu-system-{platform.machine()}"
    path = shutil.which(program)
    if path is None:
        raise MissingTool(f"QEMU is not installed ({program}): the lab runs in it.", _HOW)
    version = _version_of(path, "--version", r"version (\d+(?:\.\d+)*)")
    if not version:
        raise MissingTool(f"{path} does not run.", "Install QEMU again.")
    if version[0] < OLDEST_QEMU:
        shown = ".".join(map(str, version))
        raise MissingTool(f"QEMU {shown} is too old: the lab needs {OLDEST_QEMU} or newer.", _HOW)
    return Qemu(Path(path), version)


def install_command(lacking: list[Need], where: Distribution | None = None) -> str:
    """The one command that brings what is missing on this distribution; a plain list of names elsewhere."""
    where = where or distribution()
    family = {where.id, *where.like}
    if "debian" in family:
        return INSTALL_COMMAND if os.geteuid() == 0 else f"sudo {program()} lab install"
    if family & {"fedora", "rhel"}:
        return f"sudo dnf install {_names(lacking, 'fedora')}"
    if "arch" in family:
        return f"sudo pacman -S --needed {_names(lacking, 'arch')}"
    return f"Install {', '.join(each.name for each in lacking)} with your distribution's package manager."


def install(progress: Progress, *, simulate: bool = False, bcc: bool = False) -> list[Need]:
    """Install what is missing, with an apt state of our own; the system's sources stay as they are.

    Only for root on Debian and its kin; raises LabFailed, with the command to use, anywhere else and when apt
    fails. ``progress`` gets stages and seconds. Returns what was missing. ``simulate`` changes nothing.
    """
    began = time.monotonic()

    def stage(words: str) -> None:
        progress(words, time.monotonic() - began)

    lacking = missing(bcc=bcc)
    if not lacking:
        return []
    where = distribution()
    if os.geteuid() != 0 or "debian" not in {where.id, *where.like}:
        words = ", ".join(each.name for each in lacking)
        raise LabFailed(f"The lab needs what only root can install here: {words}.", install_command(lacking, where))
    stage("packages: reading the lists")
    packages = _install_now(lacking, where, stage, simulate)
    still = [] if simulate else missing(bcc=bcc)
    if still:
        words = " ".join(each.found for each in still)
        raise LabFailed(f"Installed {' '.join(packages)}, and yet: {words}", "See schedtui doctor.")
    return lacking


def _install_now(lacking: list[Need], where: Distribution, stage: Callable[[str], None], simulate: bool) -> list[str]:
    archives = _own_archives(machine_sources(), where)
    if not archives:
        raise LabFailed("This machine's apt sources name no main archive.", install_command(lacking, where))
    names = sorted({each.debian for each in lacking})
    release = ""
    if where.codename in _WANT_BACKPORTS:
        release = f"{where.codename}-backports"
        main = archives[0]
        archives.append(Source(main.uris, (release,), main.components, main.options))
    # Root writes here, so not into a cache folder that may be a user's (sudo keeps HOME on some machines).
    with tempfile.TemporaryDirectory(prefix="schedtui-apt-") as folder:
        apt = Apt(Path(folder), archives)
        apt.update()
        stage(f"installing: {' '.join(names)}")
        apt.install(names, lambda words: stage(f"installing: {words}"), release=release, simulate=simulate)
    return names


def _own_archives(sources: list[Source], where: Distribution) -> list[Source]:
    """The main archive among the machine's sources, and that distribution's updates and security archives."""
    main = main_archive(sources, where.codename)
    if main is None:
        return []
    suites = {f"{where.codename}{suffix}" for suffix in ("", "-updates", "-security", "-backports")}
    signed_by = main.options.get("Signed-By")
    beside = [
        each
        for each in sources
        if each is not main and suites & set(each.suites) and each.options.get("Signed-By") == signed_by
    ]
    return [main, *beside]


def _qemu() -> str:
    return f"QEMU {'.'.join(map(str, find_qemu().version))}"


def _clang() -> str:
    return find_clang().version


def _libbpf() -> str:
    return f"libbpf {'.'.join(map(str, libbpf.version()))}"


def _headers() -> str:
    for folder in ("/usr/include", "/usr/local/include"):
        if Path(folder, "bpf/bpf_helpers.h").is_file():
            return f"{folder}/bpf"
    raise MissingTool("The headers of libbpf are not installed.")


def _bubblewrap() -> str:
    return find_bubblewrap()


def _busybox() -> str:
    found = find_busybox()
    if found is None:
        raise MissingTool("busybox, linked statically, is not installed.")
    return str(found)


def _bcc() -> str:
    return str(find_bcc())


_X86 = platform.machine() == "x86_64"
_BCC = ("bcc", _bcc, "deep dives", "python3-bpfcc", "python3-bcc", "python-bcc")
_CATALOGUE: tuple[tuple[str, Callable[[], str], str, str, str, str], ...] = (
    # what, how to find it, what for, and the packages of Debian, Fedora and Arch
    (
        f"QEMU {OLDEST_QEMU} or newer",
        _qemu,
        "the lab",
        *(("qemu-system-x86", "qemu-system-x86-core", "qemu-system-x86") if _X86 else _ARM_PACKAGES),
    ),
    ("clang 16 or newer", _clang, "compiling policies", "clang-19", "clang", "clang"),
    ("libbpf 1.2 or newer", _libbpf, "loading policies", "libbpf1", "libbpf", "libbpf"),
    ("libbpf's headers", _headers, "compiling policies", "libbpf-dev", "libbpf-devel", "libbpf"),
    ("busybox, linked statically", _busybox, "the lab's shell", "busybox-static", "busybox", "busybox"),
    ("bubblewrap", _bubblewrap, "compiling policies that others wrote", *("bubblewrap",) * 3),
    ("git", find_git, "keeping the policies that you or a model write", *("git",) * 3),
)


def _version_of(path: str, option: str, pattern: str) -> tuple[int, ...]:
    try:
        asked = subprocess.run([path, option], capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return ()
    output = asked.stdout
    matched = re.search(pattern, output)
    return tuple(map(int, matched[1].split("."))) if matched else ()


def _names(lacking: list[Need], family: str) -> str:
    return " ".join(dict.fromkeys(str(getattr(each, family)) for each in lacking))
