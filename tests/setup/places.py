"""A computer's root folder to install into, and the real ``schedtui setup`` run on it."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from schedtui.backend.setup.targets import Targets

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can install what only root can change")
PEOPLE = 1000
"""The number of the user who is to use the helper; it need not exist."""


@contextlib.contextmanager
def fresh_root() -> Iterator[Targets]:
    """Where only root can write, as on a real computer: below /tmp that is not so everywhere."""
    with tempfile.TemporaryDirectory(prefix="schedtui-test-", dir="/var/lib") as name:
        root = Path(name)
        root.chmod(0o755)
        for each in ("etc/systemd/system", "usr/local/lib", "usr/share/polkit-1/actions", "var/lib", "run"):
            (root / each).mkdir(parents=True)
        for each in ("passwd", "group"):
            shutil.copy(f"/etc/{each}", root / "etc")
        yield Targets(root=root)


def command(targets: Targets, *arguments: str) -> list[str]:
    """``schedtui setup`` for this root."""
    return [sys.executable, "-I", "-m", "schedtui", "setup", "--root", str(targets.root), *arguments]


def setup(targets: Targets, *arguments: str, code: int = 0) -> Any:
    """Run it for the user with number PEOPLE; returns its JSON."""
    done = subprocess.run(
        command(targets, "--json", *arguments),
        env={**os.environ, "SUDO_UID": str(PEOPLE)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return json.loads(done.stdout)


def installed(targets: Targets) -> Any:
    """Install without the verifying machine, which takes a minute."""
    return setup(targets, "--no-machine")


def everything(root: Path) -> dict[str, str]:
    """Each path below a folder: owner, rights, content; not what Python and useradd leave beside."""
    found = {}
    for each in sorted(root.rglob("*")):
        status = each.lstat()
        content = str(each.readlink()) if each.is_symlink() else each.read_bytes().hex() if each.is_file() else ""
        if "__pycache__" not in each.parts and not each.name.endswith("-"):
            found[str(each.relative_to(root))] = f"{status.st_uid} {status.st_mode:o} {content}"
    return found
