"""A person's hands on this server: shows its clients live to whoever watches, and does what they want of them.

How it is shown, and who may watch, is announce.py's; what a client does is its own.
"""

from __future__ import annotations

import itertools
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

from schedtui.agent.events import AnyEvent, Asked, Deployed
from schedtui.announced import ClientSeen, Share
from schedtui.backend.errors import NotPermitted, SchedtuiError, UnknownName
from schedtui.mcp.announce import Announcer

if TYPE_CHECKING:
    from schedtui.backend.model import Deployment
    from schedtui.desk import Desk
    from schedtui.mcp.client import Client
    from schedtui.mcp.place import Place

PATIENCE_S = 180.0
"""A question that nobody answers for so long is answered as if nobody watched."""
_EACH_S = 1.0
_LAST_WORDS_S = 0.5
"""Until a server ends whose only client was sent away, so that the person is told."""
_WINDOWS: dict[int, Literal["minute", "hour"]] = {60: "minute", 3600: "hour"}
_SHOWN = ("calls", "verifications", "trials", "seconds")
_TAKEN = "A person took the machine back."
_SENT_AWAY = "A person sent it away."


class Live:
    """Of one server. ``only``: it has one client, and ends when that is sent away."""

    def __init__(self, place: Place, *, only: bool = False) -> None:
        self._place = place
        self._only = only
        self._announcer = Announcer(_kind(place.kind), self)
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()
        self._clients: dict[int, _Shown] = {}
        self._closed = threading.Event()
        self._forget: Callable[[], None] = lambda: None

    def start(self) -> None:
        """From now on. Where nobody can watch, a line on stderr says so, and the server works without."""
        try:
            self._announcer.start()
        except SchedtuiError as error:
            print(f"schedtui mcp: {error.message} {error.remedy}".rstrip(), file=sys.stderr)
        self._forget = self._place.heed(self._heed)
        for each in list(self._place.clients):
            self._heed("came", each)
        threading.Thread(target=self._follow, name="live", daemon=True).start()

    def close(self) -> None:
        """No more. May be called twice."""
        self._closed.set()
        self._forget()
        self._announcer.close()

    # The clients

    def _heed(self, what: Literal["came", "changed", "went"], client: Client) -> None:
        with self._lock:
            known = next((each for each in self._clients.values() if each.client is client), None)
            if what == "went" and known is not None:
                del self._clients[known.id]
        if what == "went" and known is not None:
            known.forget()
            self._announcer.gone(known.id, "It left." if not known.sent_away else "You sent it away.")
        elif what == "came" and known is None:
            self._came(client)
        elif what == "changed" and known is not None:
            self._announcer.seen(self._seen(known))

    def _came(self, client: Client) -> None:
        shown = _Shown(next(self._numbers), client)
        with self._lock:
            self._clients[shown.id] = shown
        client.attended = lambda: self._announcer.attended and not shown.waits_too_long
        self._announcer.seen(self._seen(shown))
        shown.forget = client.listen(lambda event: self._heard(shown, event))

    def _heard(self, shown: _Shown, event: AnyEvent) -> None:
        shown.note(event)
        self._announcer.happened(shown.id, event)
        if isinstance(event, Deployed):
            self._announcer.seen(self._seen(shown))

    def _seen(self, shown: _Shown) -> ClientSeen:
        client = shown.client
        limits, left = client.allowance.limits, client.allowance.left()
        return ClientSeen(
            id=shown.id,
            name=client.name,
            label=client.label,
            since=client.since,
            may="try what is proven, and keep it when it is better (--yes)"
            if self._place.consent == "yes"
            else f"may {client.trust.level.words}",
            shares=tuple(
                Share(
                    what=each.what,
                    spent=max(0.0, each.most - left[name]),
                    limit=each.most,
                    per=_WINDOWS[int(each.window_s)],
                )
                for name, each in limits.items()
                if name in _SHOWN
            ),
            deployment=shown.deployment,
            taken=client.taken,
        )

    def _follow(self) -> None:
        """Each second: the machine's numbers, and what became of each client meanwhile."""
        while not self._closed.wait(_EACH_S):
            with self._lock:
                clients = list(self._clients.values())
            desk = self._place.ready
            try:
                if desk is not None:
                    self._notice(desk, clients)
                for each in clients:
                    self._announcer.seen(self._seen(each))
            except SchedtuiError as error:  # the store cannot be read: the next look may
                print(f"schedtui mcp: {error.message}", file=sys.stderr)

    def _notice(self, desk: Desk, clients: list[_Shown]) -> None:
        frames = desk.watch.last(2 * _EACH_S)
        if frames:
            self._announcer.frame(frames[-1], desk.info.kernel)
        for each in clients:
            for told in each.standing:
                now = desk.deployer.current(told)
                if now.state != told.state:  # F12, the breaker, another program: not by a call of the client
                    each.client.tell(Deployed, deployment=now)

    # What a person wants; see announce.Hands

    def answer(self, client: int, question: str, choice: str) -> str:
        """Hand it on, when it is still asked."""
        it = self._find(client)
        open_now = it.question
        if open_now is None or open_now.id != question:
            raise UnknownName("That is not asked any more.")
        if choice not in [id for id, _ in open_now.choices]:
            raise UnknownName("That is no answer to it.")
        it.reply(question, choice)
        return "It was told."

    def take_back(self, client: int | None) -> str:
        """What it works on ends, what it deployed goes; it changes nothing until the machine is given back."""
        chosen = self._chosen(client)
        for each in chosen:
            each.taken = True
        desk = self._place.ready
        at_work = self._place.at_work
        others = at_work is not None and at_work[0] not in chosen
        if desk is not None and desk.info.kind == "lab" and not others:
            desk.machine.panic()
        for each in chosen:
            each.take_back(_TAKEN)
        self._show(chosen)
        runs = f"{desk.machine.scheduler().name} runs there now." if desk is not None else "It had not begun yet."
        return f"Taken back from {_names(chosen)}. {runs}"

    def give_back(self, client: int | None) -> str:
        """They may go on; in a lab the panic that took it is released."""
        chosen = self._chosen(client)
        for each in chosen:
            each.taken = False
        desk = self._place.ready
        if desk is not None and desk.info.kind == "lab" and not any(each.taken for each in self._place.clients):
            desk.machine.unlatch()
        self._show(chosen)
        return f"Given back: {_names(chosen)} may go on."

    def disconnect(self, client: int) -> str:
        """Close it; then whoever connects it is told."""
        it = self._find(client)
        with self._lock:
            self._clients[client].sent_away = True
        it.close(_SENT_AWAY)
        if self._only:
            threading.Timer(_LAST_WORDS_S, os.kill, (os.getpid(), signal.SIGTERM)).start()
        return f"{it.name} was sent away. What nobody kept of what it tried is gone."

    def _find(self, client: int) -> Client:
        with self._lock:
            found = self._clients.get(client)
        if found is None:
            raise UnknownName("That program is not connected any more.")
        return found.client

    def _chosen(self, client: int | None) -> list[Client]:
        if client is not None:
            return [self._find(client)]
        chosen = list(self._place.clients)
        if not chosen:
            raise NotPermitted("No program is connected there.")
        return chosen

    def _show(self, clients: list[Client]) -> None:
        with self._lock:
            shown = [each for each in self._clients.values() if each.client in clients]
        for each in shown:
            self._announcer.seen(self._seen(each))


class _Shown:
    """A client, as it was announced."""

    def __init__(self, id: int, client: Client) -> None:
        self.id = id
        self.client = client
        self.forget: Callable[[], None] = lambda: None
        self.sent_away = False
        self.deployment: Deployment | None = None
        """The last that was told of."""
        self._told: dict[int, Deployment] = {}
        self._asked_at = 0.0

    @property
    def waits_too_long(self) -> bool:
        """Whether a question of it is open, and nobody answers."""
        return self.client.question is not None and time.monotonic() - self._asked_at > PATIENCE_S

    @property
    def standing(self) -> list[Deployment]:
        """Those that were kept, as they were told of; a trial is watched by whoever runs it."""
        return [each for each in list(self._told.values()) if each.state == "kept"]

    def note(self, event: AnyEvent) -> None:
        """What is needed of it later."""
        if isinstance(event, Asked):
            self._asked_at = time.monotonic()
        elif isinstance(event, Deployed):
            self.deployment = event.deployment
            self._told[event.deployment.id] = event.deployment


def _kind(name: str) -> Literal["host", "lab", "replay"]:
    return "replay" if name.startswith("replay:") else "lab" if name == "lab" else "host"


def _names(clients: list[Client]) -> str:
    return ", ".join(each.name for each in clients)
