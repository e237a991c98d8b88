"""The one machine that a server works on, for all programs that are connected to it.

It is opened once, in a thread, so that a client is answered at once; what the clients do there is theirs.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from schedtui.backend.errors import Interrupted, NotPermitted, SchedtuiError

if TYPE_CHECKING:
    from schedtui.agent.asking import Consent
    from schedtui.backend.breaker import Breaker
    from schedtui.backend.machine import Machine
    from schedtui.backend.model import Deployment
    from schedtui.desk import Desk
    from schedtui.mcp.client import Client

Progress = Callable[[str, float], None]
Heed = Callable[[Literal["came", "changed", "went"], "Client"], None]
_POLL_S = 0.05


class Place:
    """See the module. Its methods may be called from any thread.

    ``consent``: what answers where no person does. ``folders`` and ``commands`` are those that a request may name on
    this computer; in the lab a command runs in the guest, and may be any. ``machine``: one that is there already, of
    that kind; it is opened and closed here all the same.
    """

    def __init__(
        self,
        kind: str,
        *,
        consent: Consent = "no",
        kernel: Path | None = None,
        cpus: int | None = None,
        folders: tuple[Path, ...] = (),
        commands: tuple[str, ...] = (),
        machine: Machine | None = None,
    ) -> None:
        self.kind = kind
        self.consent: Consent = consent
        self.kernel = kernel
        self.cpus = cpus
        self.folders = folders
        self.commands = commands
        self.clients: list[Client] = []
        self._heeding: list[Heed] = []
        self._lock = threading.RLock()
        self._opening: threading.Thread | None = None
        self._opened = threading.Event()
        self._closed = False
        self._stage = ""
        self._machine = machine
        self._desk: Desk | None = None
        self._failed: SchedtuiError | None = None
        self._at_work: tuple[Client, list[str]] | None = None
        self._breaker: Breaker | None = None

    # ---- the machine ----

    def begin(self) -> None:
        """Open it, in a thread of its own; what fails is told to whoever needs the machine, and tried again."""
        with self._lock:
            if self._closed or (self._opening and (not self._opened.is_set() or self._desk)):
                return
            self._opened.clear()
            self._failed = None
            self._opening = threading.Thread(target=self._open, name="opening the machine", daemon=True)
            self._opening.start()

    def desk(self, stop: threading.Event, progress: Progress = lambda _text, _seconds: None) -> Desk:
        """What is needed on the open machine. Raises what opening it does, and Interrupted once ``stop`` is set."""
        self.begin()
        began, said = time.monotonic(), ""
        while not self._opened.wait(_POLL_S):
            if stop.is_set():
                raise Interrupted("Stopped while the machine was opened.")
            if self._stage != said:
                said = self._stage
                progress(said, time.monotonic() - began)
        with self._lock:
            if self._closed:
                raise Interrupted("This server is ending.")
            if self._desk is None:
                failed = self._failed or Interrupted("The machine could not be opened.")
                self._opening = None
                raise failed
            return self._desk

    @property
    def ready(self) -> Desk | None:
        """The same, if the machine is open by now."""
        return self._desk if self._opened.is_set() else None

    def _open(self) -> None:
        try:
            from schedtui.backend.machine import open_machine
            from schedtui.backend.microvm.compiler_image import is_installed
            from schedtui.desk import Desk

            compiler = bool(self.folders) and is_installed()
            machine = self._machine or open_machine(self.kind, kernel=self.kernel, cpus=self.cpus, compiler=compiler)
            with self._lock:
                self._machine = machine
            if not self._closed:
                desk = Desk(machine, machine.open(self._reached), kernel=self.kernel)
                desk.deployer.recover()
                desk.watch.follow(machine)
                self._desk = desk
        except SchedtuiError as error:
            self._failed = error
        except Exception as fault:  # noqa: BLE001  told to whoever needs the machine
            from schedtui.faults import unexpected

            self._failed = unexpected(fault)
        finally:
            if self._desk is None:
                self._let_go()
            self._opened.set()

    def _reached(self, stage: str, _seconds: float) -> None:
        self._stage = stage

    # ---- the clients ----

    def heed(self, listener: Heed) -> Callable[[], None]:
        """Hear of every client that comes, calls itself otherwise, or goes; call the result to hear no more."""
        with self._lock:
            self._heeding.append(listener)

        def forget() -> None:
            with self._lock, contextlib.suppress(ValueError):
                self._heeding.remove(listener)

        return forget

    def came(self, client: Client) -> None:
        """A client is connected."""
        with self._lock:
            self.clients.append(client)
            heeding = list(self._heeding)
        for each in heeding:
            each("came", client)

    def changed(self, client: Client) -> None:
        """It calls itself otherwise now."""
        with self._lock:
            heeding = list(self._heeding)
        for each in heeding:
            each("changed", client)

    def went(self, client: Client) -> None:
        """It is no more, and what it tried is gone."""
        self.release(client)
        with self._lock:
            if client not in self.clients:
                return
            self.clients.remove(client)
            heeding = list(self._heeding)
        for each in heeding:
            each("went", client)

    def claim(self, client: Client, what: str) -> None:
        """``client`` changes something now, until it releases it. Raises NotPermitted while another does."""
        if client.taken:
            raise NotPermitted(
                "A person took the machine back from you: you may look and prove, and try nothing.",
                "They give it back on schedtui's screen of agents (A, then g).",
            )
        with self._lock:
            if self._at_work is None:
                self._at_work = (client, [])
            other, doing = self._at_work
            if other is not client:
                raise NotPermitted(
                    f"“{other.name}” is at work on this machine: {doing[-1]}.", "Wait until it is done, then try again."
                )
            doing.append(what)

    def release(self, client: Client, what: str = "") -> None:
        """It is done with what it claimed as ``what``, or with everything; nothing happens where it claimed nothing."""
        with self._lock:
            if self._at_work is None or self._at_work[0] is not client:
                return
            doing = self._at_work[1]
            if what in doing:
                doing.remove(what)
            if not what or not doing:
                self._at_work = None

    @property
    def at_work(self) -> tuple[Client, str] | None:
        """Who changes something now, and what, in words."""
        with self._lock:
            return (self._at_work[0], self._at_work[1][-1]) if self._at_work else None

    def watch_kept(self, deployment: Deployment, doubt: Callable[[Deployment, str], None]) -> None:
        """Hand what was kept to the circuit breaker, which watches it from now on; ``doubt`` gets what it sees."""
        from schedtui.backend.breaker import Breaker

        with self._lock:
            self._end_watch()
            if self._desk is not None and not self._closed:
                self._breaker = Breaker(self._desk.deployer, deployment, ask=doubt)
                self._breaker.start()

    # ---- the end ----

    def close(self) -> None:
        """End all clients, and let go of the machine. May be called twice."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            clients = list(self.clients)
        for each in clients:
            each.close("The server ended.")
        with self._lock:
            self._end_watch()
        self._let_go()
        if self._opening is not None:
            self._opening.join(30)

    def _end_watch(self) -> None:
        breaker, self._breaker = self._breaker, None
        if breaker is not None:
            breaker.stop()

    def _let_go(self) -> None:
        with self._lock:
            machine, self._machine = self._machine, None
        if machine is not None:
            machine.close()
