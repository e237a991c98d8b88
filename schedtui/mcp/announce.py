"""Shows live to the screens of this user what a server's clients do, and hears what a person there wants.

A socket in a folder that lets nobody else in; whoever watches gets what is known of each client, then every event as
it happens. Nobody is waited for: a watcher that does not read, or says what makes no sense, is dropped. What a wish
leads to is its Hands' affair.
"""

from __future__ import annotations

import collections
import contextlib
import os
import secrets
import selectors
import socket
import threading
import time
from pathlib import Path
from typing import Protocol

from msgspec.structs import replace

from schedtui import announced
from schedtui.agent.events import AnyEvent, Asked, Called, Measured, Planned, Returned, Said, Spent, Warned
from schedtui.announced import (
    ALIVE_EACH_S,
    LONGEST_NEWS,
    LONGEST_WISH,
    AnyWish,
    CaughtUp,
    ClientSeen,
    Done,
    Gone,
    Happened,
    Hello,
    Lines,
    MachineSeen,
    News,
    Seen,
    Watched,
    line_of,
    wish_of,
)
from schedtui.backend.errors import BadFile, BadMessage, SchedtuiError
from schedtui.backend.model import Frame, MachineKind
from schedtui.faults import unexpected

MOST_WATCHERS = 32
MOST_WISHES = 8
"""At work at once."""
UNREAD_BYTES = 8 << 20
"""A watcher that leaves more than this unread is dropped."""
PAST_EVENTS = 400
PAST_BYTES = 256 << 10
"""Of each client: what a watcher that comes later is told."""
_LONGEST_TEXT = 8000
_AWAY_AFTER_S = 3 * ALIVE_EACH_S
_FRAME_EACH_S = 1.0
_READ_BYTES = 64 << 10
_TOO_LONG = "Something happened that is too long to be shown here; the trajectory has it."


class Hands(Protocol):
    """What a person can do from a screen. Each returns a sentence for them, or raises SchedtuiError; for any thread.

    ``client`` is a ClientSeen's id; None: all of them.
    """

    def answer(self, client: int, question: str, choice: str) -> str:
        """To what a client's work asked."""
        ...

    def take_back(self, client: int | None) -> str:
        """The machine belongs to the person again, until they give it back."""
        ...

    def give_back(self, client: int | None) -> str:
        """Clients may go on."""
        ...

    def disconnect(self, client: int) -> str:
        """Send it away."""
        ...


class Announcer:
    """Of one server. Its methods may be called from any thread, and return at once."""

    def __init__(self, machine: MachineKind, hands: Hands, *, folder: Path | None = None) -> None:
        self._hello = Hello(version=announced.VERSION, pid=os.getpid(), machine=machine, began=time.time())
        self._hands = hands
        self._folder = folder
        self.path: Path | None = None
        """The socket, once it is there."""
        self._lock = threading.Lock()
        self._watchers: list[_Watcher] = []
        self._clients: dict[int, ClientSeen] = {}
        self._past: dict[int, _Past] = {}
        self._machine: Watched | None = None
        self._machine_at = 0.0
        self._wishes = threading.BoundedSemaphore(MOST_WISHES)
        self._closed = False
        self._selector = selectors.DefaultSelector()
        self._ear: socket.socket | None = None
        self._wake, self._woken = socket.socketpair()
        for each in (self._wake, self._woken):
            each.setblocking(False)

    def start(self) -> None:
        """Listen. Raises BadFile when there is no place for it; the server works without."""
        folder = self._folder or announced.own_folder()
        for each in announced.announced():
            link = announced.connect(each)  # clears it away when nobody listens
            if link is not None:
                link.close()
        name = f"{os.getpid()}-{secrets.token_hex(3)}"
        path, hidden = folder / f"{name}{announced.ENDING}", folder / f".{name}"
        ear = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            with announced.short(hidden) as short:
                ear.bind(short)
            ear.listen(MOST_WATCHERS)
            hidden.rename(path)
        except OSError as error:
            ear.close()
            with contextlib.suppress(OSError):
                hidden.unlink()
            raise BadFile(f"No screen can watch: no socket can be made in {folder}: {error.strerror}.") from error
        ear.setblocking(False)
        self.path, self._ear = path, ear
        self._selector.register(ear, selectors.EVENT_READ)
        self._selector.register(self._woken, selectors.EVENT_READ)
        threading.Thread(target=self._serve, name="announce", daemon=True).start()

    @property
    def attended(self) -> bool:
        """Whether somebody watches who can be asked."""
        with self._lock:
            return any(time.monotonic() - each.here < _AWAY_AFTER_S for each in self._watchers if each.here)

    # What is announced

    def seen(self, client: ClientSeen) -> None:
        """A client came, or is not as it was."""
        with self._lock:
            if self._clients.get(client.id) != client:
                self._clients[client.id] = client
                self._past.setdefault(client.id, _Past())
                self._tell(Seen(client=client))

    def happened(self, client: int, event: AnyEvent) -> None:
        """A client did something, or something came of it. Of one that is not there, nothing is told."""
        shown = _shown(event)
        if shown is None:
            return
        line = line_of(Happened(id=client, at=time.time(), event=shown))
        for shorter in (_cut(shown), Warned(at_s=event.at_s, text=_TOO_LONG)):
            if len(line) > LONGEST_NEWS:
                line = line_of(Happened(id=client, at=time.time(), event=shorter))
        with self._lock:
            past = self._past.get(client)
            if past is not None:
                past.add(line, passing=isinstance(event, Measured) and not event.final)
                self._send(line)

    def gone(self, client: int, why: str) -> None:
        """A client is no longer connected."""
        with self._lock:
            if self._clients.pop(client, None) is not None:
                self._past.pop(client, None)
                self._tell(Gone(id=client, why=why))

    def frame(self, frame: Frame, kernel: str = "") -> None:
        """The machine was sampled: told once a second."""
        now = time.monotonic()
        with self._lock:
            if now - self._machine_at < _FRAME_EACH_S:
                return
            self._machine_at = now
            self._machine = Watched(kernel=kernel, machine=machine_seen(frame))
            self._tell(self._machine)

    def close(self) -> None:
        """Fall silent; the socket goes. May be called twice."""
        with self._lock:
            self._closed = True
        if self.path is not None:
            with contextlib.suppress(OSError):
                self.path.unlink()
        self._stir()

    def _tell(self, news: News) -> None:
        """With the lock held."""
        self._send(line_of(news))

    def _send(self, line: bytes) -> None:
        for each in self._watchers:
            each.add(line)
        if self._watchers:
            self._stir()

    def _stir(self) -> None:
        with contextlib.suppress(OSError):
            self._wake.send(b".")

    # The thread that talks to the watchers

    def _serve(self) -> None:
        try:
            while not self._closed:
                for key, _ in self._selector.select(ALIVE_EACH_S):
                    if key.fileobj is self._ear:
                        self._admit()
                    elif key.fileobj is self._woken:
                        self._drain()
                    else:
                        self._hear(key.data)
                self._write()
        finally:
            with self._lock:
                watchers, self._watchers = self._watchers, []
            for link in [self._ear, self._wake, self._woken, *(each.link for each in watchers)]:
                if link is not None:
                    link.close()
            self._selector.close()

    def _drain(self) -> None:
        with contextlib.suppress(OSError):
            self._woken.recv(_READ_BYTES)

    def _admit(self) -> None:
        assert self._ear is not None
        with contextlib.suppress(OSError):
            link, _ = self._ear.accept()
            if announced.peer(link)[1] != os.getuid() or len(self._watchers) >= MOST_WATCHERS:
                link.close()
                return
            link.setblocking(False)
            watcher = _Watcher(link)
            self._selector.register(link, selectors.EVENT_READ, watcher)
            with self._lock:
                watcher.add(line_of(self._hello))
                for id, client in self._clients.items():
                    watcher.add(line_of(Seen(client=client)))
                    for line in self._past[id].lines:
                        watcher.add(line)
                if self._machine is not None:
                    watcher.add(line_of(self._machine))
                watcher.add(line_of(CaughtUp()))
                self._watchers.append(watcher)

    def _hear(self, watcher: _Watcher) -> None:
        try:
            data = watcher.link.recv(_READ_BYTES)
            if not data:
                raise BadMessage("It is gone.")
            for line in watcher.lines.add(data):
                self._heed(watcher, wish_of(line))
        except BlockingIOError:
            pass
        except (OSError, BadMessage):
            self._drop(watcher)

    def _heed(self, watcher: _Watcher, wish: AnyWish) -> None:
        if isinstance(wish, announced.Here):
            watcher.here = time.monotonic()
        elif self._wishes.acquire(blocking=False):
            threading.Thread(target=self._fulfil, args=(watcher, wish), name="wish", daemon=True).start()
        else:
            self._reply(watcher, Done(number=wish.number, ok=False, text="Too much is wanted at once."))

    def _fulfil(self, watcher: _Watcher, wish: AnyWish) -> None:
        ok = False
        try:
            text, ok = self._do(wish), True
        except SchedtuiError as error:
            text = f"{error.message} {error.remedy}".rstrip()
        except Exception as error:  # noqa: BLE001  a fault of ours in a thread must reach the user too
            text = unexpected(error).message
        finally:
            self._wishes.release()
        self._reply(watcher, Done(number=wish.number, ok=ok, text=text))

    def _do(self, wish: AnyWish) -> str:
        match wish:
            case announced.Answer():
                return self._hands.answer(wish.client, wish.question, wish.choice)
            case announced.TakeBack():
                return self._hands.take_back(wish.client)
            case announced.GiveBack():
                return self._hands.give_back(wish.client)
            case announced.Disconnect():
                return self._hands.disconnect(wish.client)
            case announced.Here():
                return ""

    def _reply(self, watcher: _Watcher, done: Done) -> None:
        with self._lock:
            watcher.add(line_of(done))
        self._stir()

    def _write(self) -> None:
        with self._lock:
            watchers = list(self._watchers)
        for each in watchers:
            with self._lock:
                alive = each.write()
            if not alive:
                self._drop(each)
            else:
                wanted = selectors.EVENT_READ | (selectors.EVENT_WRITE if each.unsent else 0)
                if self._selector.get_key(each.link).events != wanted:
                    self._selector.modify(each.link, wanted, each)

    def _drop(self, watcher: _Watcher) -> None:
        with self._lock:
            if watcher not in self._watchers:
                return
            self._watchers.remove(watcher)
        self._selector.unregister(watcher.link)
        watcher.link.close()


class _Watcher:
    """One who watches, as the server sees it."""

    def __init__(self, link: socket.socket) -> None:
        self.link = link
        self.lines = Lines(LONGEST_WISH)
        self.here = 0.0
        """When a person was last said to be there, in monotonic time; 0: never."""
        self._unsent: collections.deque[bytes] = collections.deque()
        self._bytes = 0

    @property
    def unsent(self) -> bool:
        """Whether there is more than it has read."""
        return bool(self._unsent)

    def add(self, line: bytes) -> None:
        """One more line for it."""
        if self._bytes <= UNREAD_BYTES:
            self._unsent.append(line)
            self._bytes += len(line)

    def write(self) -> bool:
        """What it takes now; no when it is gone, or has left too much unread."""
        try:
            while self._unsent:
                line = self._unsent[0]
                sent = self.link.send(line, socket.MSG_NOSIGNAL)
                self._bytes -= sent
                if sent < len(line):
                    self._unsent[0] = line[sent:]
                    break
                self._unsent.popleft()
        except BlockingIOError:
            pass
        except OSError:
            return False
        return self._bytes <= UNREAD_BYTES


class _Past:
    """What a client did last, for those who come later."""

    def __init__(self) -> None:
        self.lines: collections.deque[bytes] = collections.deque()
        self._bytes = 0
        self._passing = False

    def add(self, line: bytes, *, passing: bool) -> None:
        """``passing``: only the last of several in a row is kept."""
        if self._passing and passing:
            self._bytes -= len(self.lines.pop())
        self.lines.append(line)
        self._bytes += len(line)
        self._passing = passing
        while len(self.lines) > PAST_EVENTS or (self._bytes > PAST_BYTES and len(self.lines) > 1):
            self._bytes -= len(self.lines.popleft())


def machine_seen(frame: Frame) -> MachineSeen:
    """A frame in a few numbers."""
    used = [each.used_percent for each in frame.cpus]
    latency, scheduler = frame.latency, frame.scheduler
    return MachineSeen(
        scheduler=scheduler.name,
        state=scheduler.sched_ext,
        used_percent=sum(used) / len(used) if used else 0.0,
        p50_us=latency.p50_us if latency else None,
        p99_us=latency.p99_us if latency else None,
        latched=scheduler.latched,
    )


def _shown(event: AnyEvent) -> AnyEvent | None:
    """An event as the screens need it; None for what they do not show."""
    match event:
        case Spent():
            return None
        case Called():
            return replace(event, arguments={}, title=event.title[:_LONGEST_TEXT])
        case Returned():
            return replace(event, summary=event.summary[:_LONGEST_TEXT], details=event.details[:_LONGEST_TEXT])
        case Said() | Warned():
            return replace(event, text=event.text[:_LONGEST_TEXT])
        case _:
            return event


def _cut(event: AnyEvent) -> AnyEvent:
    """What stands for an event whose line would be too long. A question can be answered all the same."""
    if isinstance(event, Asked):
        question = event.question
        text = f"{question.text[:_LONGEST_TEXT]}\nIts source is too long to be shown here."
        return replace(event, question=replace(question, text=text, source="", diff=""))
    if isinstance(event, Planned):
        return replace(event, plan=replace(event.plan, change=""))
    return event
