"""The answer to a sentence in plain words: which goal it means, which policy serves that here, and why.

One mind for the terminal program and for ``schedtui ask``. What a sentence means is library.intents' judgement, which
policy serves a goal is deploy's; proving and applying it is left to others.
"""

from __future__ import annotations

from msgspec import Struct

from schedtui.backend.deploy import Proposal, resolve
from schedtui.backend.errors import MissingTool, SchedtuiError, UnknownName
from schedtui.backend.library.catalogue import Library

LONGEST_WORDS = 300


class Reading(Struct, frozen=True, kw_only=True):
    """One goal that a sentence may mean."""

    preset: str
    score: float
    """How near, from 0 to 1."""
    example: str
    """The example sentence of that goal that is nearest."""


class Answer(Struct, frozen=True, kw_only=True):
    """What a sentence was taken for."""

    words: str
    sure: bool
    """Whether the first reading stands well before the second."""
    readings: tuple[Reading, ...]
    """The best first; when unsure, the two between which a person has to choose."""


def answer(library: Library, sentence: str) -> Answer:
    """What ``sentence`` means. Raises UnknownName for no words at all, MissingTool where it cannot be judged."""
    words = " ".join(sentence.split())[:LONGEST_WORDS]
    if not any(sign.isalnum() for sign in words):
        raise UnknownName("There is nothing to go by in that.", "Say what you do, and what bothers you.")
    raise MissingTool("What sentences mean cannot be judged yet.", "Choose a preset instead (p).")


def why(reading: Reading, proposal: Proposal | SchedtuiError, sure: bool) -> str:
    """The reason in a sentence or two: what the words sound like, and why this policy."""
    sounds = f"It sounds like “{reading.example}”"
    if not sure:
        sounds += ", but not clearly so"
    if isinstance(proposal, SchedtuiError):
        return f"{sounds}."
    return f"{sounds}. {proposal.reason}".strip()


def proposal_for(library: Library, reading: Reading) -> Proposal:
    """The first policy of the goal's preset that can run here. Raises UnknownName."""
    return resolve(library, reading.preset, {})
