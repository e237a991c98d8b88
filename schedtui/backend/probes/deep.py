"""Deep dives: probes that look at every switch for some seconds, compiled by bcc when they are asked for.

What each tells, and what this computer needs for them: the distribution's bcc, and no kernel headers, because a few
lines of ours do (``bcc/headers``). The one-shot child that compiles and counts is ``deep_child``; the C text lies in
``bcc/``. The helper imports this as root: the standard library and msgspec only.
"""

from __future__ import annotations

from pathlib import Path

from msgspec import Struct

from schedtui.backend.errors import BadMessage, MissingTool, UnknownName

LONGEST_S = 60.0
SHORTEST_S = 0.1
COMPILE_LIMIT_S = 120.0
"""An emulated guest needs 7 to 30 s."""
LIMIT_S = COMPILE_LIMIT_S + 15
"""Beside the looking itself: how long a client waits for the result."""
MOST_PIDS = 4_194_304
"""The kernel's own limit, PID_MAX_LIMIT."""
_MODULES = ("/usr/lib/python3/dist-packages", "/usr/lib/python3.*/site-packages", "/usr/lib64/python3.*/site-packages")


class Deep(Struct, frozen=True, kw_only=True):
    """One program of the catalogue: what it tells, in a person's words."""

    name: str
    title: str
    histogram: str
    """What each bar counts."""
    rows: str
    """What a line of the table is."""


CATALOGUE = {
    each.name: each
    for each in (
        Deep(
            name="runqlat",
            title="How long tasks wait for a CPU",
            histogram="waits from being able to run until running",
            rows="who waited",
        ),
        Deep(
            name="offcpu",
            title="How long tasks stay away from the CPU",
            histogram="times between two turns: asleep, waiting for something, or waiting for a CPU",
            rows="who was away",
        ),
        Deep(
            name="bursts",
            title="How long tasks run at a stretch",
            histogram="turns on a CPU, from coming to leaving",
            rows="who ran",
        ),
        Deep(
            name="wakers",
            title="Who wakes whom, and how long the woken then waits",
            histogram="waits from a wake-up until running",
            rows="who woke whom",
        ),
    )
}


def entry(name: str) -> Deep:
    """A program of the catalogue. Raises UnknownName."""
    if name not in CATALOGUE:
        raise UnknownName(f"There is no probe called “{name}”.", f"There are {', '.join(CATALOGUE)}.")
    return CATALOGUE[name]


def checked_seconds(seconds: float) -> float:
    """Raises BadMessage outside SHORTEST_S to LONGEST_S."""
    if not SHORTEST_S <= seconds <= LONGEST_S:
        raise BadMessage(f"A probe looks for {SHORTEST_S:g} to {LONGEST_S:g} s, not for {seconds:g} s.")
    return seconds


def find_bcc(root: Path = Path("/")) -> Path:
    """The folder of the Python package bcc, as the distribution installed it.

    Raises MissingTool, which says what to install.
    """
    package = _package(root)
    if package is None:
        raise MissingTool("bcc is not installed.", install_command(root))
    return package


def _package(root: Path) -> Path | None:
    for pattern in _MODULES:
        for folder in sorted(root.glob(pattern.lstrip("/")), reverse=True):
            # Root will import it: nobody else may be able to change it.
            module = folder / "bcc" / "__init__.py"
            if module.is_file() and _of_root(module):
                return module.parent
    return None


def _of_root(path: Path) -> bool:
    found = path.stat()
    return found.st_uid == 0 and not found.st_mode & 0o022


def install_command(root: Path = Path("/")) -> str:
    """The one command that brings bcc on this distribution."""
    try:
        told = (root / "etc/os-release").read_text(encoding="utf-8", errors="replace")
    except OSError:
        told = ""
    fields = dict(line.partition("=")[::2] for line in told.splitlines())
    family = {word for key in ("ID", "ID_LIKE") for word in fields.get(key, "").strip("\"' ").split()}
    if family & {"debian", "ubuntu"}:
        return "sudo apt install python3-bpfcc"
    if family & {"fedora", "rhel"}:
        return "sudo dnf install python3-bcc"
    if "arch" in family:
        return "sudo pacman -S --needed python-bcc"
    return "Install bcc and its Python package with your distribution's package manager."
