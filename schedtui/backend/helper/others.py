"""The other programs of a computer that start schedulers: scx.service and scx_loader.

What they run, taking over from them (they are stopped, and what they ran is remembered), giving back (they are started
again as they were), and stopping them for a panic, because they would bring a scheduler back. What they are to start
with the computer is permanent.py's. Through ``systemctl`` and ``busctl``; runs as root.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec

from schedtui.backend.errors import NotPermitted, SchedtuiError
from schedtui.backend.model import Other, OtherName, Owner, TakenOver
from schedtui.backend.probes.owner import command_of, program_of_loader
from schedtui.backend.probes.scx_loader import MODES, Bus, Loader, run_tool

ROOT = Path("/")
UNITS: dict[OtherName, str] = {"scx.service": "scx.service", "scx_loader": "scx_loader.service"}
_SETTLE_S = 5.0
_POLL_S = 0.05
_SYSTEMCTL_S = 20.0
_PANIC_S = 4.0


class Others:
    """scx.service and scx_loader of this computer.

    ``state`` is a folder that outlives the helper; ``scope`` is given to systemctl (``--user`` for a manager of one's
    own).
    """

    def __init__(self, state: Path, *, root: Path = ROOT, bus: Bus | None = None, scope: Sequence[str] = ()) -> None:
        self._file = state / "taken-over.json"
        self._root = root
        self._bus = bus or Bus()
        self._scope = tuple(scope)

    def look(self) -> tuple[Other, ...]:
        """Those that are installed or run, as they are now."""
        units = self._units()
        found = (self._service(units.get("scx.service", {})), self._loader(units.get("scx_loader.service", {})))
        return tuple(each for each in found if each)

    def taken(self) -> tuple[TakenOver, ...]:
        """What was stopped and not given back yet, oldest first."""
        try:
            return msgspec.json.decode(self._file.read_bytes(), type=tuple[TakenOver, ...])
        except (OSError, msgspec.DecodeError, UnicodeDecodeError):
            return ()

    def take_over(self) -> tuple[TakenOver, ...]:
        """Stop those that are active; what they ran is written down first.

        Raises NotPermitted when there is none, SchedtuiError when one does not stop.
        """
        active = [each for each in self.look() if each.active and each.pid]
        if not active:
            raise NotPermitted("Neither scx.service nor scx_loader runs a scheduler: there is nothing to take over.")
        return self._stop_all(active)

    def give_back(self) -> tuple[str, ...]:
        """Start what was stopped, as it was; a sentence for each. What cannot be started stays remembered.

        Raises NotPermitted when nothing was taken over, SchedtuiError when none could be started.
        """
        taken = self.taken()
        if not taken:
            raise NotPermitted("Nothing was taken over from scx.service or scx_loader.")
        told: list[str] = []
        left: list[TakenOver] = []
        failed: SchedtuiError | None = None
        for each in taken:
            try:
                told.append(self._start(each))
            except SchedtuiError as error:
                failed = error
                left.append(each)
        self._remember(left)
        if failed and not told:
            raise failed
        return (*told, *([f"{left[0].name} could not be started: {failed.message}"] if failed else ()))

    def stop_restarters(self) -> list[str]:
        """For a panic: stop whatever would bring a scheduler back. What was stopped, in words; never raises.

        What cannot be stopped is named with its reason.
        """
        told = []
        try:
            active = [each for each in self.look() if each.active]
        except SchedtuiError as error:
            return [f"scx.service and scx_loader could not be looked at: {error.message}"]
        for each in active:
            try:
                self._stop_all([each], limit_s=_PANIC_S, wholly=True)
                told.append(f"{each.name} was stopped")
            except (SchedtuiError, OSError) as error:
                told.append(f"{each.name} could not be stopped: {error}")
        return told

    def _stop_all(
        self, active: Sequence[Other], *, limit_s: float = _SYSTEMCTL_S, wholly: bool = False
    ) -> tuple[TakenOver, ...]:
        """``wholly``: scx_loader itself too, not only what it runs, because it starts again what ends."""
        before = [each for each in self.taken() if each.name not in [other.name for other in active]]
        stopped: list[TakenOver] = []
        for other in active:
            with_unit = other.unit_active and (wholly or other.name == "scx.service")
            taken = TakenOver(
                name=other.name,
                runs=other.runs,
                mode=other.mode,
                arguments=other.arguments,
                unit_stopped=with_unit,
                at=time.time(),
            )
            self._remember([*before, *stopped, taken])  # before it is done, so that nothing is lost in between
            try:
                self._stop(other, with_unit, limit_s)
            except SchedtuiError:
                self._remember([*before, *stopped])
                raise
            stopped.append(taken)
        return tuple(stopped)

    def _stop(self, other: Other, with_unit: bool, limit_s: float) -> None:
        if not with_unit:
            self._bus.call("StopScheduler", limit_s=limit_s)
            self._wait_until_ended(other)
            return
        self._systemctl("stop", UNITS[other.name], limit_s=limit_s)

    def _wait_until_ended(self, other: Other) -> None:
        """scx_loader answers before its scheduler has ended."""
        limit = time.monotonic() + _SETTLE_S
        while other.pid and command_of(other.pid, self._root):
            if time.monotonic() > limit:
                raise SchedtuiError(f"scx_loader was told to stop {other.runs}; it still runs {_SETTLE_S:g} s later.")
            time.sleep(_POLL_S)

    def _start(self, taken: TakenOver) -> str:
        if taken.name == "scx.service":
            return self._start_service(taken)
        if taken.unit_stopped:
            self._systemctl("start", UNITS[taken.name])
        now = self._loader_that_answers()
        if not taken.runs:
            return "scx_loader runs again"
        if (now.scheduler, now.mode, now.arguments) != (taken.runs, taken.mode, taken.arguments):
            # Not Start…: scx_loader refuses it after a scheduler that ended by itself.
            if taken.arguments:
                count = str(len(taken.arguments))
                self._bus.call("SwitchSchedulerWithArgs", "sas", taken.runs, count, *taken.arguments)
            else:
                mode = MODES.index(taken.mode) if taken.mode in MODES else 0
                self._bus.call("SwitchScheduler", "su", taken.runs, str(mode))
        return f"scx_loader runs {taken.what} again"

    def _start_service(self, taken: TakenOver) -> str:
        self._systemctl("start", "scx.service")
        now = self._service(self._units().get("scx.service", {}))
        if now is None or not now.runs or (now.runs, now.arguments) == (taken.runs, taken.arguments):
            return f"scx.service runs {taken.what} again"
        return f"scx.service runs {now.what} now; its settings were changed meanwhile, before it ran {taken.what}"

    def _loader_that_answers(self) -> Loader:
        limit = time.monotonic() + _SETTLE_S
        while (now := self._bus.loader()) is None:
            if time.monotonic() > limit:
                raise SchedtuiError(
                    "scx_loader does not answer on the D-Bus, so it cannot be told what to run.",
                    "Start it (sudo systemctl start scx_loader), then give back again.",
                )
            time.sleep(_POLL_S)
        return now

    def _service(self, unit: dict[str, str]) -> Other | None:
        if unit.get("LoadState") in (None, "not-found"):
            return None
        active = unit.get("ActiveState") in ("active", "activating", "reloading")
        pid = int(unit.get("MainPID") or 0)
        command = command_of(pid, self._root) if active and pid else []
        return Other(
            name="scx.service",
            active=active,
            unit_active=active,
            at_boot=unit.get("UnitFileState") == "enabled",
            runs=Path(command[0]).name if command else "",
            arguments=tuple(command[1:]),
            pid=pid,
        )

    def _loader(self, unit: dict[str, str]) -> Other | None:
        said = self._bus.loader()
        if said is None and unit.get("LoadState") in (None, "not-found"):
            return None
        unit_active = unit.get("ActiveState") in ("active", "activating", "reloading")
        now = said or Loader()
        return Other(
            name="scx_loader",
            active=said is not None or unit_active,
            unit_active=unit_active,
            at_boot=unit.get("UnitFileState") == "enabled",
            runs=now.scheduler,
            mode=now.mode,
            arguments=now.arguments,
            pid=program_of_loader(now.scheduler, self._root) if now.scheduler else 0,
        )

    def _units(self) -> dict[str, dict[str, str]]:
        """By unit: its properties. Empty where systemd does not run."""
        if not self._scope and not (self._root / "run/systemd/system").exists():
            return {}
        wanted = ",".join(("Id", "LoadState", "ActiveState", "UnitFileState", "MainPID"))
        text = self._systemctl("show", f"--property={wanted}", *UNITS.values(), limit_s=_PANIC_S)
        units = {}
        for block in text.split("\n\n"):
            unit = dict(line.partition("=")[::2] for line in block.splitlines())
            units[unit.get("Id", "")] = unit
        return units

    def _systemctl(self, *arguments: str, limit_s: float = _SYSTEMCTL_S) -> str:
        return run_tool("systemctl", (*self._scope, "--no-ask-password", "--no-pager", *arguments), limit_s)

    def _remember(self, taken: Sequence[TakenOver]) -> None:
        """Raises SchedtuiError when it cannot be written: then nothing is stopped."""
        draft = self._file.with_suffix(".new")
        try:
            draft.write_bytes(msgspec.json.encode(taken))
            draft.replace(self._file)
        except OSError as error:
            with contextlib.suppress(OSError):
                draft.unlink()
            raise SchedtuiError(
                f"What is taken over cannot be written down ({error.strerror}), so it was not done.",
                f"Make room in {self._file.parent}.",
            ) from error


def in_its_mode(owner: Owner, others: Sequence[Other]) -> Owner:
    """The owner, in words that also say which mode scx_loader is in."""
    mode = next((each.mode for each in others if each.name == "scx_loader"), "")
    if owner.kind != "scx_loader" or not mode:
        return owner
    return msgspec.structs.replace(owner, words=f"scx_loader in {mode} mode")
