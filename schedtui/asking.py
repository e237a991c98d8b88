"""A request as the screens know it: what was asked, everything that happened since, and what is wanted of a person now.

Data only. Control adds to it in the user interface's thread; a screen draws it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from msgspec.structs import replace

from schedtui.agent.events import Answered, AnyEvent, Asked, Ended, Measured, Proven, Said, Spent
from schedtui.agent.mind import Usage

if TYPE_CHECKING:
    from pathlib import Path

    from schedtui.agent.budget import Limits
    from schedtui.agent.engine import Story
    from schedtui.agent.events import Question
    from schedtui.backend.errors import SchedtuiError
    from schedtui.backend.model import Comparison, Report


class Asking:
    """One request. ``clock`` counts seconds, as time.monotonic does."""

    def __init__(self, words: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.words = words
        self.events: list[AnyEvent] = []
        self.mind = ""
        """Its name, once it is chosen."""
        self.offline = False
        """Whether that is the offline adviser, which needs no network."""
        self.limits: Limits | None = None
        self.story: Story | None = None
        self.error: SchedtuiError | None = None
        """Why it came to no end of its own."""
        self.stopping = ""
        """Why it is being ended, in a sentence; empty while nobody wants that."""
        self.trajectory: Path | None = None
        """Where all that was said is written down."""
        self.seen = False
        """Whether a person saw how it ended."""
        self.asked: Asked | None = None
        """The question that is open, as it came."""
        self.usage = Usage()
        self.report: Report | None = None
        """The newest."""
        self.comparison: Comparison | None = None
        """The newest, as far as it was measured."""
        self.speaker = "You"
        """Who said the words."""
        self.beginning = "Getting ready …"
        """What stands there until something happens."""
        self._clock = clock
        self._began = clock()
        self._ended: float | None = None
        self._asked_at = 0.0
        self._waited_s = 0.0

    @property
    def is_over(self) -> bool:
        """Whether nothing more will happen."""
        return self._ended is not None

    @property
    def question(self) -> Question | None:
        """What a person is asked now."""
        return self.asked.question if self.asked else None

    @property
    def ended(self) -> Ended | None:
        """Its last event, once it is there."""
        return next((each for each in reversed(self.events) if isinstance(each, Ended)), None)

    def add(self, event: AnyEvent, *, ago_s: float = 0.0) -> None:
        """Something happened, so long ago. Pieces of a saying, and steps of one measurement, become one."""
        last = self.events[-1] if self.events else None
        if isinstance(event, Said) and isinstance(last, Said) and event.role == last.role:
            self.events[-1] = replace(last, text=last.text + event.text)
        elif isinstance(event, Measured) and isinstance(last, Measured) and not last.final:
            self.events[-1] = event
        else:
            self.events.append(event)
        if isinstance(event, Asked):
            self.asked, self._asked_at = event, self._clock() - ago_s
        elif isinstance(event, Answered):
            self._no_longer_asked()
        elif isinstance(event, Spent):
            self.usage = event.usage
        elif isinstance(event, Proven):
            self.report = event.report
        elif isinstance(event, Measured):
            self.comparison = event.comparison

    def finish(self, story: Story) -> None:
        """It came to its end."""
        self.story, self.trajectory = story, story.trajectory or self.trajectory
        self.usage = story.usage
        self.close()

    def fail(self, error: SchedtuiError) -> None:
        """It broke off."""
        self.error = error
        self.close()

    def seconds(self) -> float:
        """How long it was worked on, without the time in which a person was waited for."""
        now = self._clock() if self._ended is None else self._ended
        waiting = now - self._asked_at if self.question is not None else 0.0
        return max(0.0, now - self._began - self._waited_s - waiting)

    def left_s(self) -> float | None:
        """Until the open question answers itself; None when it does not."""
        if self.question is None or self.question.countdown_s is None:
            return None
        return max(0.0, self.question.countdown_s - (self._clock() - self._asked_at))

    def _no_longer_asked(self) -> None:
        if self.question is not None:
            self._waited_s += self._clock() - self._asked_at
        self.asked = None

    def close(self) -> None:
        """Nothing more will happen."""
        self._no_longer_asked()
        self._ended = self._clock()
