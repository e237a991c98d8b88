"""What a person wants, from a sentence: every example sentence speaks for its workload class, the nearer the louder.

Near in meaning (vectors.py), and in spelling, which catches names and slips. Regularised least squares weighs the
examples, so that sentences of one kind written many times do not shout others down. What no scheduler can do is a kind
of its own, ``unknown``, with examples as the others have. Learning takes seconds and is done once: what was learned
lies in the cache directory, made anew whenever the examples change. Which policy serves a class is the presets'
affair. To be imported late, as vectors.py.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import re
import tomllib
import zipfile
import zlib
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from schedtui.backend.errors import BadFile
from schedtui.backend.library.catalogue import CLASSES
from schedtui.backend.library.vectors import LONGEST_CHARACTERS, Vectors, embed
from schedtui.paths import cache_dir, shipped

UNKNOWN = "unknown"
"""The class of what asks for nothing that a CPU scheduler does."""
_READINGS = (*CLASSES, UNKNOWN)

# Chosen by judging examples by others and with tests/agent/development_sentences.toml, never with unseen sentences.
_SHARPNESS = 3.0
_LETTERS_WEIGHT = 0.5
_WORDS_WEIGHT = 0.7
_SMOOTHING = 0.4
_LEAST_MARGIN = 0.08
_CERTAINTY = 5.0
"""How fast confidence grows with the lead of a score: so that of all sentences given 0.8, four in five are right."""
_PIECES = (3, 4, 5)
_WORD = re.compile(r"[a-z0-9+']+")
_FORMAT = "schedtui intents 1"
_STEPS, _EXACT = 100, 0.03
"""Of the conjugate gradients: a more exact solution reads no sentence better."""

_Floats = NDArray[np.float32]
_Solve = Callable[[_Floats], _Floats]
_Split = Callable[[list[str]], list[int]]


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
    """Of the likeliest class."""
    candidates: tuple[Candidate, ...]
    """All classes, the likeliest first; ``unknown`` is none of them."""
    reading: str
    """The likeliest, sure or not: a class, or ``unknown``."""
    confidence: float
    """How likely ``reading`` is right, from 0 to 1."""
    nearest: tuple[str, ...]
    """The examples of ``reading`` that are nearest, first the nearest."""

    @property
    def sure(self) -> bool:
        """Whether one class stands out."""
        return bool(self.class_id)


class Spelling(Struct, frozen=True, kw_only=True):
    """The pieces of words and the words that the examples have, by a number each."""

    marks: NDArray[np.uint32]
    """Sorted."""
    rarity: _Floats
    """Rare pieces say more than those that stand in every second sentence."""

    def rows(self, sentences: Sequence[str]) -> Pieces:
        """The pieces of each sentence that the examples have; letters and words have length 1 before their weights."""
        found = [
            self._weighed(sentences, of_word, np.sqrt(weight))
            for of_word, weight in ((_letters, _LETTERS_WEIGHT), (_words, _WORDS_WEIGHT))
        ]
        return Pieces(*(np.concatenate(each) for each in zip(*found, strict=True)))

    def _weighed(
        self, sentences: Sequence[str], split: _Split, weight: float
    ) -> tuple[NDArray[np.intp], NDArray[np.intp], _Floats]:
        row, marks = _marks(sentences, split)
        at = np.minimum(np.searchsorted(self.marks, marks), len(self.marks) - 1)
        there = self.marks[at] == marks
        row, at = row[there], at[there]
        value = self.rarity[at]
        length = np.sqrt(np.bincount(row, weights=value * value, minlength=len(sentences)))
        return row, at, (weight * value / np.maximum(length, 1e-9)[row]).astype(np.float32)


class Pieces(NamedTuple):
    """A matrix of sentences by pieces, which is nearly all zeros: where it is not, and what stands there."""

    row: NDArray[np.intp]
    column: NDArray[np.intp]
    value: _Floats


class Classifier(Struct, frozen=True, kw_only=True):
    """What was learned from examples: ``learn`` makes it."""

    readings: tuple[str, ...]
    sentences: tuple[str, ...]
    reading_of: NDArray[np.intp]
    """The row in ``readings`` of each sentence."""
    centre: _Floats
    vectors: Vectors
    """Of the sentences, without what they all have in common, which tells nothing apart."""
    spelling: Spelling
    of_meaning: _Floats
    """How loud each sentence speaks for each reading."""
    of_piece: _Floats
    """How loud each piece of spelling does."""

    def scores(self, sentence: str) -> _Floats:
        """Of each reading, mostly from 0 to 1."""
        return self._scores(self._meaning(sentence), sentence)

    def classify(self, sentence: str) -> Intent:
        """The class that ``sentence`` means; unsure about words that say nothing."""
        meaning = self._meaning(sentence)
        scores = np.clip(self._scores(meaning, sentence), 0, 1)
        order = np.argsort(-scores)
        best = int(order[0]) if _WORD.search(sentence.lower()) else self.readings.index(UNKNOWN)
        stands_out = scores[order[0]] - scores[order[1]] >= _LEAST_MARGIN
        candidates = tuple(
            Candidate(class_id=self.readings[row], score=float(scores[row]), example=self._nearest(row, meaning, 1)[0])
            for row in order
            if self.readings[row] != UNKNOWN
        )
        likely = np.exp(_CERTAINTY * (scores - scores.max()))
        return Intent(
            class_id=self.readings[best] if stands_out and self.readings[best] != UNKNOWN else "",
            score=candidates[0].score,
            candidates=candidates,
            reading=self.readings[best],
            confidence=float(likely[best] / likely.sum()),
            nearest=self._nearest(best, meaning, 3),
        )

    def _scores(self, meaning: _Floats, sentence: str) -> _Floats:
        pieces = self.spelling.rows([sentence])
        raw = _loudness(meaning.copy()) @ self.of_meaning + pieces.value @ self.of_piece[pieces.column]
        return np.asarray((raw + 1) / 2, dtype=np.float32)

    def _meaning(self, sentence: str) -> _Floats:
        return np.asarray(self.vectors @ _unit(embed([sentence]) - self.centre)[0], dtype=np.float32)

    def _nearest(self, row: int, meaning: _Floats, most: int) -> tuple[str, ...]:
        mine = np.flatnonzero(self.reading_of == row)
        return tuple(self.sentences[int(each)] for each in mine[np.argsort(-meaning[mine])[:most]])


def learn(examples: dict[str, tuple[str, ...]]) -> Classifier:
    """Weigh the examples: some seconds for thousands. Raises MissingTool without the model."""
    readings = tuple(examples)
    sentences = tuple(each for found in examples.values() for each in found)
    reading_of = np.array([row for row, found in enumerate(examples.values()) for _ in found])
    vectors = embed(sentences)
    centre = vectors.mean(axis=0)
    vectors = _unit(vectors - centre)
    spelling = _spelling(sentences)
    product = _Products(spelling.rows(sentences), len(sentences), len(spelling.marks))
    near = _loudness(vectors @ vectors.T)
    counts = np.bincount(reading_of)
    rare = np.sqrt(len(sentences) / len(readings) / counts)[reading_of]
    smoothing = (_SMOOTHING / rare)[:, None].astype(np.float32)

    def smoothed(weights: _Floats) -> _Floats:
        return np.asarray(near @ weights + product.rows(product.columns(weights)) + smoothing * weights)

    wanted = (np.eye(len(readings))[reading_of] * 2 - 1).astype(np.float32)
    of_meaning = _solved(smoothed, wanted)
    return Classifier(
        readings=readings,
        sentences=sentences,
        reading_of=reading_of,
        centre=centre,
        vectors=vectors,
        spelling=spelling,
        of_meaning=of_meaning,
        of_piece=product.columns(of_meaning),
    )


def classify(sentence: str) -> Intent:
    """The class that ``sentence`` means. Raises MissingTool without the model, BadFile for damaged examples.

    The first call learns when nothing that was learned from these examples lies in the cache.
    """
    return _classifier().classify(sentence)


def examples(path: Path | None = None) -> dict[str, tuple[str, ...]]:
    """The example sentences of each class and of ``unknown``, those that ship by default. Raises BadFile."""
    path = path or shipped("library") / "intents.toml"
    try:
        found = msgspec.convert(tomllib.loads(path.read_text(encoding="utf-8")), dict[str, tuple[str, ...]])
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise BadFile(f"{path} cannot be read: {error}", "Install schedtui again.") from error
    if set(found) != set(_READINGS) or not all(found.values()):
        raise BadFile(f"{path} must hold examples for {', '.join(_READINGS)}.", "Install schedtui again.")
    return {each: found[each] for each in _READINGS}


@functools.cache
def _classifier() -> Classifier:
    found = examples()
    key = hashlib.sha256(msgspec.json.encode([_FORMAT, _constants(), found])).hexdigest()[:32]
    path = cache_dir() / "intents" / f"{key}.npz"
    kept = read_kept(path, found)
    if kept is None:
        kept = learn(found)
        with contextlib.suppress(OSError):  # a full disk: it is learned again next time
            keep(path, kept)
    return kept


def _constants() -> tuple[object, ...]:
    return (_SHARPNESS, _LETTERS_WEIGHT, _WORDS_WEIGHT, _SMOOTHING, _PIECES, np.__version__)


def read_kept(path: Path, found: dict[str, tuple[str, ...]]) -> Classifier | None:
    """What was learned before; None when there is nothing, or it is damaged."""
    try:
        with np.load(path, allow_pickle=False) as file:
            kept = {name: file[name] for name in file.files}
        return Classifier(
            readings=tuple(found),
            sentences=tuple(each for sentences in found.values() for each in sentences),
            reading_of=np.array([row for row, sentences in enumerate(found.values()) for _ in sentences]),
            centre=kept["centre"],
            vectors=kept["vectors"].astype(np.float32),
            spelling=Spelling(marks=kept["marks"], rarity=kept["rarity"]),
            of_meaning=kept["of_meaning"],
            of_piece=kept["of_piece"],
        )
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error):
        return None


def keep(path: Path, learned: Classifier) -> None:
    """In one step, so that nobody reads a half; what was learned from other examples goes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    old = [each for each in path.parent.glob("*.npz") if each != path]
    beside = path.with_name(f"{path.stem}.{os.getpid()}.part")
    try:
        with beside.open("wb") as file:
            np.savez(
                file,
                centre=learned.centre,
                vectors=learned.vectors.astype(np.float16),
                marks=learned.spelling.marks,
                rarity=learned.spelling.rarity,
                of_meaning=learned.of_meaning,
                of_piece=learned.of_piece,
            )
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
    for each in old:
        each.unlink(missing_ok=True)


class _Products:
    """Products with a matrix of pieces, and with its transpose."""

    def __init__(self, pieces: Pieces, height: int, width: int) -> None:
        order = np.argsort(pieces.row, kind="stable")
        self._column, self._value = pieces.column[order], pieces.value[order, None]
        self._rows = _Groups(np.bincount(pieces.row, minlength=height))
        order = np.argsort(pieces.column, kind="stable")
        self._row_by_column, self._value_by_column = pieces.row[order], pieces.value[order, None]
        self._columns = _Groups(np.bincount(pieces.column, minlength=width))

    def rows(self, of_column: _Floats) -> _Floats:
        """For each row the sum over its columns."""
        return self._rows.sums(self._value * of_column[self._column])

    def columns(self, of_row: _Floats) -> _Floats:
        """For each column the sum over its rows."""
        return self._columns.sums(self._value_by_column * of_row[self._row_by_column])


class _Groups:
    """Sums over groups of rows that lie together; a group may be empty."""

    def __init__(self, lengths: NDArray[np.intp]) -> None:
        self._count = len(lengths)
        self._there = np.flatnonzero(lengths)
        self._starts = (np.cumsum(lengths) - lengths)[self._there]

    def sums(self, values: _Floats) -> _Floats:
        found = np.zeros((self._count, values.shape[1]), dtype=np.float32)
        found[self._there] = np.add.reduceat(values, self._starts, axis=0)
        return found


def _solved(product: _Solve, wanted: _Floats) -> _Floats:
    """The x with ``product(x) = wanted``, each column by itself, by conjugate gradients."""
    found = np.zeros_like(wanted)
    left = wanted.copy()
    way = left.copy()
    size = (left * left).sum(axis=0)
    enough = _EXACT**2 * size
    for _ in range(_STEPS):
        if (size <= enough).all():
            break
        step = product(way)
        length = size / np.maximum((way * step).sum(axis=0), 1e-20)
        found += length * way
        left -= length * step
        new = (left * left).sum(axis=0)
        way = left + new / np.maximum(size, 1e-20) * way
        size = new
    return found


def _spelling(sentences: Sequence[str]) -> Spelling:
    marks, counts = np.unique(
        np.concatenate([_marks(sentences, split)[1] for split in (_letters, _words)]), return_counts=True
    )
    rarity = np.maximum(np.log((1 + len(sentences)) / (1 + counts)), 0)
    return Spelling(marks=marks, rarity=rarity.astype(np.float32))


def _marks(sentences: Sequence[str], split: _Split) -> tuple[NDArray[np.intp], NDArray[np.uint32]]:
    """Of all sentences one after the other: whose it is, and its number."""
    found = [split(_WORD.findall(each.lower()[:LONGEST_CHARACTERS])) for each in sentences]
    row = np.repeat(np.arange(len(found)), [len(each) for each in found])
    return row, np.array([mark for each in found for mark in each], dtype=np.uint32)


def _letters(words: list[str]) -> list[int]:
    return [mark for word in words for mark in _letters_of(word)]


@functools.lru_cache(maxsize=20_000)
def _letters_of(word: str) -> tuple[int, ...]:
    marked = f"^{word}$"
    return tuple(_mark(marked[at : at + n]) for n in _PIECES for at in range(len(marked) - n + 1))


def _words(words: list[str]) -> list[int]:
    return [*(_mark(f"{each} ") for each in words), *(_mark(f"{a} {b}") for a, b in pairwise(words))]


def _mark(piece: str) -> int:
    return zlib.crc32(piece.encode())


def _loudness(cosines: _Floats) -> _Floats:
    """How loud sentences of such nearness in meaning speak; in place, as there are tens of millions of them."""
    cosines -= 1
    cosines *= _SHARPNESS
    return np.exp(cosines, out=cosines)


def _unit(rows: NDArray[np.floating]) -> Vectors:
    return np.asarray(rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9), dtype=np.float32)
