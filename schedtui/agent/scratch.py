"""A folder for drafts, gone when its user is: at its end, or after a kill when the next user comes.

Each is locked for as long as its process lives, so whoever comes later sees which ones nobody uses.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
import time
from pathlib import Path
from types import TracebackType

PREFIX = "schedtui-draft-"
_YOUNG_S = 60.0
"""One that was made so recently may not be locked yet."""


class Scratch:
    """``path`` is the folder; closing it, or the end of the process, takes it away."""

    def __init__(self) -> None:
        _clear_leftovers()
        self._folder = tempfile.TemporaryDirectory(prefix=PREFIX)
        self.path = Path(self._folder.name)
        self._held = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        fcntl.flock(self._held, fcntl.LOCK_EX)  # whoever looks for leftovers holds it for a moment

    def __enter__(self) -> Path:
        return self.path

    def __exit__(self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """With all that is in it. May be called again."""
        self._folder.cleanup()
        if self._held >= 0:
            os.close(self._held)
            self._held = -1


def _clear_leftovers() -> None:
    """What killed processes of this user left behind."""
    for each in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError):  # gone meanwhile, another user's, or in use: it is left alone
            folder = os.open(each, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
                found = os.fstat(folder)
                if found.st_uid == os.getuid() and time.time() - found.st_mtime > _YOUNG_S:
                    shutil.rmtree(each, ignore_errors=True)
            finally:
                os.close(folder)
