"""What scx_loader says of itself on the system's D-Bus: which scheduler it runs, in which mode, with which arguments.

Asked through ``busctl``; never so that the bus would start it. Anybody may read; what changes it is helper/others.py's.
The interface: https://github.com/sched-ext/scx-loader, configs/org.scx.Loader.xml.
"""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

import msgspec
from msgspec import Struct

from schedtui.backend.errors import MissingTool, SchedtuiError

NAME, OBJECT = "org.scx.Loader", "/org/scx/Loader"
MODES = ("auto", "gaming", "powersave", "lowlatency", "server")
"""By the number that they have on the bus."""
_FOLDERS = ("/usr/bin", "/bin", "/run/current-system/sw/bin")
_NOTHING = ("", "unknown")
_LIMIT_S = 3.0
_ENVIRONMENT = {"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "SYSTEMD_COLORS": "0", "SYSTEMD_PAGER": ""}


class Loader(Struct, frozen=True, kw_only=True):
    """scx_loader as it is now."""

    scheduler: str = ""
    """The program that it runs, ``scx_bpfland``; empty when none."""
    mode: str = ""
    """One of MODES; empty when it was given arguments instead."""
    arguments: tuple[str, ...] = ()
    supported: tuple[str, ...] = ()
    """The programs that it knows."""


_Data = str | int | bool | list[str | bool] | None


class _Value(Struct, frozen=True):
    data: _Data = None


class Bus:
    """The system's D-Bus, or the one at ``address``."""

    def __init__(self, address: str = "") -> None:
        self._where = (f"--address={address}",) if address else ("--system",)

    def loader(self) -> Loader | None:
        """What scx_loader says; None when it does not run, or there is no bus."""
        try:
            if not self._is_there():
                return None
            scheduler, mode = self._properties("CurrentScheduler", "SchedulerMode")
            supported = self._properties("SupportedSchedulers")[0]
        except SchedtuiError:
            return None
        try:
            arguments = self._properties("CurrentSchedulerArgs")[0]
        except SchedtuiError:  # before scx_loader 1.0.20
            arguments = []
        name = scheduler if isinstance(scheduler, str) and scheduler not in _NOTHING else ""
        given = tuple(str(each) for each in arguments) if isinstance(arguments, list) else ()
        return Loader(
            scheduler=name,
            mode=_mode(mode) if name and not given else "",
            arguments=given if name else (),
            supported=tuple(map(str, supported)) if isinstance(supported, list) else (),
        )

    def call(self, method: str, signature: str = "", *arguments: str, limit_s: float = _LIMIT_S) -> None:
        """One of scx_loader's methods. Raises SchedtuiError, MissingTool."""
        self._busctl("call", NAME, OBJECT, NAME, method, *filter(None, [signature]), *arguments, limit_s=limit_s)

    def _is_there(self) -> bool:
        bus = "org.freedesktop.DBus"
        answer = self._busctl("call", bus, "/org/freedesktop/DBus", bus, "NameHasOwner", "s", NAME)
        return _decoded(answer).data == [True]

    def _properties(self, *names: str) -> list[_Data]:
        lines = self._busctl("get-property", NAME, OBJECT, NAME, *names).splitlines()
        if len(lines) != len(names):
            raise SchedtuiError("scx_loader did not answer as it should.")
        return [_decoded(line).data for line in lines]

    def _busctl(self, *arguments: str, limit_s: float = _LIMIT_S) -> str:
        options = (*self._where, "--json=short", "--auto-start=no", f"--timeout={limit_s:g}", "--")
        return run_tool("busctl", (*options, *arguments), limit_s + 1)


def run_tool(name: str, arguments: Sequence[str], limit_s: float) -> str:
    """What one of the system's own tools prints, run with an empty environment.

    Raises MissingTool when it is not there, SchedtuiError with its own words when it fails or takes longer.
    """
    path = next((each for folder in _FOLDERS if (each := Path(folder, name)).exists()), None)
    if path is None:
        raise MissingTool(f"{name} is not installed here.", "It comes with systemd.")
    try:
        done = subprocess.run(
            [path, *arguments],
            env=_ENVIRONMENT,
            cwd="/",
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=limit_s,
            check=False,
            start_new_session=True,
        )
    except subprocess.TimeoutExpired as error:
        raise SchedtuiError(f"{name} did not answer within {limit_s:g} s.") from error
    except OSError as error:
        raise SchedtuiError(f"{name} could not be run: {error.strerror}.") from error
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().rpartition("\n")[2]
        raise SchedtuiError(said or f"{name} failed ({done.returncode}).")
    return done.stdout.decode(errors="replace")


def _decoded(text: str) -> _Value:
    try:
        return msgspec.json.decode(text, type=_Value)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise SchedtuiError("The D-Bus answered something else than was asked.") from error


def _mode(number: object) -> str:
    return MODES[number] if isinstance(number, int) and 0 <= number < len(MODES) else ""
