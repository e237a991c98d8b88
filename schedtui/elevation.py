"""Starts the privileged helper for this session: hands the terminal to sudo (or its like) for the password, and back.

What is run as root is ``schedtui setup --for-now``; the helper that it starts ends with this process.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import subprocess
from typing import TYPE_CHECKING, Any, NamedTuple

from textual.app import App, SuspendNotSupported

if TYPE_CHECKING:
    from collections.abc import Iterator

    from schedtui.backend.model import MachineInfo

KEY = ("H", "Start the helper")


class Handover(NamedTuple):
    """How it went; ``text`` is for the person."""

    started: bool
    text: str


def lacks_helper(info: MachineInfo | None) -> bool:
    """Whether the helper is what this machine lacks to change its scheduler."""
    return info is not None and info.kind == "host" and info.sched_ext and not info.can_load


def start_helper(app: App[Any]) -> Handover:
    """Hand the terminal over until the helper runs, or was refused. Blocks the screens meanwhile."""
    from schedtui.backend.setup.state import state
    from schedtui.backend.setup.sudo import setup_command

    found = state()
    if found.installed or found.running or found.unfinished:
        return Handover(False, f"The helper: {found.text}." + (f"\n\n{found.command}" if found.command else ""))
    command = setup_command("--for-now", "--until", str(os.getpid()))
    try:
        with app.suspend(), _uninterrupted():
            print("schedtui starts its helper as root, until you leave schedtui. Nothing is installed.", flush=True)
            code = subprocess.run(command, check=False).returncode
            if code:
                with contextlib.suppress(EOFError, KeyboardInterrupt):
                    input("It was not started. Enter goes back to schedtui. ")
    except SuspendNotSupported:
        return Handover(False, f"This terminal cannot be handed over. Run it in another one:\n\n{shlex.join(command)}")
    except OSError as error:
        return Handover(False, f"{command[0]} cannot be run: {error.strerror}.")
    return Handover(code == 0, "The helper runs until you leave schedtui." if code == 0 else "It was not started.")


@contextlib.contextmanager
def _uninterrupted() -> Iterator[None]:
    """Ctrl-C at the password is for sudo; the terminal sends it to this program too, whose loop must not hear of it."""
    before = signal.set_wakeup_fd(-1)
    try:
        yield
    finally:
        signal.set_wakeup_fd(before)
