"""Running the helper without installing it: a copy that only root can change, started for a session, gone with it.

The copy cannot always lie in /run, because some distributions (Debian, Ubuntu) run nothing from there; then it lies in
a folder of its own below /var/lib. What starts and ends the helper is ``keep``, from the copy.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

from schedtui.backend.errors import NotPermitted, SetupFailed
from schedtui.backend.machine import Progress
from schedtui.backend.setup import copying, keep, system
from schedtui.backend.setup.interpreter import FLAGS, find_interpreter
from schedtui.backend.setup.machine import Preparer
from schedtui.backend.setup.state import answers
from schedtui.backend.setup.targets import USER, Targets
from schedtui.backend.setup.trust import changeable

PLACES = ("/run/schedtui-session", "/var/lib/schedtui-session")
_ENDS_WITHIN_S = 15.0


def start(targets: Targets, uids: tuple[int, ...], until: int, progress: Progress) -> subprocess.Popen[str]:
    """Copy, start, and wait until the helper answers; returns its keeper, which ends with the process ``until``.

    ``uids`` may use it. Raises NotPermitted, SetupFailed, MissingTool; then nothing of it is left.
    """
    if answers(targets.socket):
        raise NotPermitted("A helper runs already.", "Start schedtui; it finds it by itself.")
    began = time.monotonic()

    def say(words: str, _seconds: float = 0.0) -> None:
        progress(words, time.monotonic() - began)

    home, state = _folders(targets)
    session = Targets(root=targets.root, home_folder=home, state_folder=state)
    place = session.home
    end(targets)
    before = os.umask(0o022)
    try:
        say("copying schedtui to where only root can write")
        python = find_interpreter()
        contents = copying.read_files(copying.wanted_files(python), session.state)
        place.mkdir(mode=0o755)
        copying.write_copy(place / "copy", place / "copy", contents, python)
        session.current.symlink_to("copy")
        user = USER if system.has_user(USER, targets.root) else "nobody"
        for folder, mode in ((session.state, 0o711), (session.prepared, 0o755), (session.verify, 0o700)):
            folder.mkdir(mode=mode)
        os.chown(session.verify, *system.ids_of(user, targets.root))
        Preparer(session, python.path, user).compile(say, kernel=False)
        say("starting the helper")
        return _started(session, python.path, uids, until)
    except BaseException as error:
        shutil.rmtree(place, ignore_errors=True)
        if isinstance(error, OSError):
            raise SetupFailed(
                f"The helper could not be started: {error.strerror}. Nothing of it is left.", "Free some space."
            ) from error
        raise
    finally:
        os.umask(before)


def end(targets: Targets) -> None:
    """End a session's helper, if there is one, and take away whatever a killed one left."""
    for each in PLACES:
        place = targets.under(each)
        with contextlib.suppress(OSError, ValueError):
            pid = int((place / keep.PID_FILE).read_text())
            keeper = os.pidfd_open(pid)
            if str(place).encode() in Path(f"/proc/{pid}/cmdline").read_bytes():  # and not a later one of that number
                signal.pidfd_send_signal(keeper, signal.SIGTERM)
                _wait_until_gone(place)
            os.close(keeper)
        shutil.rmtree(place, ignore_errors=True)


def _wait_until_gone(place: Path) -> None:
    deadline = time.monotonic() + _ENDS_WITHIN_S
    while place.exists() and time.monotonic() < deadline:
        time.sleep(0.02)


def _folders(targets: Targets) -> tuple[str, str]:
    """Of the copy, and of what the helper keeps: where root alone can write, and programs can be run from."""
    for each in PLACES:
        parent = targets.under(each).parent
        if parent.is_dir() and not changeable(parent) and not os.statvfs(parent).f_flag & os.ST_NOEXEC:
            return each, f"{each}/state"
    raise NotPermitted(
        "There is no folder here that only root can change and that programs can be run from.",
        f"Give /var/lib to root alone. {changeable(targets.under(PLACES[-1]).parent)}".rstrip(),
    )


def _started(session: Targets, python: Path, uids: tuple[int, ...], until: int) -> subprocess.Popen[str]:
    launcher = [str(python), FLAGS, str(session.current.resolve() / copying.LAUNCHER)]
    options = ["--place", str(session.home), "--socket", str(session.socket), "--until", str(until)]
    helper = [*launcher, "helper", *(f"--allow={uid}" for uid in uids)]
    keeper = subprocess.Popen(
        [*launcher, "keep", *options, "--", *helper],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={},
        cwd="/",
        start_new_session=True,
    )
    assert keeper.stdout
    said = ""
    try:
        said = keeper.stdout.readline().strip()
    finally:
        if said != keep.READY:
            keeper.terminate()
            keeper.wait(_ENDS_WITHIN_S)
    if said != keep.READY:
        raise SetupFailed("The helper did not start.", "Please report this.", said)
    return keeper
