"""Policies that were made for this user, by a model or by themselves: a git repository in the data directory.

One folder a policy (entry, source, report, who made it from what), one commit a version. A write that is cut short, by
a kill or a full disk, leaves the version before. Only the catalogue reads the entries; proving and loading them is left
to others.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import msgspec
from msgspec import Struct

from schedtui.backend.errors import BadFile, MissingTool, SchedtuiError, UnknownName
from schedtui.backend.library.catalogue import entries_in, read_policy
from schedtui.backend.library.meta import FILE as META
from schedtui.backend.library.meta import Meta, State, read_meta, write_meta
from schedtui.backend.model import Report
from schedtui.paths import data_dir

ENTRY, REPORT, NOTE = "policy.toml", "report.json", "NOTE.md"
_TIME_LIMIT_S = 30.0
_INSTALL_GIT = "Debian, Ubuntu: sudo apt install git · Fedora: sudo dnf install git · Arch: sudo pacman -S git"
# Nothing of the user's own configuration: no hooks, no signing, no editor, no pager.
_SETTINGS = ("core.hooksPath=/dev/null", "commit.gpgSign=false", "gc.auto=0", "core.autocrlf=false")


class Version(Struct, frozen=True, kw_only=True):
    """One commit that changed a policy."""

    commit: str
    """In full."""
    time: float
    """Unix time."""
    message: str


def find_git() -> str:
    """What generated policies are kept with. Raises MissingTool."""
    found = shutil.which("git")
    if found is None:
        raise _without_git()
    return found


def _without_git() -> MissingTool:
    return MissingTool("git is not installed: generated policies are kept in it.", _INSTALL_GIT)


class Generated:
    """The repository in ``folder``, made when the first policy is added. Several processes may use it at once."""

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder or data_dir() / "generated"
        self._lock = self.folder.with_name(f"{self.folder.name}.lock")

    def names(self) -> list[str]:
        """All of them, also the retired."""
        return [path.parent.name for path in entries_in(self.folder)]

    def meta(self, name: str) -> Meta:
        """Who made it, from what, and whether it is in use. Raises UnknownName."""
        return read_meta(self._known(name))

    def add(
        self,
        entry: Path,
        *,
        made_by: str,
        parent: str = "",
        report: Report | None = None,
        message: str = "",
    ) -> Version:
        """Keep the policy of the ``policy.toml`` at ``entry``, its source and note, as a new version: a draft.

        Without a ``parent``, that of the version before stays.

        Raises BadFile for an entry that is not sound, or when it cannot be written; MissingTool without git.
        """
        policy = read_policy(entry, "generated")
        if not policy.source:
            raise BadFile(f"{entry} describes a program of others: it has no source to keep.", "Give it a source.")
        with self._writing(policy.name) as folder:
            # A sound copy first, so that what is read again is what was checked.
            with tempfile.TemporaryDirectory() as place:
                copy = Path(place) / policy.name
                copy.mkdir()
                for path in (entry, Path(policy.source), entry.parent / NOTE):
                    if path.exists():
                        shutil.copyfile(path, copy / (ENTRY if path == entry else path.name))
                read_policy(copy / ENTRY, "generated")
                if folder.exists():
                    parent = parent or read_meta(folder).parent
                    shutil.rmtree(folder)
                shutil.copytree(copy, folder)
            write_meta(folder, Meta(made_by=made_by, parent=parent))
            if report:
                (folder / REPORT).write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=2) + b"\n")
            self._commit(policy.name, message or f"{policy.name}: {policy.summary}")
        return self.versions(policy.name)[0]

    def versions(self, name: str) -> list[Version]:
        """The newest first. Raises UnknownName."""
        self._known(name)
        told = self._git("log", "--format=%H%x00%ct%x00%s", "--", name)
        lines = [line.split("\0") for line in told.splitlines()]
        return [Version(commit=commit, time=float(time), message=message) for commit, time, message in lines]

    def promote(self, name: str) -> None:
        """It is no draft any more. Raises UnknownName, BadFile, MissingTool."""
        self._become(name, "promoted")

    def retire(self, name: str) -> None:
        """It is no longer offered; its versions stay, and ``promote`` brings it back. Raises as ``promote``."""
        self._become(name, "retired")

    def diff(self, name: str, old: str = "", new: str = "") -> str:
        """What changed from version ``old`` to ``new``, as a unified diff; by default, in the last new version.

        Raises UnknownName for a policy or a version that there is not.
        """
        versions = self.versions(name)
        if not old:
            content = ("--", name, f":(exclude){name}/{META}")
            last = self._git("log", "-1", "--format=%H", *content).strip()
            return self._git("show", "--no-color", "--no-ext-diff", "--format=", last, *content)
        before = self._commit_of(name, old, versions)
        after = self._commit_of(name, new, versions) if new else versions[0].commit
        return self._git("diff", "--no-color", "--no-ext-diff", before, after, "--", name)

    def export(self, name: str, to: Path, version: str = "") -> Path:
        """Write a version (the last by default) to the folder ``to``/``name``, which must not exist yet; returns it.

        Raises UnknownName, BadFile.
        """
        commit = self._commit_of(name, version, self.versions(name)) if version else "HEAD"
        target = to / name
        if target.exists():
            raise BadFile(f"{target} exists already.", "Name another folder, or move it away.")
        try:
            target.mkdir(parents=True)
            for path in self._git("ls-tree", "-r", "--name-only", "-z", commit, "--", name).split("\0"):
                if path:
                    (to / path).parent.mkdir(parents=True, exist_ok=True)
                    (to / path).write_bytes(self._git_bytes("cat-file", "blob", f"{commit}:{path}"))
        except OSError as error:
            raise BadFile(f"{target} cannot be written: {error.strerror or error}.", "Name another folder.") from error
        return target

    def _become(self, name: str, state: State) -> None:
        before = self.meta(name)
        if before.state == state:
            return
        with self._writing(name) as folder:
            write_meta(folder, msgspec.structs.replace(before, state=state))
            self._commit(name, f"{name}: {state}")

    def _known(self, name: str) -> Path:
        if name not in self.names():
            listed = ", ".join(self.names())
            raise UnknownName(
                f"There is no generated policy called “{name}”.",
                f"There are: {listed}." if listed else "There is none.",
            )
        return self.folder / name

    def _commit_of(self, name: str, version: str, versions: list[Version]) -> str:
        found = [each.commit for each in versions if len(version) >= 4 and each.commit.startswith(version)]
        if len(found) != 1:
            raise UnknownName(
                f"“{version}” is no version of {name}.",
                f"There are: {', '.join(each.commit[:10] for each in versions)}.",
            )
        return found[0]

    @contextlib.contextmanager
    def _writing(self, name: str) -> Iterator[Path]:
        """The policy's folder, for one change that is kept whole or not at all; others wait meanwhile."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with self._lock.open("a+", encoding="utf-8") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                if not (self.folder / ".git" / "HEAD").exists():
                    self._git("init", "--quiet")
                lock.seek(0)
                self._undo_cut_write(lock.read())
                _note(lock.fileno(), name)
                try:
                    yield self.folder / name
                except BaseException:
                    self._undo_cut_write(name)
                    raise
                finally:
                    _note(lock.fileno(), "")
        except OSError as error:
            raise BadFile(
                f"{self.folder} cannot be written: {error.strerror or error}.", "The version before stays."
            ) from error

    def _undo_cut_write(self, name: str) -> None:
        """Back to the last version of the policy whose writing was cut short; ``name`` is empty when none was."""
        if not name:
            return
        (self.folder / ".git" / "index.lock").unlink(missing_ok=True)
        shutil.rmtree(self.folder / name, ignore_errors=True)
        with contextlib.suppress(SchedtuiError):  # before the first commit there is nothing to go back to
            self._git("reset", "--quiet")
            self._git("checkout", "--quiet", "HEAD", "--", name)

    def _commit(self, name: str, message: str) -> None:
        self._git("add", "--all", "--force", "--", name)
        if self._git("status", "--porcelain", "--", name):
            self._git("commit", "--quiet", "--no-verify", "-m", message, "--", name)

    def _git(self, *arguments: str) -> str:
        return self._git_bytes(*arguments).decode(errors="replace")

    def _git_bytes(self, *arguments: str) -> bytes:
        settings = [word for each in _SETTINGS for word in ("-c", each)]
        place = [f"--git-dir={self.folder / '.git'}", f"--work-tree={self.folder}"]
        try:
            done = subprocess.run(
                ["git", *settings, *place, *arguments],
                cwd=self.folder if self.folder.is_dir() else None,
                env=_environment(),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=_TIME_LIMIT_S,
            )
        except FileNotFoundError as error:
            raise _without_git() from error
        except subprocess.TimeoutExpired as error:
            raise BadFile(f"git did not answer within {_TIME_LIMIT_S:g} s.", f"See {self.folder}.") from error
        if done.returncode:
            told = done.stderr.decode(errors="replace").strip()
            last = told.splitlines()[-1] if told else f"git ended with {done.returncode}"
            raise BadFile(f"The policies in {self.folder} cannot be used: {last}", "The version before stays.", told)
        return done.stdout


def _note(lock: int, name: str) -> None:
    """Which policy is being written, for whoever comes after a kill."""
    os.ftruncate(lock, 0)
    os.pwrite(lock, name.encode(), 0)


def _environment() -> dict[str, str]:
    person = {f"GIT_{role}_{what}": value for role in ("AUTHOR", "COMMITTER") for what, value in _PERSON.items()}
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "LANG": "C.UTF-8",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": "/dev/null",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_OPTIONAL_LOCKS": "0",
        **person,
    }


_PERSON = {"NAME": "schedtui", "EMAIL": "schedtui@localhost"}
