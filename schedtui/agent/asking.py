"""Whom the tools ask, and whom they tell: a person, or the settings that answer in their place.

What is asked, and what an answer leads to, is the engine's and the tools'.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Literal

from schedtui.agent.budget import Budget
from schedtui.agent.events import Answered, Asked, Event, Listen, Question
from schedtui.agent.mind import Stopped
from schedtui.agent.trust import Allowed, Refused, Trust, TrustLevel
from schedtui.backend.model import MachineKind

Consent = Literal["ask", "yes", "no"]
"""Who answers questions: a person; a setting that says yes; a setting that leaves everything as it is, save in the lab,
which is nobody's desktop."""
EndState = Literal["kept", "reverted", "proposed", "refused", "stopped", "failed", "unknown"]
_POLL_S = 0.05


class Declined(Stopped):
    """A person, or nobody being there, leaves everything as it is."""

    kind = "declined"

    def __init__(self, state: EndState, message: str, remedy: str = "") -> None:
        super().__init__(message, remedy)
        self.state: EndState = state


class Asking:
    """Of one request; see bench.Person. ``replies`` gets what a person answers: a question's id and a choice's.

    ``attended``: with a consent of ``no``, a person may come and go; while it says so, they are asked.
    """

    def __init__(
        self,
        *,
        consent: Consent,
        kind: MachineKind,
        trust: Trust,
        budget: Budget,
        listen: Listen,
        stop: threading.Event,
        replies: queue.SimpleQueue[tuple[str, str]],
        record: Callable[..., None],
        attended: Callable[[], bool] = lambda: False,
    ) -> None:
        self._setting: Consent = consent
        self._attended = attended
        self._kind = kind
        self._trust = trust
        self._budget = budget
        self._listen = listen
        self._stop = stop
        self._replies = replies
        self._record = record
        self.began = time.monotonic()
        """Monotonic time."""

    @property
    def _consent(self) -> Consent:
        return "ask" if self._setting == "no" and self._attended() else self._setting

    @property
    def seconds(self) -> float:
        """Since the request began."""
        return time.monotonic() - self.began

    def tell(self, kind: type[Event], **fields: Any) -> None:
        """See bench.Person."""
        event = kind(at_s=self.seconds, **fields)
        self._listen(event)  # type: ignore[arg-type]

    def ask(self, question: Question, over: Callable[[], bool] = lambda: False, *, good: bool = False) -> Answered:
        """See bench.Person."""
        self.tell(Asked, question=question)
        by: Literal["person", "setting", "countdown"] = "setting"
        choice = self._by_setting(question, good)
        if not choice:
            with self._budget.waiting():
                choice, by = self._by_person(question, over, good)
        answered = Answered(at_s=self.seconds, question_id=question.id, choice=choice, by=by)
        self._listen(answered)
        self._record("answer", question=question.title, choice=choice, by=by)
        return answered

    def waiting(self) -> AbstractContextManager[None]:
        """See bench.Person."""
        return self._budget.waiting()

    def consent(self, needed: TrustLevel, question: Question) -> bool:
        """See bench.Person."""
        may = self._trust.may(needed, attended=self._consent == "ask")
        if isinstance(may, Allowed) and not (self._consent == "no" and self._kind == "host"):
            return False
        answered = self.ask(question)
        if answered.choice == "yes":
            return answered.by == "person"
        if answered.by != "setting":
            raise Declined("refused", f"{question.policy} was not tried, as you said.", "Its proof is kept.")
        why = may.reason if isinstance(may, Refused) else "Nobody said yes."
        raise Declined(
            "proposed",
            f"{question.policy} was proven, and not tried. {why}",
            "Say it again with --yes: then it is tried, measured, and kept only when it is better.",
        )

    def _by_setting(self, question: Question, good: bool) -> str:
        """What a setting answers; nothing when a person is to be asked."""
        if self._consent == "ask":
            return ""
        safe = question.choices[-1][0]
        if self._consent == "no" and self._kind != "lab":
            return safe
        if question.kind == "try":
            return question.choices[0][0]
        if question.kind == "keep":
            return question.choices[0][0] if good else safe
        return safe

    def _by_person(
        self, question: Question, over: Callable[[], bool], good: bool
    ) -> tuple[str, Literal["person", "setting", "countdown"]]:
        known = [id for id, _ in question.choices]
        deadline = time.monotonic() + question.countdown_s if question.countdown_s else None
        while True:
            if self._stop.is_set():
                raise Stopped("Stopped, as you asked.")
            try:
                asked, choice = self._replies.get(timeout=_POLL_S)
            except queue.Empty:
                if choice := self._by_setting(question, good):  # the person left
                    return choice, "setting"
                if over() or (deadline is not None and time.monotonic() >= deadline):
                    return known[-1], "countdown"
                continue
            if asked == question.id and choice in known:
                return choice, "person"
