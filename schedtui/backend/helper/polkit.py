"""The desktop's question before code that is not of the helper's own library runs here for the first time.

polkit asks the person with the desktop's own dialog, through its program ``pkcheck``; this module only waits for the
answer. It is remembered for the object, whichever its settings. Runs as root: the standard library only.
"""

from __future__ import annotations

import contextlib
import os
import re
import select
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from schedtui.backend.errors import Interrupted, NotPermitted

ACTION = "org.schedtui.load-generated"
ANY_ROOT_WORK = "org.freedesktop.policykit.exec"
"""polkit's own action, of pkexec: asked for where ours is not registered, because nothing was installed."""
PKCHECK = Path("/usr/bin/pkcheck")
ANSWER_WITHIN_S = 180.0
MOST_REMEMBERED = 512
_LOOK_S = 0.2
_SAID_BYTES = 4096
_YES, _NO, _NOBODY_TO_ASK, _DISMISSED = 0, 1, 2, 3
"""How pkcheck exits. Source: pkcheck(1)."""
_AS_ROOT = "Or do it as root: sudo schedtui apply NAME."
_SETUP = f"Install polkit, then run: sudo schedtui setup. {_AS_ROOT}"
_NAME = re.compile(r"[^\w .-]", re.ASCII)


class Asker(NamedTuple):
    """Who wants it loaded: a connection's other end, as the kernel vouches for it."""

    pid: int
    uid: int


class Permissions:
    """Whom was asked, and said yes. Only root can write the folder."""

    def __init__(self, state: Path, pkcheck: Path = PKCHECK) -> None:
        self._folder = state / "permitted"
        self._pkcheck = pkcheck

    def check_possible(self, digest: str, asker: Asker) -> None:
        """Raises NotPermitted when nobody could be asked, before anything takes its time."""
        if not self.remembered(digest) and asker.uid != 0:
            _check_program(self._pkcheck)

    def need(self, digest: str, name: str, asker: Asker, gone: Callable[[], bool]) -> None:
        """Return when a person has permitted this object, now or before.

        ``gone`` says when nobody waits for the answer any more. Raises NotPermitted, and Interrupted when ``gone``.
        """
        if self.remembered(digest) or asker.uid == 0:
            return
        ask(self._pkcheck, name, asker, gone)
        self._remember(digest)

    def remembered(self, digest: str) -> bool:
        """Whether somebody permitted it before."""
        return re.fullmatch(r"[0-9a-f]{64}", digest) is not None and (self._folder / digest).is_file()

    def _remember(self, digest: str) -> None:
        with contextlib.suppress(OSError):  # then it is asked again
            self._folder.mkdir(mode=0o700, exist_ok=True)
            (self._folder / digest).touch(mode=0o600)
            known = sorted(self._folder.iterdir(), key=lambda each: each.stat().st_mtime, reverse=True)
            for old in known[MOST_REMEMBERED:]:
                old.unlink(missing_ok=True)


def ask(pkcheck: Path, name: str, asker: Asker, gone: Callable[[], bool]) -> None:
    """Have the desktop ask the person. Raises NotPermitted unless they said yes, Interrupted when ``gone``."""
    code, reason = _asked(pkcheck, ACTION, name, asker, gone)
    if code not in (_YES, _NO, _NOBODY_TO_ASK, _DISMISSED) and "not registered" in reason:
        code, reason = _asked(pkcheck, ANY_ROOT_WORK, name, asker, gone)
    _judge(code, name, reason)


def _asked(pkcheck: Path, action: str, name: str, asker: Asker, gone: Callable[[], bool]) -> tuple[int, str]:
    """How pkcheck exited, and the last line that it said."""
    started = _started(asker)
    _check_program(pkcheck)
    shown = _NAME.sub("", name)[:64]
    command = [
        str(pkcheck),
        *("--action-id", action),
        *("--process", f"{asker.pid},{started},{asker.uid}"),
        *("--detail", "policy", shown),
        *("--detail", "program", f"the CPU scheduler {shown}"),
        "--allow-user-interaction",
    ]
    said, said_end = os.pipe()
    with os.fdopen(said, "rb") as words:
        try:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=said_end, env={}, cwd="/"
            )
        except OSError as error:
            raise NotPermitted(f"{pkcheck} cannot be started: {error.strerror}.", _SETUP) from error
        finally:
            os.close(said_end)
        try:
            _wait(process, gone)
        finally:
            process.kill()
            process.wait()
        os.set_blocking(words.fileno(), False)
        reason = (words.read(_SAID_BYTES) or b"").decode("utf-8", "replace").strip().rpartition("\n")[2]
    return process.returncode, reason


def _judge(code: int, name: str, reason: str) -> None:
    if code == _YES:
        return
    if code == _DISMISSED:
        raise NotPermitted(f"{name} was not loaded: the question was dismissed.", "Try again, and answer it.")
    if code == _NO:
        raise NotPermitted(f"{name} was not loaded: you did not, or may not, permit it.", _AS_ROOT)
    if code == _NOBODY_TO_ASK:
        raise NotPermitted(
            f"{name} was not loaded: code that is new here needs your permission, and no desktop can ask you for it.",
            f"Start schedtui from your desktop's own session, where polkit has a dialog. {_AS_ROOT}",
        )
    raise NotPermitted(f"{name} was not loaded: polkit could not ask for permission ({reason or code}).", _SETUP)


def _started(asker: Asker) -> int:
    """When the asking process began, in clock ticks since boot, so that no other is taken for it. Raises NotPermitted.

    Source: proc(5), /proc/pid/stat, field 22; /proc/pid/status.
    """
    process = Path(f"/proc/{asker.pid}")
    try:
        started = int((process / "stat").read_bytes().rpartition(b")")[2].split()[19])
        users = next(line for line in (process / "status").read_text().splitlines() if line.startswith("Uid:"))
    except (OSError, ValueError, IndexError, StopIteration):
        raise NotPermitted("The program that asked has ended.", "Start it again.") from None
    if set(users.split()[1:]) != {str(asker.uid)}:
        raise NotPermitted("The program that asked is not its user's any more.", "Connect anew.")
    return started


def _check_program(pkcheck: Path) -> None:
    try:
        found = pkcheck.stat()
    except OSError:
        raise NotPermitted(
            "Code that is new here needs your permission, and polkit, which would ask you for it, is not installed.",
            _SETUP,
        ) from None
    if found.st_uid != 0 or found.st_mode & 0o022:
        raise NotPermitted(f"{pkcheck} is not asked: others than root can change it.", "Install polkit again.")


def _wait(process: subprocess.Popen[bytes], gone: Callable[[], bool]) -> None:
    deadline = time.monotonic() + ANSWER_WITHIN_S
    pidfd = os.pidfd_open(process.pid)
    try:
        while not select.select([pidfd], [], [], _LOOK_S)[0]:
            if gone():
                raise Interrupted("Nobody waits for the permission any more.")
            if time.monotonic() > deadline:
                raise NotPermitted(f"Nobody answered within {ANSWER_WITHIN_S / 60:.0f} minutes.", "Try again.")
    finally:
        os.close(pidfd)
    process.wait()
