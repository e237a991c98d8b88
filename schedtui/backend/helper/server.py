"""The helper's service: what all its clients share, and the threads that work for them.

One thread reads every client and answers what takes no time; it starts no threads and waits for nobody, because a
thread that is made under a bad scheduler may never begin. All others are made before the first client comes: panic has
one of its own, what changes the machine goes through one in order, looking, long requests and the streams have theirs.
What each message does is the table of handlers' (handlers.py).
"""

from __future__ import annotations

import contextlib
import os
import queue
import select
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from enum import Enum, auto
from typing import Any, Generic, TypeVar

import msgspec
from msgspec import Struct

from schedtui.backend.errors import BadMessage, SchedtuiError
from schedtui.backend.helper import heartbeat, protocol
from schedtui.backend.helper.control import SchedulerControl, become_realtime
from schedtui.backend.helper.latch import Latch
from schedtui.backend.helper.protocol import Reply, Request
from schedtui.backend.helper.session import Channel, Limits, Session, SocketChannel
from schedtui.backend.model import Event, Frame, MachineInfo
from schedtui.backend.probes.sampler import Samplers
from schedtui.backend.workloads import Workloads

_MAX_ASIDE = 4
_MAX_EVENTS = 100
_WATCH_S = 0.2
_RESCAN_S = 1.0
_FIRST_FRAME_S = 0.25
_LEAST_INTERVAL_S = 0.05
_ACCEPTED_AT_ONCE = 8
_AFTER_REFUSAL_S = 0.02

BodyT = TypeVar("BodyT")


class Lane(Enum):
    """The thread that answers."""

    AT_ONCE = auto()
    """The one that reads: only what waits for nothing."""
    PANIC = auto()
    LOOK = auto()
    """Reads counters: may load a probe first."""
    IN_ORDER = auto()
    """Changes the machine."""
    ASIDE = auto()
    """Takes long; a few at once, others are refused."""


class Asked(Struct, Generic[BodyT], frozen=True):
    """One request, as its handler gets it."""

    id: int
    body: BodyT
    panics: int
    """How often panic had come when it arrived."""
    file: int | None = None
    """The descriptor that came with it, when its body is ``sealed``. It is closed after the answer."""


Answer = Callable[[Session, Asked[Any]], Reply]


class Handler(Struct, frozen=True):
    """What a message does, and in which thread."""

    lane: Lane
    answer: Answer


Handlers = Mapping[type, Handler]
Admit = Callable[[socket.socket], Session | None]
"""Makes a session of a connection; None when it was refused, and is the server's to close."""


class Server:
    """Shared by all clients, and outlives them."""

    def __init__(
        self,
        info: MachineInfo,
        samplers: Samplers,
        handlers: Handlers | None = None,
        *,
        workloads: Workloads | None = None,
        set_clock: Callable[[int], None] | None = None,
        latch: Latch | None = None,
        stop_others: Callable[[], Sequence[str]] = tuple,
        watch_heartbeat: bool = False,
    ) -> None:
        """``latch`` and ``stop_others``: see SchedulerControl. ``watch_heartbeat``: what starves normal tasks goes."""
        self.info = info
        self.samplers = samplers
        self.workloads = workloads
        self.set_clock = set_clock
        self.sessions: tuple[Session, ...] = ()
        self.control = SchedulerControl(self.announce, latch, stop_others)
        self._handlers: Handlers = handlers or {}
        self._unseen: deque[Event] = deque(maxlen=_MAX_EVENTS)
        self._events_lock = threading.Lock()
        self._stirred = threading.Condition()
        self._stop = threading.Event()
        self._watch_now = threading.Event()
        self._poll = select.epoll()
        self._woken = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._poll.register(self._woken, select.EPOLLIN)
        self._by_number: dict[int, Session] = {}
        self._listener: socket.socket | None = None
        self._admit: Admit | None = None
        self._idle: Callable[[], bool] | None = None
        self._held: dict[int, float] = {}
        """Numbers of the channels that are not read until a time, because they send too fast."""
        self._lanes: dict[Lane, queue.SimpleQueue[Callable[[], None]]] = {
            lane: queue.SimpleQueue() for lane in Lane if lane is not Lane.AT_ONCE
        }
        self._discarded: queue.SimpleQueue[int | socket.socket] = queue.SimpleQueue()
        self._idle_aside = threading.BoundedSemaphore(_MAX_ASIDE)
        for lane in self._lanes:
            for _ in range(_MAX_ASIDE if lane is Lane.ASIDE else 1):
                self._thread(lane.name.lower(), lambda lane=lane: self._work(lane))  # type: ignore[misc]
        self._thread("stream", self._stream)
        self._thread("watch", self._watch)
        self._thread("discard", self._close_discarded)
        if watch_heartbeat:
            control = self.control
            self._thread("heartbeat", lambda: heartbeat.watch(control.held, control.wait_for_load, control.starved))

    # Clients.

    def add(self, channel: Channel, limits: Limits, *, uid: int = 0, pid: int = 0, successor: bool = False) -> Session:
        """Serve one more. A ``successor`` of a helper that died tells the client so.

        Call it from the thread that calls ``run``, or before that.
        """
        session = Session(channel, limits, uid, pid, self.samplers.watch(), self._discarded.put, self._poll_for_writing)
        with self._events_lock:
            self.sessions = (*self.sessions, session)
        self._by_number[channel.fileno] = session
        self._poll.register(channel.fileno, select.EPOLLIN)
        if successor:
            with contextlib.suppress(OSError):
                channel.write(memoryview(b"\n"))  # ends the line that may have been cut
            session.send(Reply(0, info=self.info))
            text = f"The helper was ended and started again; {self.control.scheduler().name} runs"
            self.announce(Event(time=time.time(), kind="warning", text=text))
        return session

    def listen(self, listener: socket.socket, admit: Admit) -> None:
        """Serve whoever connects and is admitted."""
        listener.setblocking(False)
        self._listener, self._admit = listener, admit
        self._poll.register(listener.fileno(), select.EPOLLIN)

    def discard(self, thing: int | socket.socket) -> None:
        """Close a descriptor of a client's in a thread that may wait for it."""
        self._discarded.put(thing)

    def run(self, idle: Callable[[], bool] | None = None) -> None:
        """Read and answer until ``close``, or until there is neither a client nor a listener.

        ``idle`` is asked about once a second while there is no client: when it says yes, that is the end too.
        """
        become_realtime()
        self._idle = idle
        while not self._stop.is_set() and (self._listener or self.sessions):
            for number, events in self._poll.poll(self._patience_s()):
                self._serve(number, events)
            self._serve_held()
            self._end_the_gone()
            if idle and not self.sessions and idle():
                return

    def answer_by(self, handlers: Handlers) -> None:
        """From now on; before ``run``."""
        self._handlers = handlers

    def stop(self) -> None:
        """End ``run``. Waits for nothing: a signal's handler may call it."""
        self._stop.set()
        os.eventfd_write(self._woken, 1)

    def close(self) -> None:
        """Let go of the scheduler and end every workload. Waits for an unload."""
        self.stop()
        self.stir()
        self.control.close()
        if self.workloads:
            self.workloads.stop()

    # What handlers use.

    def announce(self, event: Event) -> None:
        """Tell every client what happened; when there is none, the next one."""
        with self._events_lock:
            self._tell(event)
        self.stir()

    def subscribe(self, session: Session, interval_s: float) -> None:
        """Begin a session's stream of Frames, or (0) end it."""
        with self._events_lock:
            if interval_s:
                while self._unseen:
                    session.tell(self._unseen.popleft())
            session.interval_s, session.due = interval_s, None
        self.stir()

    def stir(self) -> None:
        """Something happened that Frames should tell soon."""
        with self._stirred:
            self._stirred.notify_all()

    # The loop.

    def _serve(self, number: int, events: int) -> None:
        if self._listener and number == self._listener.fileno():
            self._accept()
            return
        session = self._by_number.get(number)
        if session is None:
            return
        if events & select.EPOLLOUT:
            self._poll.modify(number, self._reading(number))
            session.flush()
            self.stir()
        if events & ~select.EPOLLOUT:
            for request in session.receive():
                self._take(session, request)
            self._hold(session)

    def _accept(self) -> None:
        assert self._listener is not None and self._admit is not None
        refused = False
        for _ in range(_ACCEPTED_AT_ONCE):
            try:
                connection, _ = self._listener.accept()
            except OSError:
                break
            if self._admit(connection) is None:
                self.discard(connection)
                refused = True
        if refused:  # whoever may not come in keeps the others waiting a moment, and not this thread busy
            number = self._listener.fileno()
            self._held[number] = time.monotonic() + _AFTER_REFUSAL_S
            self._poll.modify(number, 0)

    def _hold(self, session: Session) -> None:
        wait_s = session.held_s()
        if wait_s and not session.gone:
            self._held[session.channel.fileno] = time.monotonic() + wait_s
            self._poll.modify(session.channel.fileno, select.EPOLLOUT)

    def _serve_held(self) -> None:
        now = time.monotonic()
        for number in [number for number, until in self._held.items() if until <= now]:
            del self._held[number]
            session = self._by_number.get(number)
            if session is None:
                self._poll.modify(number, select.EPOLLIN)  # the listener
                continue
            self._poll.modify(number, select.EPOLLIN | select.EPOLLOUT)
            for request in session.waiting_requests():
                self._take(session, request)
            self._hold(session)

    def _patience_s(self) -> float | None:
        if self._held:
            return max(0.0, min(self._held.values()) - time.monotonic())
        if any(session.waits_for_more and session.limits.half_message_s for session in self.sessions):
            return 1.0
        return 1.0 if self._idle and not self.sessions else None

    def _end_the_gone(self) -> None:
        now = time.monotonic()
        for session in self.sessions:
            if session.overdue(now):
                session.fail(0, BadMessage("Half a message came, and its end did not."))
                session.end()
            if session.gone:
                self._forget(session)

    def _tell(self, event: Event) -> None:
        watching = [session for session in self.sessions if session.interval_s]
        for session in watching:
            session.tell(event)
        if not watching:
            self._unseen.append(event)

    def _forget(self, session: Session) -> None:
        number = session.channel.fileno
        with self._events_lock:
            self.sessions = tuple(each for each in self.sessions if each is not session)
            for event in session.take_events():
                self._tell(event)
        del self._by_number[number]
        self._held.pop(number, None)
        with contextlib.suppress(OSError):
            self._poll.unregister(number)
        session.drop_files()
        if isinstance(session.channel, SocketChannel):
            self.discard(session.channel.link)
        self._lanes[Lane.LOOK].put(session.watcher.close)
        if self.workloads:
            self._lanes[Lane.IN_ORDER].put(self.workloads.stop)
        self._watch_now.set()

    def _poll_for_writing(self, session: Session) -> None:
        with contextlib.suppress(OSError):  # it ended meanwhile
            number = session.channel.fileno
            self._poll.modify(number, self._reading(number) | select.EPOLLOUT)

    def _reading(self, number: int) -> int:
        return 0 if number in self._held else select.EPOLLIN

    # Requests.

    def _take(self, session: Session, request: Request) -> None:
        handler = self._handlers.get(type(request.body))
        if handler is None:
            session.fail(request.id, BadMessage("This helper does not do that.", "It is for the lab alone."))
            return
        if not session.greeted and not isinstance(request.body, protocol.Hello | protocol.DoPanic):
            session.fail(request.id, BadMessage("A client says hello first.", "Update both to the same schedtui."))
            return
        file = session.take_file() if getattr(request.body, "sealed", False) else None
        asked = Asked(request.id, request.body, self.control.panics, file)
        if handler.lane is Lane.AT_ONCE:
            self._answer(session, asked, handler.answer)
        elif refusal := self._refusal(session, handler.lane):
            session.fail(request.id, refusal)
        else:
            session.waits(+1)
            self._lanes[handler.lane].put(lambda: self._answer_later(session, asked, handler))
            return
        if file is not None:
            self.discard(file)

    def _refusal(self, session: Session, lane: Lane) -> BadMessage | None:
        if session.unanswered >= session.limits.unanswered and lane is not Lane.PANIC:
            return BadMessage(f"{session.unanswered} requests wait already.", "Wait for one of them to end.")
        if lane is Lane.ASIDE and not self._idle_aside.acquire(blocking=False):
            return BadMessage(f"{_MAX_ASIDE} commands already run here.", "Wait for one of them to end.")
        return None

    def _answer_later(self, session: Session, asked: Asked[Any], handler: Handler) -> None:
        try:
            if not session.gone:
                self._answer(session, asked, handler.answer)
        finally:
            session.waits(-1)
            if asked.file is not None:
                self.discard(asked.file)
            if handler.lane is Lane.ASIDE:
                self._idle_aside.release()

    def _answer(self, session: Session, asked: Asked[Any], answer: Answer) -> None:
        try:
            session.send(answer(session, asked))
        except SchedtuiError as error:
            session.fail(asked.id, error)
        except Exception as error:  # noqa: BLE001 - the edge: a fault of ours must reach the user as a sentence
            session.fail(asked.id, SchedtuiError(f"The helper failed: {type(error).__name__}: {error}"))

    # The threads.

    def _thread(self, name: str, work: Callable[[], None]) -> None:
        def begin() -> None:
            become_realtime()
            work()

        threading.Thread(target=begin, name=name, daemon=True).start()

    def _work(self, lane: Lane) -> None:
        while True:
            self._lanes[lane].get()()

    def _close_discarded(self) -> None:
        while True:
            thing = self._discarded.get()
            with contextlib.suppress(OSError):
                if isinstance(thing, socket.socket):
                    thing.close()
                else:
                    os.close(thing)

    def _watch(self) -> None:
        scanned = time.monotonic()
        while not self._stop.is_set():
            self._watch_now.wait(_WATCH_S)
            self._watch_now.clear()
            self.control.notice_exit()
            self.control.watch_lease()
            if time.monotonic() - scanned > _RESCAN_S:
                scanned = time.monotonic()
                with contextlib.suppress(SchedtuiError):  # the probe's map is full: who is in it is counted
                    self.samplers.rescan()

    def _stream(self) -> None:
        while not self._stop.is_set():
            with self._stirred:
                self._stirred.wait(self._next_frame_s())
            now = time.monotonic()
            for session in self.sessions:
                due = session.frame_due()
                if due is not None and due <= now:
                    self._send_frame(session)

    def _next_frame_s(self) -> float | None:
        due = [each for each in (session.frame_due() for session in self.sessions) if each is not None]
        return max(0.0, min(due) - time.monotonic()) if due else None

    def _send_frame(self, session: Session) -> None:
        interval_s, begins = session.interval_s, session.due is None
        frame = session.watcher.sample()
        if frame is None or not interval_s:
            return
        now = time.monotonic()
        if begins:  # what lies before, a snapshot perhaps, is no part of the stream
            session.due = session.not_before = now + min(interval_s, _FIRST_FRAME_S)
            return
        session.due = max((session.due or now) + interval_s, now + interval_s / 4)
        session.not_before = now + _LEAST_INTERVAL_S
        session.send(Reply(0, frame=self._complete(session, frame)))

    def _complete(self, session: Session, frame: Frame) -> Frame:
        return msgspec.structs.replace(
            frame,
            scheduler=self.control.scheduler(),
            workloads=self.workloads.status() if self.workloads else (),
            events=session.take_events(),
        )
