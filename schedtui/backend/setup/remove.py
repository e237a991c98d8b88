"""Taking away all that setup brought, however far it came; also what a killed setup or session left."""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path

from schedtui.backend.errors import SchedtuiError, SetupFailed
from schedtui.backend.setup import session, system
from schedtui.backend.setup.install import part_of
from schedtui.backend.setup.state import answers
from schedtui.backend.setup.targets import ACTIONS, UNITS, USER, WATCHED, Targets


def remains(targets: Targets) -> list[str]:
    """Everything of ours that is there: paths and the user, as ``remove`` would take them away. Changes nothing."""
    found = [f"/{each.relative_to(targets.root)}" for each in _paths(targets) if each.exists() or each.is_symlink()]
    return [*found, *([f"user {USER}"] if system.has_user(USER, targets.root) else [])]


def remove(targets: Targets) -> list[str]:
    """Stop it and take all of it away; returns what went. A scheduler that it holds ends with it.

    People's own history and audit log are in their homes, and stay. Raises SetupFailed, naming what is left.
    """
    found = remains(targets)
    problems: list[SchedtuiError] = []
    if system.boots_with_systemd(targets.root):
        system.stop((*WATCHED, "schedtui-helper.service", "schedtui-verify@*.service"))
    session.end(targets)
    for path in _paths(targets):
        _remove(path)
    _remove_unused(targets.under("/run/scx"))
    try:
        if system.boots_with_systemd(targets.root):
            system.reload(tolerant=True)
        system.remove_user(USER, targets.root)
    except SchedtuiError as error:
        problems.append(error)
    left = remains(targets)
    if left:
        said = "\n".join(filter(None, (each.details for each in problems)))
        raise SetupFailed(f"Not everything could be taken away: {', '.join(left)}.", "Remove these by hand.", said)
    return found


def _paths(targets: Targets) -> list[Path]:
    """Whatever setup or a running helper may have put anywhere."""
    units = [targets.units / name for name in UNITS]
    wanted = [targets.wanted / name for name in WATCHED]
    actions = [folder / f"{ACTIONS}.policy" for folder in targets.actions]
    sessions = [targets.under(each) for each in session.PLACES]
    files = [*units, *actions, targets.config]
    parts = [part_of(path, which) for path in files for which in ("new", "old")]
    return [*wanted, *files, *parts, targets.config.parent, targets.home, targets.state, targets.run, *sessions]


def _remove_unused(folder: Path) -> None:
    """What our units made for external schedulers, and those left there; not while one that others started uses it."""
    with contextlib.suppress(OSError):
        for each in [*folder.glob("*/*"), *folder.glob("*")]:
            if each.is_socket() and not answers(each):
                each.unlink()
            elif each.is_dir() and not each.is_symlink():
                each.rmdir()
        folder.rmdir()


def _remove(path: Path) -> None:
    with contextlib.suppress(FileNotFoundError):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink()
