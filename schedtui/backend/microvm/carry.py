"""Programs into a running guest, with the shared libraries that it lacks: no snapshot is built anew for one.

Starting them is left to the guest's helper.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path, PurePosixPath

from schedtui.backend.errors import BadFile, LabFailed
from schedtui.backend.helper import protocol
from schedtui.backend.microvm.guest import Guest
from schedtui.backend.microvm.image import needed_libraries
from schedtui.backend.microvm.kernels import configuration_beside
from schedtui.paths import cache_dir

FOLDER = PurePosixPath("/tmp/carried")
"""In the guest."""
LARGEST_BYTES = 256 << 20
_PIECE_BYTES = 1 << 20
_PIECE_LIMIT_S = 30
_LACKING = 'for each in "$@"; do [ -e "$each" ] || echo "$each"; done'


def read_program(path: Path, sha256: str) -> bytes:
    """The program's bytes. Raises BadFile when they are not those that ``sha256`` names."""
    try:
        if path.stat().st_size > LARGEST_BYTES:
            raise BadFile(f"{path} is too large for the lab ({path.stat().st_size >> 20} MiB).")
        content = path.read_bytes()
    except OSError as error:
        raise BadFile(f"{path} cannot be read: {error.strerror}.", "Install the scheduler again.") from error
    if hashlib.sha256(content).hexdigest() != sha256:
        raise BadFile(f"{path} has changed since it was looked at.", "Choose it again.")
    return content


def carry_program(guest: Guest, name: str, content: bytes) -> str:
    """Where the program is in the guest then, ready to be started. Raises LabFailed, HelperGone, MissingTool."""
    _tell_configuration(guest)
    for library in _lacking(guest, _needed_by(content)):
        _put(guest, str(library), library.read_bytes(), executable=True)
    place = str(FOLDER / f"{hashlib.sha256(content).hexdigest()[:16]}-{name}")
    _put(guest, place, content, executable=True)
    return place


def _needed_by(content: bytes) -> list[Path]:
    """Asked of a copy: what the program came as may be a descriptor, or change meanwhile."""
    folder = cache_dir()
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=folder, prefix=".program-") as copy:
        copy.write(content)
        copy.flush()
        return needed_libraries([Path(copy.name)])


def _tell_configuration(guest: Guest) -> None:
    """Most schedulers read what the kernel was built with, from the files where libbpf looks."""
    release = _said(guest, ["uname", "-r"]).strip()
    place = f"/boot/config-{release}"
    if _said(guest, ["sh", "-c", _LACKING, "sh", "/proc/config.gz"]) and (
        text := configuration_beside(guest.qemu.config.kernel, release)
    ):
        _put(guest, place, text.encode(), executable=False)


def _lacking(guest: Guest, libraries: list[Path]) -> list[Path]:
    said = _said(guest, ["sh", "-c", _LACKING, "sh", *map(os.fsdecode, libraries)])
    return [Path(line) for line in said.splitlines()]


def _said(guest: Guest, command: list[str]) -> str:
    reply = guest.client.call(protocol.Run(command, 10), 20)
    if reply.completed is None or reply.completed.exit_code not in (0, 1):
        raise LabFailed("The lab's guest has no shell to prepare a program with.", "schedtui lab install")
    return reply.completed.output


def _put(guest: Guest, path: str, content: bytes, *, executable: bool) -> None:
    for offset in range(0, len(content), _PIECE_BYTES):
        piece = content[offset : offset + _PIECE_BYTES]
        guest.client.call(protocol.PutFile(path, offset, piece, executable), _PIECE_LIMIT_S)
