"""Other programs at work over MCP, as a person sees them: which servers run, who is connected, what each does and asks.

``Clients`` is the data; ``Follower`` finds the servers and listens to them in a thread of its own; a ``Visit`` does for
a command what the screens do. The messages and the sockets are announced.py's.
"""

from __future__ import annotations

import collections
import contextlib
import itertools
import selectors
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from schedtui import announced
from schedtui.agent.events import AnyEvent, Called, Deployed, Returned
from schedtui.announced import (
    ALIVE_EACH_S,
    LONGEST_NEWS,
    AnyNews,
    CaughtUp,
    ClientSeen,
    Done,
    Gone,
    Happened,
    Hello,
    Here,
    Lines,
    MachineSeen,
    Seen,
    Watched,
    Wish,
    line_of,
    news_of,
)
from schedtui.asking import Asking
from schedtui.backend.errors import BadMessage, Interrupted
from schedtui.backend.model import Deployment
from schedtui.units import span

AT_WORK_S = 60.0
"""A client that did something within these seconds is at work."""
KEPT_EVENTS = 300
KEPT_GONE = 3
"""Clients that are no longer connected and can still be read about."""
_LOOK_EACH_S = 1.0
_LOOK_ANYWAY = 5
"""The folder is read again every so many looks, also when its time says that nothing changed."""
_AGAIN_AFTER_S = 3.0
_READ_BYTES = 256 << 10
_PATIENCE_S = 15.0
_WAITING = 2000
"""News that the screens have not taken yet; with more, no server is listened to."""
_TOLD = {"canary": "tries", "verified": "has proven", "proposed": "proposes", "kept": "keeps"}


@dataclass
class Client:
    """One connected program, or one that was."""

    key: tuple[int, int]
    """Its server's and its own number."""
    machine: str
    seen: ClientSeen
    asking: Asking
    """What it did, as a request is shown."""
    doing: str = ""
    """The tool that is at work for it, in plain words."""
    last: float = 0.0
    """Unix time of the last event."""
    gone: str = ""
    """Why it is not connected any more."""

    @property
    def name(self) -> str:
        """Its identity."""
        return self.seen.name

    @property
    def who(self) -> str:
        """Its identity, and what it calls itself where that says more."""
        label = self.seen.label
        return f"{self.name} ({label})" if label and label != self.name else self.name

    @property
    def where(self) -> str:
        """Its machine in words."""
        return {"host": "this computer", "lab": "a lab of its own"}.get(self.machine, self.machine)

    def is_at_work(self, now: float) -> bool:
        """Whether it does something, did a moment ago, asks, or has a scheduler on the machine that is not decided."""
        if self.gone:
            return False
        deployment = self.seen.deployment
        trying = deployment is not None and deployment.state == "canary"
        return bool(self.doing or self.asking.question or trying) or now - self.last < AT_WORK_S

    def state_words(self, now: float) -> str:
        """What it does now, in a few words."""
        if self.gone:
            return "gone"
        if self.asking.question is not None:
            return f"asks: {self.asking.question.title}"
        if self.seen.taken:
            return "you took the machine back"
        if self.doing:
            return self.doing
        deployment = self.seen.deployment
        if deployment is not None and deployment.state in ("canary", "kept"):
            return f"{_TOLD[deployment.state]} {deployment.policy}"
        return f"quiet for {span(now - self.last)}" if self.last else "connected"


@dataclass
class Server:
    """One server, while it lives."""

    number: int
    hello: Hello
    kernel: str = ""
    machine: MachineSeen | None = None
    clients: dict[int, Client] = field(default_factory=dict)


class Clients:
    """All that is known of them. For the user interface's thread alone.

    ``clock`` gives Unix time.
    """

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self.servers: dict[int, Server] = {}
        self._gone: collections.deque[Client] = collections.deque(maxlen=KEPT_GONE)
        self._clock = clock

    @property
    def now(self) -> float:
        """Unix time, as it is reckoned with here."""
        return self._clock()

    @property
    def all(self) -> list[Client]:
        """Those that are connected, longest first, then those that are gone."""
        there = [client for server in self.servers.values() for client in server.clients.values()]
        return [*sorted(there, key=lambda each: each.seen.since), *reversed(self._gone)]

    @property
    def at_work(self) -> list[Client]:
        """Those that ask first."""
        now = self._clock()
        return sorted(
            (each for each in self.all if each.is_at_work(now)), key=lambda each: each.asking.question is None
        )

    def find(self, key: tuple[int, int]) -> Client | None:
        """By its key; None when nothing is known of it any more."""
        return next((each for each in self.all if each.key == key), None)

    def server_of(self, client: Client) -> Server | None:
        """Its server, while that lives."""
        return self.servers.get(client.key[0])

    def on_host(self, digest: str) -> Deployment | None:
        """What a client has on this computer, when it is this object."""
        found = (each.seen.deployment for each in self.all if each.machine == "host")
        held = (each for each in found if each is not None and each.state in ("canary", "kept"))
        return next((each for each in held if digest and each.digest == digest), None)

    def hear(self, number: int, news: AnyNews | None) -> Client | None:
        """Something that a server said; None: it is gone. Returns the client that it is about."""
        if isinstance(news, Hello):
            self.servers[number] = Server(number, news, news.kernel)
            return None
        server = self.servers.get(number)
        if server is None:
            return None
        match news:
            case None:
                del self.servers[number]
                for each in server.clients.values():
                    self._let_go(each, "Its server ended.")
            case Seen():
                return self._seen(server, news.client)
            case Gone():
                client = server.clients.pop(news.id, None)
                if client is not None:
                    self._let_go(client, news.why)
                return client
            case Happened():
                client = server.clients.get(news.id)
                if client is not None:
                    self._happened(client, news.event, news.at)
                return client
            case Watched():
                server.kernel, server.machine = news.kernel or server.kernel, news.machine
        return None

    def _seen(self, server: Server, seen: ClientSeen) -> Client:
        client = server.clients.get(seen.id)
        if client is None:
            asking = Asking("is connected over MCP, and uses the same tools as the built-in agent.", clock=self._clock)
            asking.speaker, asking.beginning = seen.label or seen.name, "It has not done anything yet."
            client = Client((server.number, seen.id), server.hello.machine, seen, asking)
            server.clients[seen.id] = client
        client.seen = seen
        client.asking.speaker = seen.label or seen.name
        return client

    def _happened(self, client: Client, event: AnyEvent, at: float) -> None:
        client.last = at
        client.asking.add(event, ago_s=max(0.0, self._clock() - at))
        del client.asking.events[:-KEPT_EVENTS]
        if isinstance(event, Called):
            client.doing = event.title
        elif isinstance(event, Returned):
            client.doing = ""
        elif isinstance(event, Deployed):
            client.seen = _with(client.seen, event.deployment)

    def _let_go(self, client: Client, why: str) -> None:
        client.gone, client.doing = why or "It left.", ""
        client.asking.close()
        if client.asking.events:
            self._gone.append(client)


def _with(seen: ClientSeen, deployment: Deployment) -> ClientSeen:
    from msgspec.structs import replace

    return replace(seen, deployment=deployment)


class Follower:
    """Finds the servers of this user and listens to them, in a thread.

    ``stir`` is called in that thread when there is news and none was left; ``take`` hands it over. A server that says
    what makes no sense is left alone for a while. ``attends``: a person is here who can be asked.
    """

    def __init__(self, stir: Callable[[], None], *, attends: bool = True) -> None:
        self._stir = stir
        self._attends = attends
        self._lock = threading.Lock()
        self._news: list[tuple[int, AnyNews | None]] = []
        self._links: dict[int, _Link] = {}
        self._numbers = itertools.count(1)
        self._wishes = itertools.count(1)
        self._shunned: dict[Path, float] = {}
        self._selector = selectors.DefaultSelector()
        self._wake, woken = socket.socketpair()
        self._selector.register(woken, selectors.EVENT_READ)
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="clients", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def close(self) -> None:
        """Hang up, and wait until that is done."""
        self._closed.set()
        self._wake.close()
        if self._thread.is_alive():
            self._thread.join(_LOOK_EACH_S)

    def take(self) -> list[tuple[int, AnyNews | None]]:
        """What is new, oldest first: a server's number and what it said; None: it is gone."""
        with self._lock:
            news, self._news = self._news, []
        return news

    def send(self, server: int, wish: Callable[[int], Wish]) -> int:
        """Send what ``wish`` makes of a number, and return that; Done with it tells what came of it. 0: it is gone."""
        number = next(self._wishes)
        link = self._links.get(server)
        if link is None or not link.send(line_of(wish(number))):
            return 0
        return number

    def _run(self) -> None:
        looks = 0
        times: tuple[float, ...] = ()
        said = 0.0
        while not self._closed.is_set():
            now = _changed_at(announced.folders())
            if now != times or looks % _LOOK_ANYWAY == 0:
                times = now
                self._look()
            looks += 1
            if self._attends and time.monotonic() - said > ALIVE_EACH_S:
                said = time.monotonic()
                self._say_here(self._links.values())
            self._listen()
        for number in list(self._links):
            self._hang_up(number)
        self._selector.close()

    def _look(self) -> None:
        """Listen to those that are new."""
        known = {each.path for each in self._links.values()}
        now = time.monotonic()
        for path in announced.announced():
            if path in known or now < self._shunned.get(path, 0.0):
                continue
            found = announced.connect(path)
            if found is not None:
                number = next(self._numbers)
                self._links[number] = link = _Link(path, found)
                self._selector.register(found, selectors.EVENT_READ, number)
                if self._attends:
                    self._say_here([link])

    def _say_here(self, links: Iterable[_Link]) -> None:
        line = line_of(Here())
        for each in list(links):
            each.send(line)

    def _listen(self) -> None:
        """For a second, or until the screens have too much to read."""
        until = time.monotonic() + _LOOK_EACH_S
        while not self._closed.is_set() and (left := until - time.monotonic()) > 0:
            if len(self._news) > _WAITING:
                self._closed.wait(min(left, 0.05))
                continue
            for key, _ in self._selector.select(left):
                if key.data in self._links:
                    self._hear(key.data)

    def _hear(self, number: int) -> None:
        link = self._links[number]
        try:
            data = link.socket.recv(_READ_BYTES)
            if not data:
                raise BadMessage("It is gone.")
            news = [news_of(line) for line in link.lines.add(data)]
            if link.hello is None and news:
                if not isinstance(news[0], Hello) or news[0].version != announced.VERSION:
                    raise BadMessage("It is another version's.")
                link.hello = news[0]
            self._put(number, news)
        except BlockingIOError:
            pass
        except (OSError, BadMessage):
            self._shunned[link.path] = time.monotonic() + _AGAIN_AFTER_S
            self._hang_up(number)

    def _hang_up(self, number: int) -> None:
        link = self._links.pop(number)
        self._selector.unregister(link.socket)
        link.socket.close()
        if link.hello is not None:
            self._put(number, [None])

    def _put(self, number: int, news: Iterable[AnyNews | None]) -> None:
        fresh = [(number, each) for each in news]
        with self._lock:
            stir = not self._news and bool(fresh)
            self._news += fresh
        if stir and not self._closed.is_set():
            self._stir()


class _Link:
    """A connection to a server."""

    def __init__(self, path: Path, link: socket.socket) -> None:
        self.path = path
        self.socket = link
        self.lines = Lines(LONGEST_NEWS)
        self.hello: Hello | None = None

    def send(self, line: bytes) -> bool:
        """A wish is short: a server that has no room for it does not listen."""
        try:
            return self.socket.send(line, socket.MSG_NOSIGNAL) == len(line)
        except OSError:
            return False


class Visit:
    """One server, asked by a command. Raises BadMessage when it makes no sense, and Interrupted when it is silent."""

    def __init__(self, link: socket.socket, clients: Clients, number: int) -> None:
        link.settimeout(_PATIENCE_S)
        self.number = number
        self._link = link
        self._clients = clients
        self._lines = Lines(LONGEST_NEWS)
        self._news: list[AnyNews] = []
        self._until(lambda news: isinstance(news, CaughtUp))

    def ask(self, wish: Wish) -> Done:
        """What came of it."""
        try:
            self._link.sendall(line_of(wish))
        except OSError as error:
            raise Interrupted("A server ended while it was asked.") from error
        done = self._until(lambda news: isinstance(news, Done) and news.number == wish.number)
        assert isinstance(done, Done)
        return done

    def _until(self, wanted: Callable[[AnyNews], bool]) -> AnyNews:
        deadline = time.monotonic() + _PATIENCE_S
        while True:
            while self._news:
                news = self._news.pop(0)
                self._clients.hear(self.number, news)
                if wanted(news):
                    return news
            try:
                data = self._link.recv(_READ_BYTES)
            except OSError:
                data = b""
            if not data or time.monotonic() > deadline:
                raise Interrupted("A server does not answer.", "It may be ending; look again in a moment.")
            self._news = [news_of(line) for line in self._lines.add(data)]


def visits(clients: Clients) -> Iterator[Visit]:
    """Every server that answers, one after the other; what is known of it is in ``clients`` then."""
    for number, path in enumerate(announced.announced(), 1):
        link = announced.connect(path)
        if link is None:
            continue
        with contextlib.closing(link), contextlib.suppress(BadMessage, Interrupted):
            visit = Visit(link, clients, number)
            yield visit


def _changed_at(folders: Iterable[Path]) -> tuple[float, ...]:
    found = []
    for each in folders:
        with contextlib.suppress(OSError):
            found.append(each.stat().st_mtime_ns / 1e9)
    return tuple(found)
