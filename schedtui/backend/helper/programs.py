"""A host's external schedulers, for its helper's clients: found, checked, given their arguments, proven, and started.

A client names an entry of the library, a goal and settings, and nothing else: the entry is read from the helper's own
copy, the program is one that root alone can change, and what is hashed is what runs. Runs as root: the standard library
and msgspec only.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator
from pathlib import Path

from schedtui.backend.errors import NotProven, UnknownName
from schedtui.backend.helper import protocol
from schedtui.backend.helper.program import RunningProgram, end_left_behind, start_program
from schedtui.backend.helper.program_trust import ROOTS, Trust, trusted_program
from schedtui.backend.helper.proofs import Proofs
from schedtui.backend.helper.protocol import Body, Reply
from schedtui.backend.helper.server import Asked, Handler, Lane, Server
from schedtui.backend.helper.session import Session
from schedtui.backend.model import Program, Setting
from schedtui.backend.programs import arguments_of, read_entry


class Programs:
    """Of one helper. ``library`` is a folder that only root can write."""

    def __init__(self, library: Path, proofs: Proofs, server: Server, trust: Trust = ROOTS) -> None:
        self._library = library
        self._proofs = proofs
        self._server = server
        self._trust = trust
        end_left_behind()

    def handlers(self) -> dict[type[Body], Handler]:
        """Of the messages about external schedulers."""
        return {
            protocol.LoadProgram: Handler(Lane.IN_ORDER, self._load),
            protocol.ProveProgram: Handler(Lane.ASIDE, self._prove),
        }

    def _load(self, session: Session, asked: Asked[protocol.LoadProgram]) -> Reply:
        it = asked.body
        with opened_program(self._library, self._trust, it.name, it.goal, it.settings) as (program, _):
            if it.digest and it.digest != program.digest:
                raise _another(program)
            self._proofs.prover.may_load(program.digest, it.settings, it.token, arguments=program.arguments)
        begin = functools.partial(self._begin, program, it.settings)
        started = self._server.control.start(
            it.name, begin, program.digest, it.settings, asked.panics, it.lease_s, session
        )
        return Reply(asked.id, scheduler=started)

    def _begin(self, proven: Program, settings: dict[str, Setting], may_run: Callable[[], bool]) -> RunningProgram:
        """Opened and hashed once more, so that the descriptor that was checked is the one that runs."""
        with opened_program(self._library, self._trust, proven.name, proven.goal, settings) as (program, descriptor):
            if program.digest != proven.digest:
                raise _another(program)
            return start_program(descriptor, program.name, program.arguments, may_run=may_run)

    def _prove(self, session: Session, asked: Asked[protocol.ProveProgram]) -> Reply:
        it = asked.body
        with opened_program(self._library, self._trust, it.name, it.goal, it.settings) as (program, descriptor):
            proven = self._proofs.prover.prove_program(
                program,
                descriptor,
                it.settings,
                quick=it.quick,
                tell=lambda words: session.send(Reply(asked.id, progress=words)),
                gone=self._proofs.gone(session),
            )
        return Reply(asked.id, report=proven.report, token=proven.token)


@contextlib.contextmanager
def opened_program(
    library: Path, trust: Trust, name: str, goal: str, settings: dict[str, Setting]
) -> Iterator[tuple[Program, int]]:
    """What would be started, and its descriptor, for as long as the context lasts.

    Raises UnknownName, BadTunable, BadFile, and NotPermitted for a program that others than root could change.
    """
    entry = read_entry(library, name)
    if goal and not any(each.goal == goal for each in entry.mode):
        raise UnknownName(f"{name} has no mode for “{goal}”.", "Leave the goal out: it runs as it is by itself.")
    arguments = arguments_of(entry.mode, entry.tunable, goal, settings)
    with trusted_program(entry.binary, trust) as found:
        program = Program(name=name, path=str(found.path), sha256=found.sha256, goal=goal, arguments=arguments)
        yield program, found.descriptor


def _another(program: Program) -> NotProven:
    return NotProven(
        f"{program.path} is not the program that was looked at, or the helper's library has other arguments for it.",
        "Verify it again; if that does not help, update the helper: sudo schedtui setup",
    )
