"""One connected program: its identity, its calls one after the other, and what must not outlive it.

What it may call is the registry's (agent/tools.py), in which order stages.py's, how it is connected server.py's. The
tools run in a thread of the client, so that a call can be stopped at any moment, and the machine is on a known
scheduler when it was.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import queue
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import msgspec
from msgspec import Struct, field

from schedtui.agent import toolset
from schedtui.agent.bench import Request
from schedtui.agent.budget import Budget
from schedtui.agent.events import AnyEvent, Called, Ended, Listen, Question, Returned
from schedtui.agent.masking import Masker
from schedtui.agent.mind import Call, RoleName, Stopped
from schedtui.agent.tools import Correction, Result, Tool, Toolbox, cleaned, refusal
from schedtui.agent.trajectory import Trajectory
from schedtui.agent.trust import Trust
from schedtui.agent.trying import take_away
from schedtui.backend.errors import NotPermitted, SchedtuiError
from schedtui.faults import unexpected
from schedtui.mcp import requests
from schedtui.mcp.allowance import Allowance
from schedtui.mcp.bench import ClientBench
from schedtui.mcp.person import ClientPerson, is_open

if TYPE_CHECKING:
    from schedtui.desk import Desk
    from schedtui.mcp.place import Place

WAITING = 16
"""Calls of one client that may wait for their turn."""
_CLOSING_S = 30.0
_LONGEST_LABEL = 60


class Job(Struct, kw_only=True, eq=False):
    """A call on its way."""

    call: Call
    heard: Listen | None = None
    """Gets what happens meanwhile."""
    future: Future[Result] = field(default_factory=Future)
    client: Client

    def cancel(self) -> None:
        """Nobody waits for it any more: it is stopped, and what it tried is taken away."""
        self.client.cancelled(self)


def registry() -> list[Tool[ClientBench, Any]]:
    """Every tool that a connected program has."""
    found = [*cast(list[Tool[ClientBench, Any]], toolset.tools()), *requests.tools()]
    if importlib.util.find_spec("schedtui.mcp.research"):
        found += importlib.import_module("schedtui.mcp.research").tools()
    return found


class Client:
    """See the module. ``name`` is who it is, as whoever started the server said, or its token; never what it says."""

    def __init__(self, place: Place, name: str, label: str = "", *, allowance: Allowance | None = None) -> None:
        self.place = place
        self.name = name
        self.identity = f"mcp:{name}"
        """For trust, history and audit."""
        self.label = ""
        """What it calls itself, for people to read."""
        self.relabel(label)
        self.allowance = allowance or Allowance()
        self.since = time.time()
        """Unix time."""
        self.attended: Callable[[], bool] = lambda: False
        """Whether a person is there to be asked."""
        self.question: Question | None = None
        self.doing = ""
        """The title of the call that runs; empty between calls."""
        self.bench: ClientBench | None = None
        self.toolbox: Toolbox[ClientBench] = Toolbox(registry())
        self.trust = Trust(self.identity, automatic=place.consent == "yes")
        self._masker = Masker.here(identity=True)
        self._listeners: list[Listen] = []
        self._lock = threading.RLock()
        self._stop = threading.Event()
        self._closed = False
        self._current: Job | None = None
        self._waiting: queue.Queue[Job | None] = queue.Queue()
        self._aside: queue.Queue[Job | None] = queue.Queue()
        self._replies: queue.SimpleQueue[tuple[str, str]] = queue.SimpleQueue()
        self._folder = tempfile.TemporaryDirectory(prefix="schedtui-mcp-")
        self._threads = [
            threading.Thread(target=self._work, args=(line, aside), name=f"mcp client {name}", daemon=True)
            for line, aside in ((self._waiting, False), (self._aside, True))
        ]
        self._begin_trajectory(Request(words=f"Work of {name}"))
        for each in self._threads:
            each.start()
        place.came(self)

    def relabel(self, words: str) -> None:
        """What it calls itself, as it may be shown."""
        self.label = " ".join(cleaned(words[:1000]).split())[:_LONGEST_LABEL]

    def masked(self, text: str) -> str:
        """As it may leave this computer: without secrets and names."""
        return self._masker.masked(text)

    # ---- from other threads ----

    def specs(self) -> list[Tool[ClientBench, Any]]:
        """Its tools."""
        return self.toolbox.tools()

    def submit(self, tool: str, arguments: str, heard: Listen | None = None) -> Job:
        """Have a tool called with these arguments (JSON), after those before it. Its future never raises a fault.

        Raises NotPermitted when too many wait, OverAllowance, and Stopped once the client is closed.
        """
        job = Job(call=Call(id="", tool=tool, arguments=arguments), heard=heard, client=self)
        with self._lock:
            if self._closed:
                raise Stopped("This connection has ended.")
            line = self._aside if tool in requests.AT_ONCE else self._waiting
            if line.qsize() >= WAITING:
                raise NotPermitted(f"{WAITING} calls wait for their turn already.", "Wait for their answers first.")
            self.allowance.call(tool, len(arguments))
            line.put(job)
        return job

    def call(self, tool: str, arguments: str = "", heard: Listen | None = None) -> Result:
        """The same, waited for. What was refused is a Result that is not ok."""
        try:
            return self.submit(tool, arguments, heard).future.result()
        except SchedtuiError as error:
            return refusal(error)

    def cancelled(self, job: Job) -> None:
        """Nobody waits for ``job`` any more."""
        with self._lock:
            job.future.cancel()
            if self._current is job:
                self._stop.set()

    def stop(self, why: str) -> None:
        """A person takes the machine back from this client: what runs is stopped, what it tried is gone."""
        with self._lock:
            if self._current is not None:
                self._stop.set()
        self.settle(why)

    def take_back(self) -> None:
        """The client itself has enough: the same, and what it had kept goes too."""
        self.stop("It was taken back.")
        bench = self.bench
        if bench is None:
            return
        for each in bench.kept:
            bench.deployer.revert(each, "It was taken back.", by=self.identity)

    def listen(self, listener: Listen) -> Callable[[], None]:
        """Hear every event, in the client's thread; call the result to hear no more."""
        with self._lock:
            self._listeners.append(listener)

        def forget() -> None:
            with self._lock, contextlib.suppress(ValueError):
                self._listeners.remove(listener)

        return forget

    def reply(self, question_id: str, choice: str) -> None:
        """A person's answer; one that is not waited for changes nothing."""
        self._replies.put((question_id, choice))

    def close(self, why: str) -> None:
        """It is gone: stop what it does, take away what nobody kept. May be called twice; waits for its end."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            self._stop.set()
            for line in (self._waiting, self._aside):
                line.put(None)
        for each in self._threads:
            if each is not threading.current_thread():
                each.join(_CLOSING_S)
        self.settle(why)
        self._end(why)
        self.place.went(self)
        with contextlib.suppress(OSError):
            self._folder.cleanup()

    # ---- the request ----

    def begin(self, request: Request) -> None:
        """A new request, in place of the one before: what that tried and nobody kept is taken away."""
        before = self.bench
        self.settle("A new request began.")
        if before is not None:
            self._end("A new request began.")
            self._begin_trajectory(request)
        desk = self.place.desk(self._stop)
        self.bench = ClientBench(
            client=self,
            before=before,
            request=request,
            machine=desk.machine,
            info=desk.info,
            watch=desk.watch,
            store=desk.store,
            folder=Path(self._folder.name),
            mind_name=self.identity,
            deployer=desk.deployer,
            person=self._person(desk),
            stop=self._stop,
            kernel=desk.kernel,
        )

    def settle(self, why: str) -> None:
        """What it tried and nobody kept goes."""
        bench = self.bench
        if bench is not None:
            take_away(bench, why)
            self.place.release(self)

    def _person(self, desk: Desk) -> ClientPerson:
        return ClientPerson(
            consent=self.place.consent,
            attended=lambda: self.attended(),
            kind=desk.info.kind,
            trust=self.trust,
            budget=Budget(),
            listen=self._heard,
            stop=self._stop,
            replies=self._replies,
            record=self._record,
        )

    def _begin_trajectory(self, request: Request) -> None:
        self._began = time.monotonic()
        self._trajectory = Trajectory(request.words, self.identity, self._masker, leaves_computer=True)

    def _end(self, why: str) -> None:
        if self._trajectory.record.events:
            self._heard(Ended(at_s=self._seconds(), state="stopped", text=why))
            with contextlib.suppress(SchedtuiError):
                self._trajectory.save()

    def _record(self, act: str, **details: object) -> None:
        bench = self.bench
        if bench is not None:
            self.place.desk(self._stop).audit.append(self.identity, act, {"request": bench.request_id, **details})

    # ---- its threads ----

    def _work(self, line: queue.Queue[Job | None], aside: bool) -> None:
        while (job := line.get()) is not None:
            with self._lock:
                if self._closed or not job.future.set_running_or_notify_cancel():
                    job.future.cancel()
                    continue
                if not aside:
                    self._current = job
            try:
                result = self._answer(job)
            finally:
                with self._lock:
                    if not aside:
                        self._current = None
                        if not self._closed:
                            self._stop.clear()
            job.future.set_result(result)

    def _answer(self, job: Job) -> Result:
        """Never raises."""
        forget = self.listen(job.heard) if job.heard else (lambda: None)
        began = time.monotonic()
        try:
            result = self._run(job.call)
        except Correction as correction:
            result = Result(text=str(correction), summary=str(correction), ok=False)
        except SchedtuiError as error:
            result = refusal(error)
        except Exception as fault:  # noqa: BLE001  a fault of ours is told like any other failure
            result = refusal(unexpected(fault))
        finally:
            forget()
            self.allowance.took(job.call.tool, time.monotonic() - began)
            self.doing = ""
            with contextlib.suppress(SchedtuiError):
                self._trajectory.save()
        return msgspec.structs.replace(result, text=self.masked(result.text))

    def _run(self, call: Call) -> Result:
        what = self.toolbox.understood(call, None, self._masker.restored)
        if self.bench is None:
            self.begin(Request(words=f"Work of {self.name}"))
        bench = self.bench
        assert bench is not None
        role: RoleName = next(iter(what.tool.roles), "execute")
        self.doing = what.title
        given = msgspec.to_builtins(what.arguments)
        self._heard(Called(at_s=self._seconds(), role=role, tool=call.tool, arguments=given, title=what.title))
        try:
            result = self.toolbox.run(bench, what)
        except SchedtuiError as error:
            result = refusal(error)
        self._heard(
            Returned(
                at_s=self._seconds(),
                role=role,
                tool=call.tool,
                ok=result.ok,
                summary=result.summary,
                details=result.details,
            )
        )
        return result

    def _heard(self, event: AnyEvent) -> None:
        self._trajectory.note(event)
        self.question = is_open(self.question, event)
        with self._lock:
            listeners = list(self._listeners)
        for each in listeners:
            each(event)

    def _seconds(self) -> float:
        return time.monotonic() - self._began
