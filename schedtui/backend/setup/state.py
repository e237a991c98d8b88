"""What there is of the helper on this computer, and the one command that brings it. Reads only; needs no privileges."""

from __future__ import annotations

import os
import socket
import stat
from pathlib import Path
from typing import Literal

from msgspec import Struct

import schedtui
from schedtui.backend.setup import system
from schedtui.backend.setup.sudo import admin_command, program
from schedtui.backend.setup.targets import USER, WATCHED, Targets

Way = Literal["systemd", "session", "none"]


class HelperState(Struct, frozen=True, kw_only=True):
    """What there is, and what to do."""

    installed: bool
    """All of it: the copy, the units, the user."""
    unfinished: bool
    """A setup was killed; running it again, or --remove, puts that right."""
    version: str
    """Of the installed copy; empty without one."""
    same_version: bool
    """It is made of the schedtui that asks."""
    running: bool
    """Something accepts connections at the helper's socket, and root put it there."""
    for_session: bool
    """What runs is no installed one: it ends with the schedtui or the shell that it was started for."""
    way: Way
    """What works best here: installed with systemd, started for a session, or nothing (watching only)."""
    text: str
    """One sentence."""
    command: str
    """The one command that makes it right; empty when it is."""
    changes: str
    """What that command changes, in a sentence."""


def state(targets: Targets | None = None) -> HelperState:
    """Look at everything once; a few milliseconds."""
    targets = targets or Targets()
    version = _version(targets)
    whole = version != "" and _is_whole(targets)
    unfinished = os.path.lexists(targets.unfinished)
    same = version.rpartition("-")[0] == schedtui.__version__
    running = answers(targets.socket)
    way: Way = "systemd" if system.SYSTEMD_RUNS.is_dir() else "session" if admin_command() else "none"
    text, command, changes = _advice(version, whole, unfinished, same, running, way)
    return HelperState(
        installed=whole,
        unfinished=unfinished,
        version=version,
        same_version=whole and same,
        running=running,
        for_session=running and not whole,
        way=way,
        text=text,
        command=command,
        changes=changes,
    )


_INSTALLS = (
    "copies schedtui to /usr/local/lib/schedtui, adds the user schedtui-verify, /etc/schedtui, /var/lib/schedtui, two "
    "systemd sockets and a polkit action; schedtui setup --remove takes all of it away"
)
_FOR_NOW = "runs a copy that only root can change until schedtui ends, and leaves nothing behind"


def _advice(version: str, whole: bool, unfinished: bool, same: bool, running: bool, way: Way) -> tuple[str, str, str]:
    sudo, install = f"sudo {program()} setup", _INSTALLS
    if unfinished:
        return "a setup was stopped half-way", sudo, install
    if whole and not same:
        return f"installed, but of another version ({version.rpartition('-')[0]})", sudo, install
    if whole and running:
        return "installed", "", ""
    if whole:
        return "installed, but it does not answer", "sudo systemctl restart schedtui-helper.socket", "starts it again"
    if running:
        return "runs for this session", "", ""
    if version:
        return "installed, but a part of it, or the Python that it runs with, is gone", sudo, install
    if way == "systemd":
        return "not installed: this computer can be watched only", sudo, install
    if way == "session":
        why = "not running, and no systemd here that could start it: this computer can be watched only"
        return why, f"sudo {program()} setup --for-now", _FOR_NOW
    return "not running: this computer can be watched only", f"{program()} setup --for-now, as root", _FOR_NOW


def _version(targets: Targets) -> str:
    try:
        return str(targets.current.readlink())
    except OSError:
        return ""


def _is_whole(targets: Targets) -> bool:
    service = targets.units / "schedtui-helper.service"
    return (
        (targets.current / "launch.py").is_file()
        and service.is_file()
        and all((targets.wanted / each).is_symlink() for each in WATCHED)
        and _interpreter_exists(service)
        and system.has_user(USER, targets.root)
    )


def _interpreter_exists(service: Path) -> bool:
    """An update of the distribution may have taken the Python away that the units name."""
    try:
        lines = service.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return False
    started = next((each.removeprefix("ExecStart=") for each in lines if each.startswith("ExecStart=")), "")
    return bool(started) and os.access(started.split()[0], os.X_OK)


def answers(path: Path) -> bool:
    """Whether root listens there: a socket that another user made is nobody's helper."""
    try:
        found = path.stat()
        if not stat.S_ISSOCK(found.st_mode) or found.st_uid != 0:
            return False
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as link:
            link.settimeout(1.0)
            link.connect(str(path))
    except OSError:
        return False
    return True
