"""The copy of schedtui that runs as root: which files it has, and how it is written so that no half copy is used."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import elftools

import schedtui
from schedtui import paths
from schedtui.backend.errors import SetupFailed
from schedtui.backend.setup import launch
from schedtui.backend.setup.interpreter import FLAGS, Interpreter

LAUNCHER = "launch.py"
LIBRARY = "lib"
_NOT_COPIED = ("__pycache__",)
_LIMIT_S = 120
_KEPT_VERSIONS = 2
"""The one that runs, and the one before: what was started from it may still import from it."""


def wanted_files(python: Interpreter) -> dict[str, Path]:
    """What is copied, by its path in the copy: our backend, msgspec, elftools, and what ships with the program."""
    package = Path(str(schedtui.__file__)).parent
    copied = {LAUNCHER: Path(launch.__file__)}
    ours = f"{LIBRARY}/schedtui"
    for name in ("__init__.py", "paths.py", "units.py"):
        copied[f"{ours}/{name}"] = package / name
    copied |= _tree(package / "backend", f"{ours}/backend")
    copied |= _tree(python.msgspec, f"{LIBRARY}/msgspec")
    copied |= _tree(Path(str(elftools.__file__)).parent, f"{LIBRARY}/elftools")
    for name in ("bpf", "library"):
        copied |= _tree(paths.shipped(name), f"{ours}/_shipped/{name}")
    return copied


def read_files(wanted: dict[str, Path], state: Path) -> dict[str, bytes]:
    """Their contents, each read once: what is hashed is what is written. ``state`` is where the copy keeps things.

    Raises SetupFailed for one that is not there.
    """
    contents = {launch.STATE: f"{state}\n".encode()}
    for name, source in sorted(wanted.items()):
        try:
            contents[name] = source.read_bytes()
        except OSError as error:
            raise SetupFailed(f"{source} cannot be read: {error.strerror}.", "Install schedtui again.") from error
    return contents


def version_of(contents: dict[str, bytes], python: Interpreter) -> str:
    """Names a copy by all that is in it, and by what runs it."""
    total = hashlib.sha256(f"{python.path} {python.version}\n".encode())
    for name, content in sorted(contents.items()):
        total.update(f"{name}\0{hashlib.sha256(content).hexdigest()}\n".encode())
    return f"{schedtui.__version__}-{total.hexdigest()[:16]}"


def is_whole(folder: Path, contents: dict[str, bytes]) -> bool:
    """Whether a copy holds exactly these files; what Python compiled of them lies in folders of their own."""
    found = {
        str(each.relative_to(folder))
        for each in folder.rglob("*")
        if not each.is_dir() and not set(each.relative_to(folder).parts) & set(_NOT_COPIED)
    }
    if found != set(contents):
        return False
    return all(not (folder / name).is_symlink() and (folder / name).read_bytes() == contents[name] for name in contents)


def write_copy(staging: Path, final: Path, contents: dict[str, bytes], python: Interpreter) -> None:
    """Write a copy into a new folder, from which it may be moved to ``final``. Raises OSError, SetupFailed."""
    staging.mkdir(mode=0o755)
    for name, content in contents.items():
        place = staging / name
        place.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        place.write_bytes(content)
        place.chmod(0o644)
    compile_all = ["-m", "compileall", "-q", "-s", str(staging), "-p", str(final)]
    compile_all += [str(staging / LIBRARY / each) for each in ("schedtui", "msgspec")]
    _run([str(python.path), "-IS", *compile_all])


def _run(command: list[str]) -> None:
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, env={"PATH": launch.PATH}, cwd="/", timeout=_LIMIT_S, umask=0o022
        )
    except subprocess.TimeoutExpired as error:
        raise SetupFailed(
            f"{command[0]} did not come to an end.", "Try again when the computer is less busy."
        ) from error
    if done.returncode != 0:
        raise SetupFailed("The copy could not be compiled.", "Install schedtui again.", done.stderr or done.stdout)


def starts(folder: Path, python: Interpreter) -> str:
    """Why the copy does not start, as it says itself; empty when it does."""
    command = [str(python.path), FLAGS, str(folder / LAUNCHER), "prepare", "--only-import"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, env={}, cwd="/", timeout=_LIMIT_S)
    except subprocess.TimeoutExpired:
        return "It did not come to an end."
    return "" if done.returncode == 0 else (done.stderr or done.stdout or f"It ended with {done.returncode}.")


def prune(home: Path, current: str) -> None:
    """Remove older copies and what a killed setup left; all but the one that runs and the one before."""
    versions = [each for each in home.iterdir() if each.is_dir() and not each.is_symlink() and each.name != current]
    kept = sorted((each for each in versions if not each.name.startswith(".")), key=lambda each: each.stat().st_mtime)
    older = set(kept[: max(0, len(kept) - (_KEPT_VERSIONS - 1))])
    for each in versions:
        if each.name.startswith(".") or each in older:
            shutil.rmtree(each, ignore_errors=True)


def _tree(folder: Path, target: str) -> dict[str, Path]:
    return {f"{target}/{each.relative_to(folder)}": each for each in _files(folder)}


def _files(folder: Path) -> Iterator[Path]:
    for parent, folders, names in os.walk(folder):
        folders[:] = sorted(each for each in folders if each not in _NOT_COPIED)
        for name in sorted(names):
            if not name.endswith((".pyc", ".pyi")) and not name.startswith("."):
                yield Path(parent, name)
