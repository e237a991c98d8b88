"""What a host's helper asks before it loads: the handlers and the gate between its clients and ``proving``.

A helper that can prove nothing, because its key or its folder cannot be used, still watches, panics and gives back; it
says why it loads nothing. Runs as root: the standard library and msgspec only.
"""

from __future__ import annotations

from collections.abc import Callable
from weakref import WeakKeyDictionary

from schedtui.backend.errors import BadMessage, NotPermitted, SchedtuiError
from schedtui.backend.helper import jobs, protocol
from schedtui.backend.helper.places import Places
from schedtui.backend.helper.polkit import Asker
from schedtui.backend.helper.protocol import Body, Reply
from schedtui.backend.helper.proving import Prover, Spawn, Verifier
from schedtui.backend.helper.server import Asked, Handler, Lane, Server
from schedtui.backend.helper.session import Session
from schedtui.backend.model import Setting


class Proofs:
    """Of one helper."""

    def __init__(self, places: Places, server: Server) -> None:
        self._server = server
        self._ended: WeakKeyDictionary[Session, int] = WeakKeyDictionary()
        """How often each client has ended its proofs."""
        self._prover: Prover | SchedtuiError
        spawn = Spawn(cache=places.verify, prepared=places.prepared)
        try:
            self._prover = Prover(places.state, Verifier(places.verify_socket, spawn))
        except SchedtuiError as error:
            self._prover = error

    @property
    def problem(self) -> str:
        """Why nothing can be proven; empty when it can."""
        return self._prover.message if isinstance(self._prover, SchedtuiError) else ""

    @property
    def prover(self) -> Prover:
        """Raises NotPermitted where nothing can be proven."""
        if isinstance(self._prover, SchedtuiError):
            raise NotPermitted(f"The helper loads nothing: {self._prover.message}", self._prover.remedy)
        return self._prover

    def handlers(self) -> dict[type[Body], Handler]:
        """Of the messages that need a proof, or make one; a load asks ``may_load``."""
        return {
            protocol.Prove: Handler(Lane.ASIDE, self._prove),
            protocol.EndProofs: Handler(Lane.AT_ONCE, self._end),
            protocol.Tune: Handler(Lane.IN_ORDER, self._tune),
        }

    def may_load(self, digest: str, settings: dict[str, Setting], token: str = "") -> None:
        """Return when this object may be loaded with these settings, here and now.

        Raises NotProven with the reason, NotPermitted where nothing can be proven.
        """
        self.prover.may_load(digest, settings, token)

    def kept(self) -> int:
        """How many tokens hold."""
        return 0 if isinstance(self._prover, SchedtuiError) else len(self._prover.tokens.kept()[0])

    def _prove(self, session: Session, asked: Asked[protocol.Prove]) -> Reply:
        it = asked.body
        if asked.file is None:
            raise BadMessage("The object's memory file did not come with the message.")
        proven = self.prover.prove(
            it.name,
            jobs.read_sealed(asked.file),
            it.settings,
            quick=it.quick,
            generated=it.generated,
            asker=Asker(session.pid, session.uid),
            tell=lambda words: session.send(Reply(asked.id, progress=words)),
            gone=self.gone(session),
        )
        return Reply(asked.id, report=proven.report, token=proven.token)

    def _end(self, session: Session, asked: Asked[protocol.EndProofs]) -> Reply:
        self._ended[session] = self._ended.get(session, 0) + 1
        return Reply(asked.id)

    def gone(self, session: Session) -> Callable[[], bool]:
        """Whether the client has gone, or wants to wait no longer for what it asked before now."""
        ended = self._ended.get(session, 0)
        return lambda: session.gone or self._ended.get(session, 0) != ended

    def _tune(self, _session: Session, asked: Asked[protocol.Tune]) -> Reply:
        """Only to settings that were proven for the object that runs."""
        running = self._server.control.scheduler()
        if running.digest:
            self.may_load(running.digest, {**running.settings, **asked.body.settings})
        return Reply(asked.id, scheduler=self._server.control.tune(asked.body.settings))
