"""Which Python the helper runs with: one that only root can change, and for which there is a msgspec."""

from __future__ import annotations

import os
import pwd
import subprocess
import sys
from pathlib import Path

import msgspec
from msgspec import Struct

from schedtui.backend.errors import MissingTool, NotPermitted
from schedtui.backend.setup.trust import changeable, changeable_tree

OLDEST = (3, 11)
FLAGS = "-ISB"
"""No variables, no start-up files, no folder of a user's, nothing written beside the sources."""
_LIMIT_S = 30
_FOLDERS = (Path("/usr/bin"), Path("/usr/local/bin"), Path("/bin"))
_ASK = "import sys, os; print(*sys.version_info[:2], os.path.dirname(os.__file__))"
_SAY = "import sys; sys.path.append(sys.argv[1]); import msgspec; print(msgspec.json.encode([1]).decode())"


class Interpreter(Struct, frozen=True):
    """A Python that only root can change, and a folder with a msgspec that works in it."""

    path: Path
    version: str
    msgspec: Path


def find_interpreter() -> Interpreter:
    """The one that fits. Raises MissingTool when none is there, NotPermitted when somebody but root could change it."""
    refused: list[str] = []
    unfit: list[str] = []
    for path in _candidates():
        why = changeable(path)
        if why:
            refused.append(why)
            continue
        answer = _said([str(path), FLAGS, "-c", _ASK]).split()
        if len(answer) != 3 or (int(answer[0]), int(answer[1])) < OLDEST:
            continue
        version, library = f"{answer[0]}.{answer[1]}", Path(answer[2])
        why = changeable_tree(library)
        if why:
            refused.append(why)
            continue
        for package in _msgspecs(library):
            if _said([str(path), FLAGS, "-c", _SAY, str(package.parent)]).strip() == "[1]":
                return Interpreter(path, version, package)
        unfit.append(version)
    if refused and not unfit:
        raise NotPermitted(
            f"No Python here is safe to run as root. {refused[0]}",
            "Give it to root alone (chown root:root and chmod go-w), then run setup again.",
            "\n".join(refused),
        )
    ours = f"{sys.version_info.major}.{sys.version_info.minor}"
    if not unfit:
        raise MissingTool(
            "The helper needs a Python 3.11 or newer that belongs to root, such as /usr/bin/python3; there is none.",
            "Install your distribution's python3, then run setup again.",
        )
    raise MissingTool(
        f"schedtui runs with Python {ours}, and the Python that belongs to root is {unfit[0]}: "
        "the msgspec library of the one does not work in the other.",
        f"Install schedtui with Python {unfit[0]} (pipx install --python /usr/bin/python{unfit[0]} schedtui), "
        "or the package python3-msgspec of your distribution, then run setup again.",
    )


def _candidates() -> list[Path]:
    """Our own interpreter first, then the same version of the system's, then whatever it has; none in a home folder."""
    ours = f"python{sys.version_info.major}.{sys.version_info.minor}"
    named = [Path(sys.executable), *(folder / name for name in (ours, "python3") for folder in _FOLDERS)]
    # What a name like python3 leads to: an update of the distribution gives the name to another version.
    real = dict.fromkeys(each.resolve() for each in named if os.access(each, os.X_OK))
    homes = _homes()
    return [each for each in real if not any(each.is_relative_to(home) for home in homes)]


def _homes() -> list[Path]:
    """Where people's files lie, and root's own: no unit may point there."""
    people = [Path(each.pw_dir) for each in pwd.getpwall() if each.pw_uid == 0 or 1000 <= each.pw_uid < 60000]
    return [Path("/home"), Path("/root"), *(each for each in people if len(each.parts) > 2 or each == Path("/root"))]


def _msgspecs(library: Path) -> list[Path]:
    """The one that we run with, then the distribution's own."""
    folders = [library / "site-packages", Path("/usr/lib/python3/dist-packages")]
    own = [each / "msgspec" for each in folders if (each / "msgspec").is_dir()]
    return [Path(str(msgspec.__file__)).parent, *own]


def _said(command: list[str]) -> str:
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, stdin=subprocess.DEVNULL, env={}, cwd="/", timeout=_LIMIT_S
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout if done.returncode == 0 else ""
