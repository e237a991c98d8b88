"""A copy of the kernel that runs, for the verifying machine, where the system's own image is for root alone.

Runs as root from the copy, before the helper starts: so the first start after an update of the kernel brings it along.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path

from schedtui import paths
from schedtui.backend.setup.system import group_id
from schedtui.backend.setup.targets import USER

_OTHERS_MAY_READ = 0o004


def main() -> int:
    """For the folder of the copy that it was started from; nothing to do is no failure."""
    prepared = paths.prepared_dir()
    if prepared is not None:
        copy_kernel(prepared, group_id(USER, Path("/")) or 0)
    return 0


def copy_kernel(lab: Path, group: int, *, root: Path = Path("/"), release: str = "") -> str:
    """Copy image and configuration into ``lab``, readable for ``group``; older ones go. Says what it copied, if any.

    Raises OSError when the disk is full.
    """
    release = release or os.uname().release
    place = lab / f"vmlinuz-{release}"
    for each in (root / f"boot/vmlinuz-{release}", root / f"usr/lib/modules/{release}/vmlinuz"):
        try:
            found = each.stat()
        except OSError:
            continue
        if found.st_mode & _OTHERS_MAY_READ:
            return ""  # it is read where it lies
        with contextlib.suppress(OSError):
            there = place.stat()
            if (there.st_size, there.st_mtime_ns) == (found.st_size, found.st_mtime_ns):
                return ""
        _copy(each, place, group)
        with contextlib.suppress(FileNotFoundError):
            _copy(each.with_name(each.name.replace("vmlinuz", "config", 1)), lab / f"config-{release}", group)
        for old in (*lab.glob("vmlinuz-*"), *lab.glob("config-*")):
            if not old.name.endswith(f"-{release}"):
                old.unlink(missing_ok=True)
        return str(each)
    return ""


def _copy(source: Path, place: Path, group: int) -> None:
    """Readable for the verifier and for nobody else: the system had its reason to keep it from them."""
    part = place.with_name(f".{place.name}.new")
    shutil.copy2(source, part)
    part.chmod(0o640)
    os.chown(part, 0, group)
    part.replace(place)
