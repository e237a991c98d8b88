"""Installing the helper: first a plan that names everything it will change, then the changes, all of them or none.

Each step can be repeated, and what is right already is left alone. A step that fails takes back those before it. One
that is killed leaves a mark, and whole files only, because each is put in place by one rename; running setup again
finishes it. Removing is ``remove``'s; which path is what, ``targets`` says.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import stat
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Literal

import tomlkit
from msgspec import Struct
from tomlkit.exceptions import TOMLKitError

from schedtui.backend.errors import BadFile, NotPermitted, SetupFailed
from schedtui.backend.machine import Progress
from schedtui.backend.setup import copying, system
from schedtui.backend.setup.interpreter import Interpreter, find_interpreter
from schedtui.backend.setup.state import answers
from schedtui.backend.setup.targets import ACTIONS, USER, WATCHED, Targets
from schedtui.backend.setup.trust import changeable
from schedtui.backend.setup.units import polkit_actions, unit_files

State = Literal["new", "changed", "same"]
_AGAIN = "Run setup again; it takes up where this left off. Or take everything away: schedtui setup --remove"


class Change(Struct, frozen=True, kw_only=True):
    """One thing that setup sees to."""

    kind: Literal["user", "folder", "copy", "file", "units", "machine"]
    target: str
    what: str
    state: State
    files: tuple[str, ...] = ()
    """Of a copy, each file."""


class Plan(Struct, frozen=True, kw_only=True):
    """Everything that a setup will do, and what it needs to know to do it."""

    targets: Targets
    python: Interpreter
    version: str
    contents: dict[str, bytes]
    files: dict[Path, bytes]
    """What is written beside the copy, whole."""
    changes: tuple[Change, ...]


def make_plan(targets: Targets, uids: tuple[int, ...]) -> Plan:
    """What is to be done so that the users ``uids`` may use the helper. Changes nothing.

    Raises NotPermitted where somebody but root could change what is installed, MissingTool for a fitting Python, and
    BadFile for a configuration that cannot be read.
    """
    _check_places(targets)
    python = find_interpreter()
    contents = copying.read_files(copying.wanted_files(python), targets.state)
    version = copying.version_of(contents, python)
    files: dict[Path, bytes] = {targets.config: _allowing(targets.config, uids)}
    kvm = system.has_group("kvm", targets.root)
    files |= {targets.units / name: text.encode() for name, text in unit_files(str(python.path), kvm=kvm).items()}
    files[_actions_folder(targets) / f"{ACTIONS}.policy"] = polkit_actions().encode()
    return Plan(
        targets=targets,
        python=python,
        version=version,
        contents=contents,
        files=files,
        changes=tuple(_changes(targets, python, version, contents, files, uids)),
    )


def install(plan: Plan, progress: Progress) -> None:
    """Do it. Whatever stops it, a signal or a full disk, what it had changed is taken back. Raises SetupFailed."""
    began = time.monotonic()

    def say(words: str) -> None:
        progress(words, time.monotonic() - began)

    before = os.umask(0o022)
    try:
        with ExitStack() as undo:
            _install(plan, undo, say)
            undo.pop_all()
    except OSError as error:
        where = f" ({error.filename})" if error.filename else ""
        raise SetupFailed(
            f"Setup stopped: {error.strerror}{where}. What it had changed was taken back.", _AGAIN
        ) from error
    finally:
        os.umask(before)
    _tidy(plan)


def _install(plan: Plan, undo: ExitStack, say: Callable[[str], None]) -> None:
    targets, final = plan.targets, plan.targets.home / plan.version
    if system.boots_with_systemd(targets.root):
        undo.callback(system.reload, tolerant=True)
    _make_folder(targets.home, 0o755, undo)
    _mark_unfinished(targets, plan.version, undo)
    if not (final.is_dir() and copying.is_whole(final, plan.contents)):
        say("copying schedtui to where only root can write")
        staging = targets.home / f".new-{plan.version}"
        for left in (staging, final):
            shutil.rmtree(left, ignore_errors=True)
        undo.callback(shutil.rmtree, staging, ignore_errors=True)
        copying.write_copy(staging, final, plan.contents, plan.python)
        why = copying.starts(staging, plan.python)
        if why:
            raise SetupFailed("The copy does not start, so nothing was installed.", "Please report this.", why)
        staging.rename(final)
        undo.callback(shutil.rmtree, final, ignore_errors=True)
    if not system.has_user(USER, targets.root):
        say(f"user: {USER}")
        system.add_user(USER, targets.root)
        undo.callback(system.remove_user, USER, targets.root)
    owner = system.ids_of(USER, targets.root)
    for folder, mode in (
        (targets.state, 0o711),
        (targets.tokens, 0o700),
        (targets.prepared, 0o755),
        (targets.verify, 0o700),
    ):
        _make_folder(folder, mode, undo)
    os.chown(targets.verify, *owner)
    for path, content in plan.files.items():
        _make_folder(path.parent, 0o755, undo)
        _put(path, content, undo)
    _point(targets.current, plan.version, undo)
    _make_folder(targets.wanted, 0o755, undo)
    for name in WATCHED:
        _point(targets.wanted / name, _unit_path(name), undo)
    if system.boots_with_systemd(targets.root):
        say("units: starting to listen")
        undo.callback(system.stop, WATCHED)
        system.reload()
        system.start(WATCHED, restart=("schedtui-helper.service",))
    targets.unfinished.unlink()


def _check_places(targets: Targets) -> None:
    folders = (targets.home, targets.config.parent, targets.state, targets.units, _actions_folder(targets))
    for folder in folders:
        why = changeable(folder)
        if why:
            raise NotPermitted(
                f"Nothing is installed where somebody but root can change it: {why}",
                "Give that folder to root alone (chown root:root and chmod go-w), then run setup again.",
            )


def _actions_folder(targets: Targets) -> Path:
    """Where /usr is read-only, as on image-based systems, newer versions of polkit read a folder in /etc as well."""
    usual, other = targets.actions
    existing = next(each for each in (usual, *usual.parents) if each.exists())
    return usual if os.access(existing, os.W_OK) else other


def _allowing(path: Path, uids: tuple[int, ...]) -> bytes:
    """The configuration with these users added to it; everything else in it stays as it is."""
    text = _read_own(path)
    try:
        document = tomlkit.parse(text)
    except (TOMLKitError, ValueError) as error:
        raise BadFile(f"{path} is damaged: {error}", "Mend it, or remove it; then run setup again.") from error
    allow = document.get("allow", [])
    if not isinstance(allow, list) or not all(isinstance(each, int) for each in allow):
        raise BadFile(f"{path}: allow must be a list of user numbers.", "Mend it, or remove it; then run setup again.")
    lacking = [each for each in uids if each not in allow]
    if not text:
        document.add(tomlkit.comment("Who may use schedtui's helper: numbers of users, as “id -u” tells them."))
    if "allow" not in document:
        document["allow"] = lacking
    else:
        for each in lacking:
            document["allow"].append(each)
    return tomlkit.dumps(document).encode()


def _read_own(path: Path) -> str:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return ""
    except OSError as error:
        raise BadFile(f"{path} cannot be read: {error.strerror}.", "Remove it, then run setup again.") from error
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise BadFile(f"{path} is no file.", "Remove it, then run setup again.")
        try:
            return file.read(1 << 20).decode()
        except UnicodeDecodeError as error:
            raise BadFile(f"{path} is damaged.", "Remove it, then run setup again.") from error


def _changes(
    targets: Targets,
    python: Interpreter,
    version: str,
    contents: dict[str, bytes],
    files: dict[Path, bytes],
    uids: tuple[int, ...],
) -> list[Change]:
    def shown(path: Path) -> str:
        return f"/{path.relative_to(targets.root)}"

    there = system.has_user(USER, targets.root)
    changes = [
        Change(
            kind="user",
            target=USER,
            what="a user that verifies schedulers, without a home, a password or a shell",
            state="same" if there else "new",
        ),
        Change(
            kind="copy",
            target=shown(targets.home / version),
            what=f"{len(contents)} files, {sum(map(len, contents.values())) / 1e6:.1f} MB: what runs as root, "
            f"run by {python.path}",
            state=_state_of_copy(targets, version, contents),
            files=tuple(contents),
        ),
    ]
    for folder, what in (
        (targets.state, "the key that signs what was proven, for root alone"),
        (targets.tokens, "what was proven, for root alone"),
        (targets.prepared, "the verifying machine: kernel, guest image, snapshot; changed by root alone"),
        (targets.verify, f"what the verifying writes, for {USER} alone"),
    ):
        changes.append(
            Change(kind="folder", target=shown(folder), what=what, state="same" if folder.is_dir() else "new")
        )
    for path, content in files.items():
        what = f"who may use the helper: {', '.join(map(_name_of, uids))}" if path == targets.config else ""
        changes.append(Change(kind="file", target=shown(path), what=what, state=_state_of(path, content)))
    restarts = "; the helper that runs is started anew, and what it has loaded ends" if answers(targets.socket) else ""
    changes.append(
        Change(
            kind="units",
            target=" ".join(WATCHED),
            what="systemd listens there, and starts the helper when it is first needed, or with the computer while the "
            f"hot key is on{restarts}",
            state="same" if all((targets.wanted / each).is_symlink() for each in WATCHED) else "new",
        )
    )
    return changes


def _state_of(path: Path, content: bytes) -> State:
    try:
        same = not path.is_symlink() and path.read_bytes() == content
    except FileNotFoundError:
        return "new"
    except OSError:
        return "changed"
    return "same" if same else "changed"


def _state_of_copy(targets: Targets, version: str, contents: dict[str, bytes]) -> State:
    if not targets.current.is_symlink():
        return "new"
    folder = targets.home / version
    runs = str(targets.current.readlink()) == version
    return "same" if runs and folder.is_dir() and copying.is_whole(folder, contents) else "changed"


def _name_of(uid: int) -> str:
    try:
        return f"{pwd.getpwuid(uid).pw_name} ({uid})"
    except KeyError:
        return str(uid)


def _make_folder(folder: Path, mode: int, undo: ExitStack) -> None:
    missing = [each for each in (folder, *folder.parents) if not each.exists()]
    for each in reversed(missing):
        each.mkdir(mode=0o755)
        undo.callback(_remove_folder, each)
    if missing:
        folder.chmod(mode)


def _remove_folder(folder: Path) -> None:
    with contextlib.suppress(OSError):
        folder.rmdir()


def _mark_unfinished(targets: Targets, version: str, undo: ExitStack) -> None:
    targets.unfinished.write_text(f"{version}\n")
    undo.callback(targets.unfinished.unlink, missing_ok=True)


def _put(path: Path, content: bytes, undo: ExitStack) -> None:
    """A whole file in one rename; what was there, a link included, is kept beside it until all is done."""
    if _state_of(path, content) == "same":
        return
    new, old = part_of(path, "new"), part_of(path, "old")
    for left in (new, old):
        left.unlink(missing_ok=True)
    undo.callback(new.unlink, missing_ok=True)
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    if os.path.lexists(path):
        os.link(path, old, follow_symlinks=False)
        undo.callback(os.replace, old, path)
    else:
        undo.callback(path.unlink, missing_ok=True)
    new.replace(path)


def part_of(path: Path, which: Literal["new", "old"]) -> Path:
    """Where a file lies while it is being replaced; systemd and polkit take no notice of such names."""
    return path.with_name(f".{path.name}.schedtui-{which}")


def _point(link: Path, target: str, undo: ExitStack) -> None:
    """Make a link lead to ``target`` in one rename, whatever was in its place."""
    before = str(link.readlink()) if link.is_symlink() else None
    if before == target:
        return
    if before is None:
        undo.callback(link.unlink, missing_ok=True)
    else:
        undo.callback(_replace_link, link, before)
    _replace_link(link, target)


def _replace_link(link: Path, target: str) -> None:
    new = part_of(link, "new")
    new.unlink(missing_ok=True)
    new.symlink_to(target)
    new.replace(link)


def _unit_path(name: str) -> str:
    return f"/etc/systemd/system/{name}"


def _tidy(plan: Plan) -> None:
    for path in plan.files:
        for each in (part_of(path, "new"), part_of(path, "old")):
            with contextlib.suppress(OSError):
                each.unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        copying.prune(plan.targets.home, plan.version)
