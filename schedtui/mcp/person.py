"""Whom a connected program's tools ask and tell: trust, then a person at a screen, then the setting of the server.

What the program itself answers is never a person's consent.
"""

from __future__ import annotations

from schedtui.agent import events as happened
from schedtui.agent.asking import Asking as ClientPerson
from schedtui.agent.events import Answered, AnyEvent, Asked, Question
from schedtui.backend.verifier.reports import VERDICTS

__all__ = ["ClientPerson", "in_words"]


def in_words(event: AnyEvent) -> str:
    """What happened, in a line for a person or a program that waits; nothing for what they see anyway."""
    match event:
        case happened.Progressed() | happened.Warned() | happened.Learned():
            return event.text
        case happened.Called():
            return event.title
        case happened.Returned():
            return event.summary
        case happened.Observed():
            return event.workload.sentence
        case happened.Planned():
            return event.plan.reason
        case happened.Proven():
            return f"{event.report.name} {VERDICTS[event.report.verdict]}."
        case happened.Measured():
            return _measured(event)
        case happened.Deployed():
            return event.deployment.reason
        case Asked():
            return f"A person is asked: {event.question.title}"
        case Answered():
            return f"Answered by {'nobody' if event.by == 'countdown' else f'a {event.by}'}: {event.choice}"
    return ""


def _measured(event: happened.Measured) -> str:
    seen = event.comparison
    if event.final:
        return seen.reason
    return f"Measuring {'what ran before' if event.side == 'before' else 'the new scheduler'}"


def is_open(question: Question | None, event: AnyEvent) -> Question | None:
    """The question that is open after ``event``."""
    if isinstance(event, Asked):
        return event.question
    return None if isinstance(event, Answered) else question
