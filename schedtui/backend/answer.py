"""The answer to a sentence in plain words: which of the library's goals it means, and how sure that is.

One mind for the terminal program and for ``schedtui ask``. What a sentence is near to is library.intents' judgement;
which policy serves a goal is deploy's, and proving it the verifier's.
"""

from __future__ import annotations

from msgspec import Struct

from schedtui.backend.errors import UnknownName
from schedtui.backend.library.catalogue import Library

LONGEST_WORDS = 300


class Reading(Struct, frozen=True, kw_only=True):
    """One goal that a sentence may mean."""

    preset: str
    score: float
    """How near; only good for comparing."""
    example: str
    """The example sentence of that goal that is nearest."""


class Answer(Struct, frozen=True, kw_only=True):
    """What a sentence was taken for."""

    words: str
    sure: bool
    """Whether one goal stands out."""
    readings: tuple[Reading, ...]
    """That goal; when unsure, the two nearest, between which a person has to choose."""


def answer(library: Library, sentence: str) -> Answer:
    """What ``sentence`` means.

    Raises UnknownName where there are no words, or no preset for what they mean, and MissingTool or BadFile where it
    cannot be judged.
    """
    words = " ".join(sentence.split())[:LONGEST_WORDS]
    if not any(sign.isalpha() for sign in words):
        raise UnknownName("There are no words in that.", "Say what you do, and what bothers you.")
    from schedtui.backend.library.intents import classify

    intent = classify(words)
    best = intent.candidates[0]
    readings = [
        Reading(preset=preset.id, score=each.score, example=each.example)
        for each in intent.candidates
        if (preset := library.preset_for(each.class_id))
    ]
    if not readings or (intent.sure and library.preset_for(best.class_id) is None):
        raise UnknownName(
            f"It sounds like “{best.example}”, and the library has no preset for that.",
            "Choose one that it has: schedtui presets.",
        )
    return Answer(words=words, sure=intent.sure, readings=tuple(readings[: 1 if intent.sure else 2]))
