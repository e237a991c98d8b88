"""Find policies by what they are for, in words: the nearest sentences of their entries, and the presets for such words.

The vectors lie in an index in the cache directory, made anew whenever an entry changes; it can be deleted at any
time. What a policy did on this computer moves it up or down among those that are about as near. Python's own sqlite3
is often built without extensions; apsw brings its SQLite along. To be imported late, as vectors.py.
"""

from __future__ import annotations

import contextlib
import difflib
import hashlib
import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

import apsw
import msgspec
import sqlite_vec
from msgspec import Struct

from schedtui.backend.errors import SchedtuiError
from schedtui.backend.library import history
from schedtui.backend.library.catalogue import Library
from schedtui.backend.library.intents import classify
from schedtui.backend.library.vectors import DIMENSIONS, Vectors, embed
from schedtui.backend.model import Policy
from schedtui.backend.store import Outcome, Store
from schedtui.paths import cache_dir

_FORMAT = "schedtui search 2"
_NEAREST = 200
_HISTORY_WEIGHT = 0.1
_PRESET_WEIGHT = 0.5
_PER_RANK = 0.85
"""What the second choice of a preset is worth beside the first, the third beside the second."""
_LIKE = 0.8
"""How like a name a word must be, by difflib, to be a slip of it."""
_COMMON = 3
"""A sentence that so many entries share tells none of them apart."""
_AGAINST = "Not for: "
_WORD = re.compile(r"[a-z0-9]+")
_LONGEST_WORDS = 500


class Match(Struct, frozen=True, kw_only=True):
    """A policy that was found."""

    policy: Policy
    score: float
    """1 and more when its name was given; else mostly between 0 and 1. Only good for comparing."""
    why: str
    """The sentence of its entry that is nearest."""
    measured: str = ""
    """What it did on this computer, last; empty when nothing is known."""


class _Passage(Struct, frozen=True):
    policy: str
    kind: Literal["for", "not-for"]
    text: str


class Search:
    """Over one library. The first ``find`` loads the model and, when needed, makes the index: about a second."""

    def __init__(self, library: Library, *, folder: Path | None = None, store: Store | None = None) -> None:
        self._library = library
        self._passages = _telling([each for policy in library.policies.values() for each in _passages(policy)])
        self._index = (folder or cache_dir() / "search") / "library.sqlite"
        self._store = store or Store()
        self._connection: apsw.Connection | None = None

    def find(self, words: str, limit: int = 10) -> list[Match]:
        """The policies that fit ``words`` best, first the best; for no words, all by name.

        Raises MissingTool when the model or the index's program cannot be loaded.
        """
        known = self._known()
        if not _WORD.search(words.lower()):
            listed = [_match(policy, 0.0, policy.summary, known) for policy in self._library.policies.values()]
            return listed[:limit]
        words = words[:_LONGEST_WORDS]
        near, served = self._near(words), self._served(words)
        matches = []
        for policy in self._library.policies.values():
            score, why = self._judged(policy, near.get(policy.name, []))
            bonus, reason = served.get(policy.name, (0.0, ""))
            if bonus > score or (bonus and why.startswith(_AGAINST)):
                why = reason
            score += bonus + _named(policy, words) + _HISTORY_WEIGHT * history.standing(known.get(policy.name, []))
            matches.append(_match(policy, score, why, known))
        return sorted(matches, key=lambda each: -each.score)[:limit]

    def _judged(self, policy: Policy, near: list[tuple[float, _Passage]]) -> tuple[float, str]:
        """How far its entry fits, and by which sentence; one that warns counts against it."""
        fits = [(score, each.text) for score, each in near if each.kind == "for"]
        warns = [(score, each.text) for score, each in near if each.kind == "not-for"]
        score, why = max(fits, default=(0.0, policy.summary))
        against, warning = max(warns, default=(0.0, ""))
        if against > score:
            return 2 * score - against, f"{_AGAINST}{warning}"
        return score, why

    def _served(self, words: str) -> dict[str, tuple[float, str]]:
        """For the policies of the presets that such words ask for: how much they gain, and the preset's reason."""
        found: dict[str, tuple[float, str]] = {}
        for each in classify(words).candidates[:2]:
            preset = self._library.preset_for(each.class_id)
            for rank, choice in enumerate(preset.choices if preset else ()):
                gain = _PRESET_WEIGHT * each.score * _PER_RANK**rank
                found[choice.policy] = max(found.get(choice.policy, (0.0, "")), (gain, choice.reason))
        return found

    def _known(self) -> dict[str, list[Outcome]]:
        found: dict[str, list[Outcome]] = {}
        with contextlib.suppress(SchedtuiError):  # without a history the search is as good as on a new computer
            for each in self._store.outcomes():
                found.setdefault(each.policy, []).append(each)
        return found

    def _near(self, words: str) -> dict[str, list[tuple[float, _Passage]]]:
        found: dict[str, list[tuple[float, _Passage]]] = {}
        for row, distance in self._nearest(embed([words])):
            passage = self._passages[row]
            found.setdefault(passage.policy, []).append((1.0 - distance, passage))
        return found

    def _nearest(self, vector: Vectors) -> list[tuple[int, float]]:
        query = "SELECT rowid, distance FROM passage WHERE vector MATCH ? AND k = ?"
        rows = self._opened().execute(query, (vector.tobytes(), min(_NEAREST, max(len(self._passages), 1))))
        return [(int(row), float(distance)) for row, distance in rows]

    def _opened(self) -> apsw.Connection:
        if self._connection is None:
            self._connection = self._sound_index()
        return self._connection

    def _sound_index(self) -> apsw.Connection:
        digest = _digest(self._passages)
        with contextlib.suppress(apsw.Error, OSError):
            connection = _connect(self._index)
            if connection.execute("SELECT digest FROM content").fetchall() == [(digest,)]:
                return connection
            connection.close()
        return self._fresh_index(digest)

    def _fresh_index(self, digest: str) -> apsw.Connection:
        fresh = self._index.with_name(f"{self._index.name}.{os.getpid()}")
        try:
            self._index.parent.mkdir(parents=True, exist_ok=True)
            fresh.unlink(missing_ok=True)
            _fill(_connect(fresh, create=True), self._passages, digest)
            fresh.replace(self._index)
            return _connect(self._index)
        except (apsw.Error, OSError):  # a full disk, a folder that may not be written: then in memory
            with contextlib.suppress(OSError):
                fresh.unlink(missing_ok=True)
            connection = _connect(None, create=True)
            _fill(connection, self._passages, digest, close=False)
            return connection


def _match(policy: Policy, score: float, why: str, known: dict[str, list[Outcome]]) -> Match:
    latest = known.get(policy.name, [])
    return Match(policy=policy, score=score, why=why, measured=history.in_words(latest[0]) if latest else "")


def _passages(policy: Policy) -> Iterator[_Passage]:
    about = [policy.summary, *_sentences(policy.description), *policy.for_whom, *(each.reason for each in policy.modes)]
    for text in about:
        yield _Passage(policy.name, "for", text)
    for text in (*policy.not_for, *policy.limits):
        yield _Passage(policy.name, "not-for", text)


def _telling(passages: list[_Passage]) -> list[_Passage]:
    times = Counter(each.text for each in passages)
    return [each for each in passages if times[each.text] < _COMMON]


def _sentences(text: str) -> list[str]:
    return [each for each in re.split(r"(?<=[.:;]) +|\n+", text) if len(each) > 20]


def _named(policy: Policy, words: str) -> float:
    """How far the words are the policy's name, or a part of it."""
    asked = _WORD.findall(words.lower())
    name = policy.name.lower()
    if words.strip().lower() in (name, policy.title.lower()):
        return 1.0
    parts = set(_WORD.findall(name)) - {"scx", "first"}
    if any(difflib.get_close_matches(word, parts, n=1, cutoff=_LIKE) for word in asked):
        return 0.5
    begins = len(asked) == 1 and len(asked[0]) >= 2 and any(part.startswith(asked[0]) for part in parts)
    return 0.3 if begins else 0.0


def _digest(passages: Sequence[_Passage]) -> str:
    return hashlib.sha256(_FORMAT.encode() + msgspec.json.encode(passages)).hexdigest()


def _connect(path: Path | None, *, create: bool = False) -> apsw.Connection:
    flags = apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE if create else apsw.SQLITE_OPEN_READONLY
    connection = apsw.Connection(str(path) if path else ":memory:", flags=flags)
    connection.enable_load_extension(True)
    connection.load_extension(sqlite_vec.loadable_path())
    connection.enable_load_extension(False)
    return connection


def _fill(connection: apsw.Connection, passages: Sequence[_Passage], digest: str, *, close: bool = True) -> None:
    vectors = embed([each.text for each in passages])
    with connection:
        connection.execute(
            f"CREATE VIRTUAL TABLE passage USING vec0(vector float[{DIMENSIONS}] distance_metric=cosine)"
        )
        rows = [(row, vector.tobytes()) for row, vector in enumerate(vectors)]
        connection.executemany("INSERT INTO passage (rowid, vector) VALUES (?, ?)", rows)
        connection.execute("CREATE TABLE content (digest TEXT)")
        connection.execute("INSERT INTO content VALUES (?)", (digest,))
    if close:
        connection.close()
