"""Kernel headers for the deep dives in the lab: found on this computer, or fetched from Debian and kept.

bcc compiles with the headers of a kernel. The programs of ours read nothing but tracepoints, whose layout the running
kernel describes itself; so headers of another version do as well, and are taken where the right ones are not to be had.
"""

from __future__ import annotations

import errno
import platform
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from msgspec import Struct

from schedtui.backend.apt import Apt, Source, debian_architecture, distribution, machine_sources, main_archive
from schedtui.backend.errors import LabFailed
from schedtui.backend.machine import Progress
from schedtui.backend.microvm.lock import locked
from schedtui.paths import cache_dir

_SUITES = ("trixie-backports", "sid")
_NEEDED = ("asm-generic", "generated", "linux", "uapi", "vdso")
"""Of the folders under include/: the rest is for drivers."""
_ARCH = {"x86_64": "x86", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
_SPACE_NEEDED = 300 << 20


class Headers(Struct, frozen=True, kw_only=True):
    """The two folders that a distribution splits a kernel's headers into; they may be one."""

    release: str
    build: Path
    """What is particular to the configuration: generated files."""
    source: Path

    def files(self) -> Iterator[tuple[str, Path]]:
        """What a program of bcc needs: paths below build/ or source/, and the files. Build's come first."""
        for half, folder in (("build", self.build), ("source", self.source)):
            for below in (*(f"include/{each}" for each in _NEEDED), f"arch/{_ARCH}/include"):
                for each in sorted((folder / below).rglob("*.h")):
                    yield f"{half}/{each.relative_to(folder)}", each


def find_headers(release: str, progress: Progress) -> Headers:
    """Those of the kernel or of the nearest version here; else fetched. Raises LabFailed when there are none."""
    here = [*_installed(), *_kept()]
    exact = next((each for each in here if each.release == release), None)
    if exact:
        return exact
    if here:
        return min(here, key=lambda each: _distance(each.release, release))
    return _fetched(release, progress)


def _installed() -> Iterator[Headers]:
    for modules in (Path("/lib/modules"), Path("/usr/lib/modules")):
        for build in modules.glob("*/build"):
            if (build / "include/generated").is_dir():
                source = build.parent / "source"
                yield Headers(release=build.parent.name, build=build, source=source if source.is_dir() else build)


def _kept() -> Iterator[Headers]:
    for folder in _folder().glob("[0-9]*"):
        yield Headers(release=folder.name, build=folder / "build", source=folder / "source")


def _folder() -> Path:
    return cache_dir() / "headers"


def _distance(release: str, wanted: str) -> tuple[int, ...]:
    """Smaller is nearer: first the series counts, then what follows."""
    pairs = zip(_numbers(release), _numbers(wanted), strict=False)
    return tuple(abs(one - other) for one, other in pairs)


def _numbers(release: str) -> tuple[int, int, int]:
    found = [*map(int, re.findall(r"\d+", release.partition("+")[0])), 0, 0, 0]
    return found[0], found[1], found[2]


def _fetched(release: str, progress: Progress) -> Headers:
    began = time.monotonic()

    def stage(words: str) -> None:
        progress(words, time.monotonic() - began)

    folder = _folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with locked(folder / ".lock", lambda: stage("headers: waiting for another schedtui that fetches them")):
            kept = next(_kept(), None)
            if kept:
                return kept
            if shutil.disk_usage(folder).free < _SPACE_NEEDED:
                raise OSError(errno.ENOSPC, "No space left on device")
            return _fetch(release, folder, stage)
    except OSError as error:
        raise LabFailed(
            f"The kernel's headers could not be kept in {folder}: {error.strerror}.",
            f"Free {_SPACE_NEEDED >> 20} MB there, or set XDG_CACHE_HOME to another disk.",
        ) from error


def _fetch(wanted: str, folder: Path, stage: Callable[[str], None]) -> Headers:
    where = distribution()
    archive = main_archive(machine_sources(), where.codename) if where.is_debian else None
    if archive is None:
        raise LabFailed(
            "The lab's deep dives need a kernel's headers, and none are installed here.",
            "Install your kernel's headers (linux-headers, kernel-devel) with your distribution's package manager.",
        )
    failed: LabFailed | None = None
    for suite in _SUITES:
        stage(f"headers: reading the list of {suite}")
        apt = Apt(cache_dir() / "apt" / suite, [Source(archive.uris, (suite,), ("main",), archive.options)])
        apt.update()
        for release, packages in _candidates(apt, wanted):
            stage(f"headers: fetching those of Linux {release}")
            try:
                return _keep(apt, release, packages, folder)
            except LabFailed as error:
                failed = error
    raise failed or LabFailed("No kernel headers were found in Debian's archive.")


def _candidates(apt: Apt, wanted: str) -> list[tuple[str, tuple[str, str]]]:
    """Releases whose headers there are, the nearest first, each with its two packages."""
    flavour = f"cloud-{debian_architecture()}"
    pattern = rf"linux-headers-([0-9.]+\+deb[0-9]+)-{flavour}"
    found = []
    for package in apt.names(f"^{pattern}$"):
        if matched := re.fullmatch(pattern, package):
            found.append((f"{matched[1]}-{flavour}", (package, f"linux-headers-{matched[1]}-common")))
    return sorted(found, key=lambda each: _distance(each[0], wanted))


def _keep(apt: Apt, release: str, packages: tuple[str, str], folder: Path) -> Headers:
    with tempfile.TemporaryDirectory(prefix=".fetching-", dir=folder) as temporary:
        work = Path(temporary)
        for package in packages:
            into = work / package
            into.mkdir()
            deb = apt.download(package, into)
            done = subprocess.run(["dpkg-deb", "-x", deb, work / "root"], capture_output=True, check=False)
            if done.returncode:
                raise LabFailed(f"{deb.name} cannot be unpacked.", "Try again.", done.stderr.decode(errors="replace"))
        build, source = (work / "root/usr/src" / each for each in packages)
        whole = Headers(release=release, build=build, source=source)
        ready = work / "ready"
        for below, file in whole.files():
            (ready / below).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, ready / below)
        # The rename makes it count; before it, nothing does.
        ready.rename(folder / release)
    return Headers(release=release, build=folder / release / "build", source=folder / release / "source")
