"""What a host's helper answers about who runs what: the owner, taking over and giving back, and making it permanent."""

from __future__ import annotations

import threading
import time
from pathlib import Path

from schedtui.backend.helper import protocol
from schedtui.backend.helper.control import SchedulerControl
from schedtui.backend.helper.others import Others, in_its_mode
from schedtui.backend.helper.permanent import Permanent
from schedtui.backend.helper.protocol import Body, Reply
from schedtui.backend.helper.server import Asked, Handler, Lane
from schedtui.backend.helper.session import Session
from schedtui.backend.model import OthersStatus
from schedtui.backend.probes.scheduler import read_scheduler
from schedtui.backend.programs import arguments_of, read_entry

SCHED_EXT = Path("/sys/kernel/sched_ext")
_STARTS_WITHIN_S, _POLL_S = 8.0, 0.1
_LOADER_MODES = {
    "gaming": "gaming",
    "streaming": "gaming",
    "audio": "lowlatency",
    "battery": "powersave",
    "server": "server",
}
"""Of a goal of the library; the others have scx_loader's 'auto'."""


class Ownership:
    """``library`` is the folder whose entries tell an external scheduler's arguments."""

    def __init__(self, control: SchedulerControl, others: Others, permanent: Permanent, library: Path) -> None:
        self._control = control
        self._others = others
        self._permanent = permanent
        self._library = library
        self._turn = threading.Lock()

    def handlers(self) -> dict[type[Body], Handler]:
        """Each may take seconds: it asks systemd, or a D-Bus service."""
        return {
            protocol.GetOthers: Handler(Lane.ASIDE, self._get),
            protocol.TakeOver: Handler(Lane.ASIDE, self._take_over),
            protocol.GiveBack: Handler(Lane.ASIDE, self._give_back),
            protocol.MakePermanent: Handler(Lane.ASIDE, self._make_permanent),
            protocol.UndoPermanent: Handler(Lane.ASIDE, self._undo_permanent),
        }

    def status(self, told: tuple[str, ...] = ()) -> OthersStatus:
        """As it is now."""
        others = self._others.look()
        return OthersStatus(
            owner=in_its_mode(self._control.owner(), others),
            others=others,
            taken=self._others.taken(),
            undoable=self._permanent.undoable(),
            told=told,
        )

    def _get(self, _session: Session, asked: Asked[protocol.GetOthers]) -> Reply:
        return Reply(asked.id, others=self.status())

    def _take_over(self, _session: Session, asked: Asked[protocol.TakeOver]) -> Reply:
        with self._turn:
            stopped = self._others.take_over()
            told = tuple(f"{each.name} was stopped; it ran {each.what}" for each in stopped)
            return Reply(asked.id, others=self.status(told))

    def _give_back(self, _session: Session, asked: Asked[protocol.GiveBack]) -> Reply:
        with self._turn:
            if self._others.taken():
                self._control.unload()  # what of ours runs stands in the way of theirs
            told = self._others.give_back()
            _wait_for_a_scheduler()
            return Reply(asked.id, others=self.status(told))

    def _make_permanent(self, _session: Session, asked: Asked[protocol.MakePermanent]) -> Reply:
        it = asked.body
        entry = read_entry(self._library, it.name)
        arguments = arguments_of(entry.mode, entry.tunable, it.goal, it.settings)
        with self._turn:
            act = self._permanent.preview if it.preview else self._permanent.write
            return Reply(asked.id, permanent=act(entry.binary, _LOADER_MODES.get(it.goal, "auto"), arguments))

    def _undo_permanent(self, _session: Session, asked: Asked[protocol.UndoPermanent]) -> Reply:
        with self._turn:
            undo = self._permanent.preview_undo if asked.body.preview else self._permanent.undo
            return Reply(asked.id, permanent=undo())


def _wait_for_a_scheduler() -> None:
    """What was started again needs some seconds until the kernel runs it; it is not waited for longer."""
    limit = time.monotonic() + _STARTS_WITHIN_S
    while SCHED_EXT.is_dir() and read_scheduler().owner == "kernel" and time.monotonic() < limit:
        time.sleep(_POLL_S)
