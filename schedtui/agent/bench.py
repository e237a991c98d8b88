"""What the tools may touch while a request is worked on: the machine, the library, the store, the deployer, the person.

One for each request. It holds how far the request has come; the tools (toolset.py) change it, the engine (engine.py)
reads it. A mind never sees it.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol, TypeVar

from msgspec import Struct, field

from schedtui.agent import summary
from schedtui.agent.arguments import Tried
from schedtui.agent.draft import Draft
from schedtui.agent.events import Answered, Event, Question
from schedtui.agent.mind import RoleName, Stopped
from schedtui.agent.tools import Arguments, Result, Tool
from schedtui.agent.trust import TrustLevel
from schedtui.backend.deploy import Deployer
from schedtui.backend.errors import LabFailed, SchedtuiError
from schedtui.backend.library.catalogue import Library, load_library
from schedtui.backend.library.generated import Generated
from schedtui.backend.machine import Machine
from schedtui.backend.model import (
    Deployment,
    Frame,
    Loadable,
    MachineInfo,
    Plan,
    Policy,
    Report,
    Setting,
    Workload,
)
from schedtui.backend.store import Store

_Takes = TypeVar("_Takes", bound=Arguments)
KEPT_FRAMES = 120
_TICK_S = 0.05
_LONGEST_WAIT_S = 15.0
_NEARLY = 0.9


class Request(Struct, frozen=True, kw_only=True):
    """What a person asks for."""

    words: str
    folder: Path | None = None
    """Their project, when they named one."""
    command: tuple[str, ...] = ()
    """A command that should end sooner, when they gave one."""
    loads: tuple[str, ...] = ()
    """In the lab: the loads to run meanwhile; none: those that fit the words."""
    quick: bool = False
    """Prove it with a quick look only."""
    rounds: int = 3
    """At most so many plans are tried."""
    canary_s: float = 20.0
    """A canary is over after this long, decided or not."""


class Watch:
    """The last frames of a machine, from whoever consumes them. Its methods may be called from any thread."""

    def __init__(self) -> None:
        self._frames: deque[Frame] = deque(maxlen=KEPT_FRAMES)
        self._more = threading.Condition()
        self._failed: SchedtuiError | None = None

    def add(self, frame: Frame) -> None:
        """One more."""
        with self._more:
            self._frames.append(frame)
            self._more.notify_all()

    def fail(self, error: SchedtuiError) -> None:
        """No more will come, because of this."""
        with self._more:
            self._failed = error
            self._more.notify_all()

    def follow(self, machine: Machine, interval_s: float = 0.5) -> threading.Thread:
        """Consume the machine's frames until it is closed, in a thread of its own, which is returned."""

        def consume() -> None:
            try:
                for frame in machine.frames(interval_s):
                    self.add(frame)
            except SchedtuiError as error:
                self.fail(error)

        thread = threading.Thread(target=consume, name="frames for the agent", daemon=True)
        thread.start()
        return thread

    def last(self, seconds: float) -> list[Frame]:
        """Those of the last seconds, oldest first."""
        with self._more:
            if not self._frames:
                return []
            since = self._frames[-1].time - seconds
            return [each for each in self._frames if each.time > since]

    def collect(self, seconds: float, stop: threading.Event) -> list[Frame]:
        """Frames that cover the next ``seconds``, at least one. Raises Stopped, and LabFailed when none come."""
        began = time.monotonic()
        with self._more:
            first = self._frames[-1].sequence if self._frames else -1
            while True:
                if stop.is_set():
                    raise Stopped("The request was stopped.")
                new = [each for each in self._frames if each.sequence > first]
                if new and sum(each.interval_s for each in new) >= _NEARLY * seconds:
                    return new
                if self._failed:
                    raise self._failed
                if time.monotonic() - began > seconds + _LONGEST_WAIT_S:
                    raise LabFailed("The machine shows nothing of itself.", "Open it again.")
                self._more.wait(_TICK_S)


class Subject(Struct, frozen=True, kw_only=True):
    """What execute works on: a policy, or a draft of one, with settings, and what the verifier said of exactly that."""

    policy: Policy
    settings: dict[str, Setting] = field(default_factory=dict)
    draft: Draft | None = None
    """None for a policy of the library as it is."""
    report: Report | None = None
    """None when it was changed since."""
    obj: Loadable = b""
    """What ``report`` is about."""
    checked: bool = False
    """A version of it was checked already, so that another one is a repair."""


class Person(Protocol):
    """Whoever answers, and whoever is told: the engine."""

    def tell(self, kind: type[Event], **fields: object) -> None:
        """An event, now."""
        ...

    def ask(self, question: Question, over: Callable[[], bool] = lambda: False, *, good: bool = False) -> Answered:
        """The answer; the safe one when nobody gives any, or the question is ``over``. Raises Stopped.

        ``good``: what was measured speaks for keeping, so that a setting may say so.
        """
        ...

    def waiting(self) -> AbstractContextManager[None]:
        """While something else is waited for: that time is not the request's."""
        ...

    def consent(self, needed: TrustLevel, question: Question) -> bool:
        """It may be tried, by trust or a setting (False), or because a person said so (True). Raises Stopped."""
        ...


class Bench:
    """See the module."""

    def __init__(
        self,
        *,
        request: Request,
        machine: Machine,
        info: MachineInfo,
        watch: Watch,
        store: Store,
        folder: Path,
        mind_name: str,
        deployer: Deployer,
        person: Person,
        stop: threading.Event,
        request_id: int | None = None,
        kernel: Path | None = None,
        generated: Generated | None = None,
        library: Library | None = None,
    ) -> None:
        self.began = time.time()
        """Unix time."""
        self.request = request
        self.machine = machine
        self.info = info
        self.watch = watch
        self.store = store
        self.folder = folder
        """For drafts; goes with the request."""
        self.mind_name = mind_name
        self.deployer = deployer
        self.person = person
        self.stop = stop
        self.request_id = request_id
        self.kernel = kernel
        """The image that policies are proven on; None: the lab's own choice."""
        self.generated = generated or Generated()
        self.library = library or load_library()
        self.summary: summary.Summary | None = None
        self.workload: Workload | None = None
        self.plan: Plan | None = None
        self.subject: Subject | None = None
        self.repairs_left = 0
        self.deployment: Deployment | None = None
        """The last that was begun."""
        self.needed = TrustLevel.PROPOSE
        self.agreed = False
        """A person said that it may be tried."""
        self.fault = False
        """The canary took it away: it was worse, or something went wrong."""
        self.gave_up = ""
        self.finished = ""
        """What learn tells the person."""
        self.written: list[str] = []
        """Policies that this request put into the library."""
        self.notes_kept = 0
        self.rounds: list[Tried] = []

    @property
    def way_back(self) -> str:
        """The key with which a person takes away at any moment what is tried here."""
        return "F12"

    def look(self, seconds: float, *, back: bool = False) -> summary.Summary:
        """Sum the machine up over the next seconds, or with ``back`` the last ones. Raises Stopped, LabFailed."""
        frames = self.watch.last(seconds) if back else []
        if sum(each.interval_s for each in frames) < _NEARLY * seconds:
            frames = self.watch.collect(seconds, self.stop)
        self.summary = summary.summarise(frames, self.info)
        return self.summary

    def reload_library(self) -> None:
        """After a policy was added, promoted or retired."""
        self.library = load_library()

    def check_stop(self) -> None:
        """Raises Stopped once a person ended the request."""
        if self.stop.is_set():
            raise Stopped("The request was stopped.")


def role_tool(
    role: RoleName,
    name: str,
    description: str,
    arguments: type[_Takes],
    run: Callable[[Bench, _Takes], Result],
    title: Callable[[_Takes], str],
    **more: Any,
) -> Tool[Bench, Any]:
    """A tool of one role."""
    return Tool(
        name=name,
        description=description,
        arguments=arguments,
        run=run,
        title=title,
        roles=frozenset([role]),
        **more,
    )
