"""A person's project in the lab's guest: its sources are carried in once, and its command runs in a new copy each time.

The folder on this computer is only read. What was built there is left out, so that a run has all of it to do, and so
are folders and settings that begin with a dot.
"""

from __future__ import annotations

import io
import os
import shlex
import stat
import tarfile
from collections.abc import Iterator
from pathlib import Path

from schedtui.backend.errors import BadFile, MissingTool, NotPermitted, UnknownName
from schedtui.backend.helper import protocol
from schedtui.backend.microvm.compiler_image import INSTALL, is_installed
from schedtui.backend.microvm.guest import Guest

LARGEST_BYTES = 32 << 20
MOST_FILES = 5000
_HOME = "/tmp/project"
_ARCHIVE = f"{_HOME}/sources.tar"
_COPY = f"{_HOME}/run"
_PIECE_BYTES = 1 << 20
_PIECE_LIMIT_S = 120
_COPY_LIMIT_S = 60.0
_BUILT = (b"\x7fELF", b"!<arch>\n")
_BUILT_ENDINGS = (".o", ".a", ".so", ".d", ".gch")


class CarriedProject:
    """A folder that is in the guest, and the command that is run in a new copy of it each time."""

    def __init__(self, guest: Guest, folder: Path, command: tuple[str, ...]) -> None:
        """Raises NotPermitted when the folder is too large, MissingTool when the guest has no such command."""
        self.command = command
        self._guest = guest
        content = packed(folder)
        for offset in range(0, len(content), _PIECE_BYTES):
            piece = content[offset : offset + _PIECE_BYTES]
            guest.client.call(protocol.PutFile(_ARCHIVE, offset, piece, False), _PIECE_LIMIT_S)
        self.make_copy()
        if self._sh(f"cd {_COPY} && command -v {shlex.quote(command[0])}"):
            raise self._lacking()

    def make_copy(self) -> None:
        """Everything as it was carried in, and nothing that a run has made."""
        script = f"rm -rf {_COPY} && mkdir {_COPY} && tar -x -f {_ARCHIVE} -C {_COPY}"
        if self._sh(script):
            raise BadFile("The project could not be copied in the lab's guest.", "Name a smaller folder.")

    def in_copy(self) -> list[str]:
        """The command, to be run in the copy, with the guest's own tools after the compiler's."""
        return ["env", "PATH=/usr/bin:/bin", "sh", "-c", f'cd {_COPY} && exec "$@"', "sh", *self.command]

    def _sh(self, script: str) -> int:
        command = ["env", "PATH=/usr/bin:/bin", "sh", "-c", script]
        reply = self._guest.client.call(protocol.Run(command, _COPY_LIMIT_S), _COPY_LIMIT_S + 15)
        assert reply.completed is not None
        return reply.completed.exit_code

    def _lacking(self) -> MissingTool:
        remedy = "Open the lab with this computer's compiler: --compiler" if is_installed() else INSTALL
        return MissingTool(f"“{self.command[0]}” is not in the lab's guest, so its time cannot be taken there.", remedy)


def packed(folder: Path) -> bytes:
    """The folder's sources as an archive. Raises UnknownName, BadFile, and NotPermitted when it is too large."""
    if not folder.is_dir():
        raise UnknownName(f"There is no folder {folder}.", "Name the folder of your project.")
    archive = io.BytesIO()
    files = 0
    with tarfile.open(fileobj=archive, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for path in _sources(folder):
            files += 1
            if files > MOST_FILES or archive.tell() > LARGEST_BYTES:
                raise _too_large(folder)
            try:
                _add(tar, path, str(path.relative_to(folder)))
            except OSError as error:
                raise BadFile(f"{path} cannot be read: {error.strerror}.", "Name another folder.") from error
    if archive.tell() > LARGEST_BYTES:
        raise _too_large(folder)
    return archive.getvalue()


def _too_large(folder: Path) -> NotPermitted:
    return NotPermitted(
        f"{folder} holds more than {LARGEST_BYTES >> 20} MB or {MOST_FILES} files: too much for the lab's guest.",
        "Name the part of the project that the command builds.",
    )


def _sources(folder: Path) -> Iterator[Path]:
    for where, folders, names in os.walk(folder):
        folders[:] = sorted(each for each in folders if not each.startswith("."))
        yield from (Path(where, each) for each in folders)
        yield from (Path(where, each) for each in sorted(names) if not each.startswith(".env"))


def _add(tar: tarfile.TarFile, path: Path, name: str) -> None:
    found = path.lstat()
    entry = tarfile.TarInfo(name)
    entry.mode, entry.mtime = stat.S_IMODE(found.st_mode), int(found.st_mtime)
    if stat.S_ISLNK(found.st_mode):
        entry.type, entry.linkname = tarfile.SYMTYPE, os.fsdecode(path.readlink())
        tar.addfile(entry)
    elif stat.S_ISDIR(found.st_mode):
        entry.type = tarfile.DIRTYPE
        tar.addfile(entry)
    elif stat.S_ISREG(found.st_mode):
        if found.st_size > LARGEST_BYTES:
            raise _too_large(path.parent)
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            content = file.read(LARGEST_BYTES + 1)
        if path.suffix not in _BUILT_ENDINGS and not content.startswith(_BUILT):
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
