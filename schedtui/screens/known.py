"""What is known of a policy on this computer beside what its entry says: reports, history, the installed program.

Reads files and compiles what is not compiled yet, so it is asked in a thread. Judges nothing.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from schedtui.backend.errors import SchedtuiError
from schedtui.backend.model import Policy, Report
from schedtui.backend.verifier.badges import reports_of

if TYPE_CHECKING:
    from schedtui.backend.library.external import Fit

HISTORY = 5


class Known(Struct, frozen=True, kw_only=True):
    """All that was found; nothing until it was looked for."""

    reports: tuple[Report, ...] = ()
    """Of the source as it is now, with whichever settings, newest first."""
    history: tuple[str, ...] = ()
    """What it did here, a line each, newest first."""
    learned: tuple[str, ...] = ()
    """What was learned about it, a sentence each, newest first."""
    notes: tuple[str, ...] = ()
    """What a person should know of the history itself: that it was damaged."""
    fit: Fit | None = None
    """The external scheduler's program, when it is installed."""

    def as_installed(self, policy: Policy) -> Policy:
        """The entry as it holds for the installed version."""
        if self.fit is None or self.fit.installed.problem:
            return policy
        return replace(policy, tunables=self.fit.tunables, modes=self.fit.modes)


def remembered(each: int = 2) -> dict[str, tuple[str, ...]]:
    """What policies did here, by name: so many lines each, newest first. What cannot be read is missing."""
    from schedtui.backend.library.history import in_words
    from schedtui.backend.store import Store

    found: dict[str, list[str]] = {}
    with contextlib.suppress(SchedtuiError):
        for outcome in Store().outcomes():
            found.setdefault(outcome.policy, []).append(in_words(outcome))
    return {name: tuple(lines[:each]) for name, lines in found.items()}


def look_up(policy: Policy) -> Known:
    """Everything about one policy; what cannot be read is missing."""
    if policy.binary:
        from schedtui.backend.library.external import fit

        return replace(_remembered(policy), fit=fit(policy), reports=reports_of(policy))
    return replace(_remembered(policy), reports=reports_of(policy))


def _remembered(policy: Policy) -> Known:
    """What the history holds of it; what cannot be read is missing."""
    from schedtui.backend.library import history
    from schedtui.backend.store import Store

    store = Store()
    did: tuple[str, ...] = ()
    learned: tuple[str, ...] = ()
    with contextlib.suppress(SchedtuiError):
        did = tuple(history.in_words(each) for each in history.outcomes(policy.name, store)[:HISTORY])
        learned = tuple(each.text for each in store.learned(policy.name, limit=HISTORY))
    return Known(history=did, learned=learned, notes=tuple(store.notes))
