"""Which program of others the helper of a host may start: one that only root can change, seen through to its bytes.

Every folder on the way is opened from the root on, none of them a link, and judged by its descriptor; so is the file,
whose bytes are hashed and later run through that same descriptor: what is put in its place meanwhile is not run.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from msgspec import Struct

from schedtui.backend.errors import NotPermitted, UnknownName
from schedtui.backend.helper.program import check_program
from schedtui.backend.programs import NAME

FOLDERS = (Path("/usr/bin"), Path("/usr/local/bin"), Path("/usr/sbin"), Path("/usr/local/sbin"))
"""Where distributions put schedulers, and people who install them as root. PATH has no say."""
_READ_BYTES = 1 << 20
_LAB_ONLY = "It can be tried in the lab. For this computer install it as root, from the distribution or into {folder}."


class Trust(Struct, frozen=True):
    """Who must own a program and every folder on its way, and from which folder on."""

    owner: int = 0
    start: Path = Path("/")
    folders: tuple[Path, ...] = FOLDERS


ROOTS = Trust()


class Trusted(Struct, frozen=True):
    """A program that only root can change."""

    path: Path
    descriptor: int
    sha256: str
    """Of what ``descriptor`` reads, in hex."""


@contextlib.contextmanager
def trusted_program(name: str, trust: Trust = ROOTS) -> Iterator[Trusted]:
    """The program ``name``, open for as long as the context lasts.

    Raises UnknownName when none of the folders has it, and NotPermitted when somebody else than root could have put it
    there, or can change it: the sentence says what of it. BadFile for a script.
    """
    with contextlib.ExitStack() as held:
        folder, descriptor = _found(name, trust, held)
        path = folder / name
        check_program(descriptor, str(path))
        yield Trusted(path, descriptor, _sha256(descriptor))


def _found(name: str, trust: Trust, held: contextlib.ExitStack) -> tuple[Path, int]:
    if not NAME.fullmatch(name):
        raise UnknownName(f"“{name}” is not the name of a program.")
    for folder in trust.folders:
        if os.path.lexists(folder / name):
            return folder, _open_trusted(folder, name, trust, held)
    listed = ", ".join(map(str, trust.folders))
    raise UnknownName(f"{name} is not installed in {listed}.", "Install it as root, from the distribution for example.")


def _open_trusted(folder: Path, name: str, trust: Trust, held: contextlib.ExitStack) -> int:
    place = trust.start
    within = _opened(str(place), os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW, None, place, held)
    _judge(within, place, trust.owner)
    for part in folder.relative_to(trust.start).parts:
        place /= part
        within = _opened(part, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW, within, place, held)
        _judge(within, place, trust.owner)
    place /= name
    descriptor = _opened(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, within, place, held)
    _judge(descriptor, place, trust.owner)
    return descriptor


def _opened(part: str, flags: int, within: int | None, place: Path, held: contextlib.ExitStack) -> int:
    try:
        descriptor = os.open(part, flags | os.O_CLOEXEC, dir_fd=within)
    except OSError as error:
        what = "is a link: only the program itself is started" if place.is_symlink() else f"cannot be opened: {error}"
        raise _refused(place, what) from error
    held.callback(os.close, descriptor)
    return descriptor


def _judge(descriptor: int, place: Path, owner: int) -> None:
    found = os.fstat(descriptor)
    if found.st_uid != owner:
        raise _refused(place, "belongs to somebody else than root, who could put anything there")
    if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise _refused(place, "can be written by others than root, who could put anything there")
    if stat.S_ISDIR(found.st_mode):
        return
    if not stat.S_ISREG(found.st_mode):
        raise _refused(place, "is not a program")
    if found.st_mode & (stat.S_ISUID | stat.S_ISGID):
        raise _refused(place, "gives whoever runs it the rights of its owner (setuid), which no scheduler needs")


def _refused(place: Path, why: str) -> NotPermitted:
    return NotPermitted(f"{place} {why}.", _LAB_ONLY.format(folder=FOLDERS[1]))


def _sha256(descriptor: int) -> str:
    total, at = hashlib.sha256(), 0
    while piece := os.pread(descriptor, _READ_BYTES, at):
        total.update(piece)
        at += len(piece)
    return total.hexdigest()
