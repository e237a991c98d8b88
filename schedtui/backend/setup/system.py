"""What setup asks of the system's own tools: users and groups, and systemd. Says what they said when they fail."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from schedtui.backend.errors import MissingTool, SetupFailed
from schedtui.backend.setup.launch import PATH

SYSTEMD_RUNS = Path("/run/systemd/system")
"""There exactly when systemd is the init. Source: sd_booted(3)."""
_LIMIT_S = 60
_ON_THIS_COMPUTER = Path("/")


def has_user(name: str, root: Path) -> bool:
    """Whether there is such a user."""
    return _line_of("passwd", name, root) is not None


def has_group(name: str, root: Path) -> bool:
    """Whether there is such a group."""
    return _line_of("group", name, root) is not None


def ids_of(name: str, root: Path) -> tuple[int, int]:
    """Numbers of a user and its group. Raises SetupFailed when there is none."""
    line = _line_of("passwd", name, root)
    if line is None:
        raise SetupFailed(f"The user {name} could not be created.", f"useradd --system {name}, then run setup again.")
    return int(line[2]), int(line[3])


def group_id(name: str, root: Path) -> int | None:
    """Number of a group; None when there is none."""
    line = _line_of("group", name, root)
    return int(line[2]) if line else None


def add_user(name: str, root: Path) -> None:
    """A system user and group of that name, that nobody can log in as. Raises MissingTool, SetupFailed."""
    options = ["--system", "--user-group", "--no-create-home", "--home-dir", "/nonexistent"]
    _run(_tool("useradd"), *_prefix(root), *options, "--shell", "/usr/sbin/nologin", name)


def remove_user(name: str, root: Path) -> None:
    """The user and its group, which some distributions leave behind."""
    if has_user(name, root):
        _run(_tool("userdel"), *_prefix(root), name)
    if has_group(name, root):
        _run(_tool("groupdel"), *_prefix(root), name)


def boots_with_systemd(root: Path) -> bool:
    """Whether systemd runs this computer, and ``root`` is it."""
    return root == _ON_THIS_COMPUTER and SYSTEMD_RUNS.is_dir()


def reload(*, tolerant: bool = False) -> None:
    """Make systemd read its units again."""
    _run(_tool("systemctl"), "daemon-reload", tolerant=tolerant)


def start(watched: tuple[str, ...], restart: tuple[str, ...]) -> None:
    """Listen from now on; what runs already is started anew."""
    _run(_tool("systemctl"), "restart", *watched)
    _run(_tool("systemctl"), "try-restart", *restart)


def stop(units: tuple[str, ...]) -> None:
    """End them now; one that is not there does not matter."""
    for each in units:
        _run(_tool("systemctl"), "stop", each, tolerant=True)


def _line_of(table: str, name: str, root: Path) -> list[str] | None:
    """From the file, and from wherever else the computer keeps its users when ``root`` is it."""
    try:
        lines = (root / "etc" / table).read_text(encoding="utf-8", errors="replace").splitlines()
    except FileNotFoundError:
        lines = []
    for line in lines:
        fields = line.split(":")
        if fields[0] == name and len(fields) > 3:
            return fields
    return None


def _prefix(root: Path) -> list[str]:
    return [] if root == _ON_THIS_COMPUTER else ["--prefix", str(root)]


def _tool(name: str) -> str:
    found = shutil.which(name, path=PATH)
    if found is None:
        raise MissingTool(
            f"{name} is not installed; setup needs it.",
            "Without it, the helper can run for a session: schedtui setup --for-now",
        )
    return found


def _run(*command: str, tolerant: bool = False) -> None:
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, stdin=subprocess.DEVNULL, env={"PATH": PATH}, timeout=_LIMIT_S
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        if tolerant:
            return
        raise SetupFailed(f"{command[0]} did not answer.", "Try again.", str(error)) from error
    if done.returncode != 0 and not tolerant:
        raise SetupFailed(f"“{' '.join(command)}” failed.", "", done.stderr or done.stdout)
