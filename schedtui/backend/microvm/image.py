"""The guest's root file system: this interpreter, its standard library, libbpf, a shell, and our helper as /init.

The guest needs no distribution, because the kernel can start a Python script. What goes in is listed once
(``ImagePlan``), so that the same list gives the snapshot's key and the archive's contents. Booting it is qemu's.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
import subprocess
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from ctypes.util import find_library
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import msgspec

from schedtui import paths
from schedtui.backend.errors import MissingTool

SITE = "/schedtui"
"""Where our own modules lie in the guest."""
PROBE = f"{SITE}/wakeup_latency.bpf.o"

_INSTALL_LDD = "Debian, Ubuntu: the package libc-bin · Fedora: glibc-common · Arch: glibc"
PYTHON = Path(sys.executable).resolve()
"""This interpreter; a guest has it at the same place."""
_SKIPPED_FOLDERS = frozenset(
    {
        "__phello__",
        "dist-packages",
        "distutils",
        "ensurepip",
        "idlelib",
        "lib2to3",
        "pydoc_data",
        "site-packages",
        "test",
        "tests",
        "tkinter",
        "turtledemo",
        "unittest",
        "venv",
    }
)
_OF_A_HOST = frozenset(
    {
        *("confined", "daemon", "jobs", "others", "ownership", "permanent", "places", "polkit", "program_trust"),
        *("programs", "proofs", "proving", "rights", "tokens"),
    }
)
"""Modules of the helper that a guest has no use for: a change of them makes no snapshot anew."""
_FOLDERS = ("bin", "dev", "proc", "root", "run", "sys", "tmp", "usr/bin")

_INIT = f"""#!{PYTHON} -ISu
import sys
sys.path.insert(0, "{SITE}")
from schedtui.backend.helper.guest import main
main()
"""


@dataclass(frozen=True)
class ImagePlan:
    """Files of the guest by their path in it, and the few that are made rather than copied."""

    copied: dict[str, Path]
    made: dict[str, bytes]
    links: dict[str, str]

    def digest(self) -> str:
        """Names what would be built: changes when any file's path, size, time or content does."""
        total = hashlib.sha256()
        for target, source in sorted(self.copied.items()):
            found = source.stat()
            total.update(f"{target}\0{source}\0{found.st_size}\0{found.st_mtime_ns}\n".encode(errors="surrogateescape"))
        for target, data in sorted(self.made.items()):
            total.update(f"{target}\0{hashlib.sha256(data).hexdigest()}\n".encode())
        for target, link in sorted(self.links.items()):
            total.update(f"{target}\0{link}\n".encode())
        return total.hexdigest()


def plan_image(probe_object: bytes) -> ImagePlan:
    """List the guest's files, shared libraries excepted: those are found when the archive is written.

    Raises MissingTool when libbpf is not installed.
    """
    base = plan_base()
    copied = dict(base.copied)
    for each in _package(Path(str(msgspec.__file__)).parent):
        copied[f"{SITE}/msgspec/{each.relative_to(Path(str(msgspec.__file__)).parent)}"] = each
    package = Path(__file__).resolve().parents[2]
    for each in _our_modules(package):
        copied[f"{SITE}/schedtui/{each.relative_to(package)}"] = each
    made = {"/init": _INIT.encode(), PROBE: probe_object}
    return ImagePlan(copied, made, base.links)


def plan_base() -> ImagePlan:
    """List what any guest holds: this interpreter, its standard library, libbpf and a shell; it has no /init yet.

    Raises MissingTool when libbpf is not installed.
    """
    copied: dict[str, Path] = {str(PYTHON): PYTHON}
    for each in _standard_library():
        copied[str(each)] = each
    libbpf = library_path("libbpf.so.1")
    copied[str(libbpf)] = libbpf
    links = {"/bin/python3": str(PYTHON), "/usr/bin/env": "/bin/busybox"}
    if busybox := find_busybox():
        copied["/bin/busybox"] = busybox
        links |= {f"/bin/{applet}": "busybox" for applet in _applets(busybox)}
    return ImagePlan(copied, {}, links)


def find_busybox() -> Path | None:
    """A busybox that needs no libraries, for the guest's shell; None when there is none."""
    for folder in ("/bin", "/usr/bin", "/usr/lib/busybox/bin"):
        candidate = Path(folder, "busybox")
        if candidate.is_file() and not needed_libraries([candidate]):
            return candidate
    return None


def _applets(busybox: Path) -> list[str]:
    listed = subprocess.run([busybox, "--list"], capture_output=True, text=True, check=False).stdout.split()
    return [name for name in listed if name != "busybox"]


def library_path(name: str) -> Path:
    """Where the dynamic linker finds a shared library. Raises MissingTool."""
    listed = ""
    with contextlib.suppress(FileNotFoundError):
        listed = _said_by("/sbin/ldconfig", "-p")
    for line in listed.splitlines():
        words = line.split()
        if words and words[0] == name and Path(words[-1]).exists():
            return Path(words[-1])
    if find_library(name.removeprefix("lib").split(".so")[0]):
        for folder in ("/usr/lib64", "/usr/lib", "/lib"):
            if (candidate := Path(folder, name)).exists():
                return candidate
    raise MissingTool(f"{name} is not installed; the lab's guest needs it.", "Run: schedtui lab install")


def write_image(plan: ImagePlan, archive: BinaryIO) -> None:
    """Write the plan, with every shared library that its files need, as an uncompressed initramfs.

    Raises OSError when a file cannot be read or the disk is full.
    """
    copied = dict(plan.copied)
    carried = {path.resolve() for path in copied.values()}
    for library in needed_libraries(path for path in copied.values() if _is_elf_name(path)):
        if library.resolve() not in carried:
            copied[str(library)] = library
    folders = {f"/{each}" for each in _FOLDERS}
    for target in [*copied, *plan.made, *plan.links]:
        folders.update(str(parent) for parent in Path(target).parents if str(parent) != "/")
    for folder in sorted(folders):
        _entry(archive, folder, stat.S_IFDIR | 0o755, b"")
    for target, source in sorted(copied.items()):
        executable = target == str(PYTHON) or os.access(source, os.X_OK)
        _entry(archive, target, stat.S_IFREG | (0o755 if executable else 0o644), source.read_bytes())
    for target, data in sorted(plan.made.items()):
        _entry(archive, target, stat.S_IFREG | (0o755 if target == "/init" else 0o644), data)
    for target, link in sorted(plan.links.items()):
        _entry(archive, target, stat.S_IFLNK | 0o777, link.encode())
    _entry(archive, "TRAILER!!!", 0, b"")


def _entry(archive: BinaryIO, name: str, mode: int, data: bytes) -> None:
    # The kernel's cpio "newc": thirteen 8-digit hexadecimal fields, then name and data, each padded to 4 bytes.
    path = name.lstrip("/").encode()
    fields = (0, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(path) + 1, 0)
    header = b"070701" + b"".join(b"%08X" % field for field in fields) + path + b"\0"
    archive.write(header + b"\0" * (-len(header) % 4))
    archive.write(data)
    archive.write(b"\0" * (-len(data) % 4))


def _standard_library() -> Iterator[Path]:
    for folder, children, names in os.walk(sysconfig.get_path("stdlib")):
        children[:] = sorted(c for c in children if c not in _SKIPPED_FOLDERS and not c.startswith("config-"))
        for name in names:
            if name.endswith((".py", ".so")) or (name.endswith(".pyc") and ".opt-" not in name):
                yield Path(folder, name)


def _package(folder: Path) -> Iterator[Path]:
    for each in sorted(folder.rglob("*")):
        if each.suffix in (".py", ".so"):
            yield each


def _our_modules(package: Path) -> Iterator[Path]:
    """What the helper imports in the guest: the backend's leaves, none of the lab, the catalogue or the screens."""
    backend = package / "backend"
    yield package / "__init__.py"
    for name in ("__init__", "errors", "histogram", "model", "workloads"):
        yield backend / f"{name}.py"
    for folder in ("bpf", "helper", "probes"):
        yield from (each for each in sorted((backend / folder).glob("[!.]*.py")) if each.stem not in _OF_A_HOST)


def _is_elf_name(path: Path) -> bool:
    return path == PYTHON or ".so" in path.name


def needed_libraries(binaries: Iterable[Path]) -> list[Path]:
    """Everything that the dynamic linker would load for these files, each once, by the path it is asked for."""
    names = [str(path) for path in binaries]
    if not names:
        return []
    try:
        listed = _said_by("ldd", *names)
    except FileNotFoundError:
        raise MissingTool("ldd is not in PATH; it tells which libraries the lab's guest needs.", _INSTALL_LDD) from None
    found: dict[Path, None] = {}
    for line in listed.splitlines():
        if line.startswith(("\t", " ")):
            for word in line.split():
                if word.startswith("/") and not word.endswith(":"):
                    found[Path(word)] = None
    return list(found)


def _said_by(program: str, *arguments: str) -> str:
    """Raises FileNotFoundError."""
    done = subprocess.run([program, *arguments], capture_output=True, check=False)
    return os.fsdecode(done.stdout)


def probe_source() -> Path:
    """The wake-up latency probe that every guest carries."""
    return paths.shipped("bpf") / "probes" / "wakeup_latency.bpf.c"
