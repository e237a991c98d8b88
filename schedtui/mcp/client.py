"""One connected program: its identity, its calls one after the other, and what must not outlive it.

What it may call is the registry's (agent/tools.py), in which order stages.py's, how it is connected server.py's. The
tools run in a thread of the client, so that a call can be stopped at any moment, and the machine is on a known
scheduler when it was.
"""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, cast

import msgspec
from msgspec import Struct, field

from schedtui.agent import toolset
from schedtui.agent.bench import Request
from schedtui.agent.budget import Budget
from schedtui.agent.events import AnyEvent, Called, Ended, Event, Listen, Progressed, Question, Returned, Warned
from schedtui.agent.masking import Masker
from schedtui.agent.mind import Call, RoleName, Stopped
from schedtui.agent.scratch import Scratch
from schedtui.agent.tools import Correction, Result, Tool, Toolbox, Understood, cleaned, refusal
from schedtui.agent.trajectory import Trajectory
from schedtui.agent.trust import Trust
from schedtui.agent.trying import take_away
from schedtui.backend.errors import NotPermitted, SchedtuiError
from schedtui.faults import unexpected
from schedtui.mcp import requests, research, stages
from schedtui.mcp.allowance import Allowance
from schedtui.mcp.bench import ClientBench
from schedtui.mcp.person import ClientPerson, is_open

if TYPE_CHECKING:
    from schedtui.agent.asking import EndState
    from schedtui.backend.audit import Audit
    from schedtui.backend.model import Deployment
    from schedtui.desk import Desk
    from schedtui.mcp.place import Place

WAITING = 16
"""Calls of one client that may wait for their turn."""
_CLOSING_S = 30.0
_SAVED_EVERY_S = 0.5
_SAVED_AT_LEAST_EVERY_S = 5.0
_ANEW = frozenset(("submit_workload", "submit_plan"))
"""After a request was finished, these begin the next."""
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
    return [*cast(list[Tool[ClientBench, Any]], toolset.tools()), *requests.tools(), *research.tools()]


class Client:
    """See the module. ``name`` is who it is, as whoever started the server said, or its token; never what it says."""

    def __init__(
        self, place: Place, name: str, label: str = "", *, allowance: Allowance | None = None, taken: bool = False
    ) -> None:
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
        self.taken = taken
        """A person took the machine back from it, and has not given it back."""
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
        self._audit: Audit | None = None
        self._beginning = threading.Lock()
        self._saved = 0.0
        self._closed = False
        self._current: Job | None = None
        self._waiting: queue.Queue[Job | None] = queue.Queue()
        self._aside: queue.Queue[Job | None] = queue.Queue()
        self._replies: queue.SimpleQueue[tuple[str, str]] = queue.SimpleQueue()
        self._folder = Scratch()
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
        self.place.changed(self)

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
        """What runs is stopped, what it tried and nobody kept is gone."""
        with self._lock:
            if self._current is not None:
                self._stop.set()
        self.settle(why)

    def take_back(self, why: str, *, by: str = "person") -> None:
        """The same, and what it had kept goes too. ``by``: who wants it, for history and trust."""
        self.stop(why)
        bench = self.bench
        if bench is None:
            return
        self._end_research(why, by=by)
        for each in (*bench.kept, *([bench.deployment] if bench.deployment else [])):
            if bench.deployer.current(each).state != "reverted":
                bench.deployer.revert(each, why, by=by)
        bench.kept.clear()

    def listen(self, listener: Listen) -> Callable[[], None]:
        """Hear every event, in the client's thread; call the result to hear no more."""
        with self._lock:
            self._listeners.append(listener)

        def forget() -> None:
            with self._lock, contextlib.suppress(ValueError):
                self._listeners.remove(listener)

        return forget

    def tell(self, kind: type[Event], **fields: Any) -> None:
        """Something happened to it outside of its calls."""
        self._heard(kind(at_s=self._seconds(), **fields))  # type: ignore[arg-type]

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
        with contextlib.suppress(SchedtuiError):
            self._end_research(why)
            self.settle(why)
        self._end(why)
        self.place.went(self)
        with contextlib.suppress(OSError):
            self._folder.close()

    # ---- the request ----

    def begin(self, request: Request) -> None:
        """A new request, in place of the one before: what that tried and nobody kept is taken away."""
        before = self.bench
        if before is not None:
            self.settle("A new request began.")
        if before is not None and (before.request_id is not None or self._ended):
            self._end("A new request began.")
            self._begin_trajectory(request)
        else:  # so far it only looked around
            self._trajectory.record.request = self.masked(request.words)
        desk = self.place.desk(self._stop, self._opening)
        self._audit = desk.audit
        self.bench = ClientBench(
            client=self,
            before=before,
            request=request,
            machine=desk.machine,
            info=desk.info,
            watch=desk.watch,
            store=desk.store,
            folder=self._folder.path,
            mind_name=self.identity,
            deployer=desk.deployer,
            person=self._person(desk),
            stop=self._stop,
            kernel=desk.kernel,
        )

    def keep_request(self) -> None:
        """In the history, from the first that is worth it."""
        bench = self.bench
        if bench is None or bench.request_id is not None:
            return
        try:
            bench.request_id = bench.store.add_request(
                bench.request.words, "", self.identity, self._trajectory.path, machine=bench.info.kind
            )
        except SchedtuiError as error:
            self._heard(Warned(at_s=self._seconds(), text=f"{error.message} The request goes on, and is not kept."))
        self._record("request", words=bench.request.words, label=self.label, machine=bench.info.kind)

    def settle(self, why: str) -> None:
        """What it tried and nobody kept goes."""
        bench = self.bench
        if bench is not None:
            take_away(bench, why)
            if bench.open_plan is not None and bench.deployment is not None:
                stages.ended(bench, why)

    def watch_kept(self, deployment: Deployment) -> None:
        """The circuit breaker has it from now on; what it cannot judge is told to whoever listens."""
        self.place.watch_kept(deployment, lambda _, text: self._heard(Warned(at_s=self._seconds(), text=text)))

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
        self._ended = False
        self._trajectory = Trajectory(request.words, self.identity, self._masker, leaves_computer=True)

    def _end(self, why: str) -> None:
        """Write down how the request ended."""
        bench = self.bench
        if self._ended or not self._trajectory.record.events:
            return
        self._ended = True
        state = self._state()
        text = bench.finished if bench and bench.finished else why
        self._heard(Ended(at_s=self._seconds(), state=state, text=text))
        with contextlib.suppress(SchedtuiError):
            self._trajectory.save()
        if bench is not None and bench.request_id is not None:
            self._record("ended", state=state)
            with contextlib.suppress(SchedtuiError):
                bench.store.finish_request(bench.request_id, state, text, seconds=self._seconds())
            bench.request_id = None

    def _state(self) -> EndState:
        bench = self.bench
        if bench is None or not bench.rounds:
            return "stopped"
        if bench.deployment is not None and bench.deployer.current(bench.deployment).state == "kept":
            return "kept"
        return "reverted" if any(each.comparison for each in bench.rounds) else "failed"

    def _end_research(self, why: str, *, by: str = "") -> None:
        """What its research tools began."""
        if self.bench is not None:
            research.close(self.bench, why, by=by)

    def _opening(self, stage: str, _seconds: float) -> None:
        self._heard(Progressed(at_s=self._seconds(), text=stage))

    def _record(self, act: str, **details: object) -> None:
        if self._audit is not None:
            request = self.bench.request_id if self.bench else None
            self._audit.append(self.identity, act, {"request": request, **details})

    # ---- its threads ----

    def _work(self, line: queue.Queue[Job | None], aside: bool) -> None:
        while (job := self._next(line)) is not None:
            with self._lock:
                if not job.future.set_running_or_notify_cancel():
                    continue
                closed = self._closed
                if not aside and not closed:
                    self._current = job
            if closed:
                job.future.set_result(refusal(Stopped("This connection has ended.")))
                continue
            try:
                result = self._answer(job)
            finally:
                with self._lock:
                    if not aside:
                        self._current = None
                        if not self._closed:
                            self._stop.clear()
            job.future.set_result(result)
            if time.monotonic() - self._saved > _SAVED_AT_LEAST_EVERY_S:
                self._save()

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
        return msgspec.structs.replace(result, text=self.masked(result.text))

    def _run(self, call: Call) -> Result:
        """Raises Correction, and what opening the machine does."""
        what = self.toolbox.understood(call, None, self._masker.restored)
        with self._beginning:
            if self.bench is None or (self.bench.finished and call.tool in _ANEW):
                self.begin(Request(words=f"Work of {self.name}"))
        bench = self.bench
        assert bench is not None
        role: RoleName = next(iter(what.tool.roles), "execute")
        given = msgspec.to_builtins(what.arguments)
        self._heard(Called(at_s=self._seconds(), role=role, tool=call.tool, arguments=given, title=what.title))
        aside = call.tool in requests.AT_ONCE
        self.doing = self.doing if aside else what.title
        try:
            result = self._done(bench, what)
        except SchedtuiError as error:
            result = refusal(error)
        except Correction as correction:
            result = Result(text=str(correction), summary=str(correction), ok=False)
        finally:
            self.doing = self.doing if aside else ""
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
        if call.tool == "finish" and result.ok:
            self._end(bench.finished)
        return result

    def _done(self, bench: ClientBench, what: Understood[ClientBench]) -> Result:
        """In its turn, by one client at a time, and with what follows from it."""
        name = what.tool.name
        stages.check(bench, name)
        claimed = what.title if name == "canary" else ""
        if claimed:
            self.place.claim(self, claimed)
        try:
            result = self.toolbox.run(bench, what)
            said = stages.follow(bench, name, result)
        except SchedtuiError as error:
            if name == "canary" and bench.deployment is not None:
                stages.ended(bench, error.message)
            raise
        finally:
            if claimed:
                self.place.release(self, claimed)
        return msgspec.structs.replace(result, text=f"{result.text}\n{said}") if said else result

    def _next(self, line: queue.Queue[Job | None]) -> Job | None:
        """The next call; what happened before is written down as soon as there is none for a moment."""
        with contextlib.suppress(queue.Empty):
            return line.get(timeout=_SAVED_EVERY_S)
        self._save()
        return line.get()

    def _save(self) -> None:
        """What happened so far. A record grows, and is written whole: not after each of many calls."""
        self._saved = time.monotonic()
        with contextlib.suppress(SchedtuiError):
            if self._trajectory.record.events:
                self._trajectory.save()

    def _heard(self, event: AnyEvent) -> None:
        self._trajectory.note(event)
        self.question = is_open(self.question, event)
        with self._lock:
            listeners = list(self._listeners)
        for each in listeners:
            each(event)

    def _seconds(self) -> float:
        return time.monotonic() - self._began
