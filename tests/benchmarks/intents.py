"""How well sentences are understood that no example was tuned on, and how fast. ``make bench`` prints it.

Counts by class and nothing else: who sees which sentences fail cannot help tuning on them. docs/BENCHMARKS.md says how
often the numbers were looked at.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterable
from pathlib import Path

import click

from schedtui.backend.library.intents import Classifier, classify, examples, learn

TESTS = Path(__file__).parents[1]
UNSEEN = TESTS / "agent" / "unseen_sentences.toml"
DEVELOPMENT = TESTS / "agent" / "development_sentences.toml"
FOLDS = 5
_FIRST_CALL = """
import time
from schedtui.backend.library import catalogue
began = time.monotonic()
from schedtui.backend.library.intents import classify
classify("my game stutters")
print(time.monotonic() - began)
"""


def unseen() -> dict[str, list[str]]:
    """The sentences of each class that nothing was tuned on."""
    found: dict[str, list[str]] = {}
    for each in tomllib.loads(UNSEEN.read_text(encoding="utf-8"))["sentence"]:
        found.setdefault(each["class"], []).append(each["text"])
    return found


def development() -> dict[str, list[str]]:
    """The sentences of each class that limits were chosen with."""
    found: dict[str, list[str]] = tomllib.loads(DEVELOPMENT.read_text(encoding="utf-8"))
    return found


def right_by_class(asked: dict[str, list[str]]) -> dict[str, tuple[int, int]]:
    """For each class how many sentences were read right, of how many."""
    return {
        wanted: (sum(classify(each).reading == wanted for each in sentences), len(sentences))
        for wanted, sentences in asked.items()
    }


def right_of_examples() -> float:
    """The share of examples that is read right by what was learned from four fifths of the others."""
    found = examples()
    right = 0
    for fold in range(FOLDS):
        kept = {name: tuple(_without(sentences, fold)) for name, sentences in found.items()}
        judge = learn(kept)
        right += sum(_reads(judge, each) == name for name, each in _only(found, fold))
    return right / sum(len(sentences) for sentences in found.values())


def first_call_s(cache: str) -> float:
    """Seconds of the first call in a new process, with what lies in the folder ``cache``."""
    done = subprocess.run(
        [sys.executable, "-c", _FIRST_CALL],
        env={**os.environ, "XDG_CACHE_HOME": cache},
        capture_output=True,
        text=True,
        check=True,
    )
    return float(done.stdout)


def main() -> None:
    """Print it."""
    tell(unseen(), "unseen sentences  goal ≥ 92 %")
    tell(development(), "development sentences, which limits were chosen with")
    click.echo(f"intents: {right_of_examples():.1%} of the examples, judged by four fifths of the others")
    with tempfile.TemporaryDirectory() as cache:
        learned = first_call_s(cache)
        first = statistics.median(first_call_s(cache) for _ in range(5))
    began = time.monotonic()
    for _ in range(100):
        classify("my game stutters while obs records")
    each = (time.monotonic() - began) / 100
    click.echo(
        f"intents: learned once in {learned:.1f} s; first call of a process {first:.2f} s  goal ≤ 0.5 s; "
        f"then {each * 1000:.1f} ms"
    )


def tell(asked: dict[str, list[str]], what: str) -> None:
    """The share that was read right, and how it spreads over the classes."""
    counts = right_by_class(asked)
    right, all_ = (sum(each) for each in zip(*counts.values(), strict=True))
    by_class = ", ".join(f"{name} {got}/{of}" for name, (got, of) in counts.items())
    click.echo(f"intents: {right} of {all_} right ({right / all_:.1%}) of the {what}\n  {by_class}")


def _without(sentences: tuple[str, ...], fold: int) -> Iterable[str]:
    return (each for at, each in enumerate(sentences) if at % FOLDS != fold)


def _only(found: dict[str, tuple[str, ...]], fold: int) -> Iterable[tuple[str, str]]:
    return ((name, each) for name, sentences in found.items() for each in sentences[fold::FOLDS])


def _reads(judge: Classifier, sentence: str) -> str:
    return judge.classify(sentence).reading


if __name__ == "__main__":
    main()
