"""What a person wants, from a sentence: every example sentence speaks for its workload class, the nearer the louder.

Near in meaning (vectors.py), and in spelling, which catches names and slips. Regularised least squares weighs the
examples, so that sentences of one kind written many times do not shout others down. Which policy serves a class is
the presets' affair. To be imported late, as vectors.py.
"""

from __future__ import annotations

import functools
import re
import tomllib
from collections import Counter
from pathlib import Path

import msgspec
import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from schedtui.backend.errors import BadFile
from schedtui.backend.library.catalogue import CLASSES
from schedtui.backend.library.vectors import LONGEST_CHARACTERS, Vectors, embed
from schedtui.paths import shipped

# Chosen by leaving out one example after the other (Classifier.leave_one_out), never with the sentences of the tests.
_SHARPNESS = 2.0
_SPELLING_WEIGHT = 0.25
_SMOOTHING = 1.0
_LEAST_MARGIN = 0.05
_PIECES = (3, 4, 5)
_WORD = re.compile(r"[a-z0-9+']+")


class Candidate(Struct, frozen=True, kw_only=True):
    """A class that a sentence may mean."""

    class_id: str
    score: float
    """From 0 to 1, mostly below 0.6. Good for comparing, no probability."""
    example: str
    """The nearest of its examples."""


class Intent(Struct, frozen=True, kw_only=True):
    """What a sentence was taken for."""

    class_id: str
    """Empty when no class stands out."""
    score: float
    candidates: tuple[Candidate, ...]
    """All classes, the likeliest first."""

    @property
    def sure(self) -> bool:
        """Whether one class stands out."""
        return bool(self.class_id)


class Classifier:
    """Learned from example sentences of each class, in milliseconds."""

    def __init__(self, examples: dict[str, tuple[str, ...]]) -> None:
        self._classes = tuple(examples)
        self._sentences = tuple(each for sentences in examples.values() for each in sentences)
        self._class_of = np.array([row for row, each in enumerate(examples.values()) for _ in each])
        vectors = embed(self._sentences)
        self._centre = vectors.mean(axis=0)
        self._vectors = self._around_centre(vectors)
        pieces = [_pieces(each) for each in self._sentences]
        frequency = Counter(piece for each in pieces for piece in each)
        self._column = {piece: column for column, piece in enumerate(frequency)}
        self._rarity = np.log((1 + len(pieces)) / (1 + np.array(list(frequency.values()))))
        self._spelling = np.ascontiguousarray(self._spelled(self._sentences).T)
        self._nearness = self._near(self._sentences)
        wanted = np.eye(len(self._classes))[self._class_of] * 2 - 1
        self._smoothed = self._nearness + _SMOOTHING * np.eye(len(self._sentences))
        self._weights = np.linalg.solve(self._smoothed, wanted)

    def classify(self, sentence: str) -> Intent:
        """The class that ``sentence`` means; unsure about words that say nothing."""
        near = self._near([sentence])[0]
        scores = np.clip((near @ self._weights + 1) / 2, 0, 1)
        candidates = [
            Candidate(class_id=each, score=float(scores[row]), example=self._nearest(row, near))
            for row, each in enumerate(self._classes)
        ]
        candidates.sort(key=lambda each: -each.score)
        stands_out = candidates[0].score - candidates[1].score >= _LEAST_MARGIN
        return Intent(
            class_id=candidates[0].class_id if stands_out and _WORD.search(sentence.lower()) else "",
            score=candidates[0].score,
            candidates=tuple(candidates),
        )

    def leave_one_out(self) -> tuple[float, float, float]:
        """Each example judged by all the others: shares of the right, of the sure, and of the right among the sure.

        By the closed form for regularised least squares.
        """
        wanted = np.eye(len(self._classes))[self._class_of] * 2 - 1
        hat = self._nearness @ np.linalg.inv(self._smoothed)
        own = np.diag(hat)[:, None]
        scores = ((hat @ wanted - own * wanted) / (1 - own) + 1) / 2
        ordered = np.sort(scores, axis=1)
        sure = ordered[:, -1] - ordered[:, -2] >= _LEAST_MARGIN
        right = scores.argmax(axis=1) == self._class_of
        return float(right.mean()), float(sure.mean()), float(right[sure].mean())

    def _nearest(self, row: int, near: NDArray[np.float64]) -> str:
        mine = np.flatnonzero(self._class_of == row)
        return self._sentences[int(mine[np.argmax(near[mine])])]

    def _near(self, sentences: tuple[str, ...] | list[str]) -> NDArray[np.float64]:
        meaning = self._around_centre(embed(sentences)) @ self._vectors.T
        spelling = np.stack([self._near_in_spelling(row) for row in self._spelled(sentences)])
        return np.asarray(np.exp(_SHARPNESS * (meaning - 1)) + _SPELLING_WEIGHT * spelling, dtype=np.float64)

    def _near_in_spelling(self, row: NDArray[np.float64]) -> NDArray[np.float64]:
        """With the few pieces that the sentence has, out of thousands."""
        there = np.flatnonzero(row)
        return np.asarray(row[there] @ self._spelling[there])

    def _around_centre(self, vectors: Vectors) -> Vectors:
        """Without what all examples have in common, which tells nothing apart."""
        return np.asarray(_unit(vectors - self._centre), dtype=np.float32)

    def _spelled(self, sentences: tuple[str, ...] | list[str]) -> NDArray[np.float64]:
        rows = np.zeros((len(sentences), len(self._column)))
        for row, sentence in enumerate(sentences):
            for piece, count in _pieces(sentence).items():
                column = self._column.get(piece)
                if column is not None:
                    rows[row, column] = (1 + np.log(count)) * self._rarity[column]
        return _unit(rows)


def classify(sentence: str) -> Intent:
    """The class that ``sentence`` means. Raises MissingTool without the model, BadFile for damaged examples."""
    return _classifier().classify(sentence)


def examples(path: Path | None = None) -> dict[str, tuple[str, ...]]:
    """The example sentences of each class, those that ship by default. Raises BadFile."""
    path = path or shipped("library") / "intents.toml"
    try:
        found = msgspec.convert(tomllib.loads(path.read_text(encoding="utf-8")), dict[str, tuple[str, ...]])
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise BadFile(f"{path} cannot be read: {error}", "Install schedtui again.") from error
    if set(found) != set(CLASSES) or not all(found.values()):
        raise BadFile(f"{path} must hold examples for {', '.join(CLASSES)}.", "Install schedtui again.")
    return found


@functools.cache
def _classifier() -> Classifier:
    return Classifier(examples())


def _pieces(sentence: str) -> Counter[str]:
    found: Counter[str] = Counter()
    for word in _WORD.findall(sentence.lower()[:LONGEST_CHARACTERS]):
        marked = f"^{word}$"
        found.update(marked[at : at + n] for n in _PIECES for at in range(len(marked) - n + 1))
    return found


def _unit(rows: NDArray[np.floating]) -> NDArray[np.float64]:
    return np.asarray(rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9), dtype=np.float64)
