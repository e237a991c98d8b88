"""What a folder that the user named tells of their work: which build files lie there, and how its README begins.

Nothing outside of the folder is read, no link is followed, and what may hold secrets is never opened. What a file says
is data; it is cut to a size that a model can be given.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from msgspec import Struct

from schedtui.backend.errors import BadFile, UnknownName

HEAD_BYTES = 700
MORE_BYTES = 4000
_BUILD_FILES = (
    "Makefile", "makefile", "GNUmakefile", "CMakeLists.txt", "meson.build", "Cargo.toml", "package.json",
    "pyproject.toml", "setup.py", "go.mod", "build.gradle", "build.gradle.kts", "pom.xml", "configure.ac", "BUILD",
    "WORKSPACE", "Justfile", "justfile", "SConstruct", "dune-project",
)  # fmt: skip
_READMES = ("readme", "readme.md", "readme.rst", "readme.txt")
_ENDINGS = {
    "c": "C", "h": "C", "cc": "C++", "cpp": "C++", "cxx": "C++", "hpp": "C++", "rs": "Rust", "go": "Go", "py": "Python",
    "js": "JavaScript", "ts": "TypeScript", "java": "Java", "kt": "Kotlin", "cs": "C#", "zig": "Zig", "hs": "Haskell",
    "ml": "OCaml", "swift": "Swift", "tex": "TeX",
}  # fmt: skip
_MOST_ENTRIES = 5000
_MOST_FILES = 4
_DEPTH = 3


class ProjectFile(Struct, frozen=True, kw_only=True):
    """The beginning of one file."""

    path: str
    """Below the folder."""
    head: str
    size_bytes: int


class Project(Struct, frozen=True, kw_only=True):
    """What a folder holds, as far as it says what is built there."""

    files: tuple[ProjectFile, ...]
    languages: dict[str, int]
    """Source files by language, most first."""


def look_at(folder: Path) -> Project:
    """Build files and README at the top of ``folder``, and the languages of what lies below. Raises UnknownName."""
    if not folder.is_dir():
        raise UnknownName(f"There is no folder {folder}.", "Name the folder of your project, or leave it out.")
    names = sorted(_names(folder))
    wanted = [each for each in names if each.lower() in _READMES] + [each for each in names if each in _BUILD_FILES]
    files = []
    for name in wanted[:_MOST_FILES]:
        with contextlib.suppress(BadFile):
            files.append(read(folder, name, HEAD_BYTES))
    return Project(files=tuple(files), languages=_languages(folder))


def read(folder: Path, path: str, most_bytes: int = MORE_BYTES) -> ProjectFile:
    """The beginning of a build file or README below ``folder``.

    Raises BadFile for any other kind of file, for what is outside, a link (also on the way), or unreadable.
    """
    parts = Path(path).parts
    if not parts or Path(path).is_absolute() or ".." in parts:
        raise BadFile(f"{path} is not below the folder that was named.")
    name = parts[-1]
    if name not in _BUILD_FILES and name.lower() not in _READMES:
        raise BadFile(f"{path} is neither a build file nor a README: nothing else is read.")
    try:
        data, size = _head(folder, parts, most_bytes)
    except OSError as error:
        raise BadFile(f"{path} cannot be read: {error.strerror}.") from error
    return ProjectFile(path=path, head=_text(data), size_bytes=size)


def in_words(project: Project) -> str:
    """For a prompt."""
    told = ", ".join(f"{name} ({count} files)" for name, count in project.languages.items()) or "none known"
    lines = [f"Languages: {told}."]
    for each in project.files:
        cut = ", its beginning" if each.size_bytes > len(each.head.encode()) else ""
        lines += [f"--- {each.path} ({each.size_bytes} bytes{cut})", each.head]
    return "\n".join(lines)


def _head(folder: Path, parts: tuple[str, ...], most_bytes: int) -> tuple[bytes, int]:
    """The first bytes and the size; each step on the way is opened by itself, so that no link leads out."""
    at = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for each in parts[:-1]:
            inner = os.open(each, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=at)
            os.close(at)
            at = inner
        file = os.open(parts[-1], os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=at)
        try:
            found = os.fstat(file)
            if not stat.S_ISREG(found.st_mode):
                raise BadFile(f"{parts[-1]} is no plain file.")
            return os.read(file, most_bytes), found.st_size
        finally:
            os.close(file)
    finally:
        os.close(at)


def _languages(folder: Path) -> dict[str, int]:
    counts: dict[str, int] = {}
    for name in _below(folder):
        language = _ENDINGS.get(name.rpartition(".")[2].lower())
        if language:
            counts[language] = counts.get(language, 0) + 1
    return dict(sorted(counts.items(), key=lambda each: -each[1])[:4])


def _below(folder: Path) -> Iterator[str]:
    """Names of files, a few levels down; hidden folders and links are left out."""
    waiting, seen = [(folder, 0)], 0
    while waiting:
        place, depth = waiting.pop()
        with contextlib.suppress(OSError), os.scandir(place) as entries:
            for each in entries:
                seen += 1
                if seen > _MOST_ENTRIES:
                    return
                if each.name.startswith("."):
                    continue
                if each.is_dir(follow_symlinks=False) and depth < _DEPTH:
                    waiting.append((Path(each.path), depth + 1))
                elif each.is_file(follow_symlinks=False):
                    yield each.name


def _names(folder: Path) -> list[str]:
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        return [each.name for each in entries if each.is_file(follow_symlinks=False)]
    return []


def _text(data: bytes) -> str:
    shown = data.decode(errors="replace")
    return "".join(each if each.isprintable() or each in "\n\t" else "\N{REPLACEMENT CHARACTER}" for each in shown)
