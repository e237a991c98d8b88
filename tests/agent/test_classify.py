"""A sentence on the command line is read as a class, with how sure that is and why; or as what cannot be helped."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from schedtui.backend.library.catalogue import CLASSES
from schedtui.backend.library.intents import classify
from tests.cli.commands import schedtui

DEVELOPMENT = tomllib.loads((Path(__file__).parent / "development_sentences.toml").read_text())


@pytest.mark.slow
def test_a_sentence_is_told_with_its_class_and_the_nearest_examples() -> None:
    spoken = schedtui("classify", "--json", "my", "game", "stutters  while a build runs").spoken
    assert spoken["words"] == "my game stutters while a build runs"
    assert spoken["class"] == "gaming"
    assert 0.3 < spoken["confidence"] <= 1
    assert len(spoken["nearest"]) == 3
    assert [each["class"] in CLASSES for each in spoken["others"]] == [True, True]
    assert "gaming" not in {each["class"] for each in spoken["others"]}


@pytest.mark.slow
@pytest.mark.parametrize("words", ["what is the weather in Hamburg", "???", "remind me to call my mother"])
def test_what_no_scheduler_can_do_is_unknown(words: str) -> None:
    assert schedtui("classify", "--json", words).spoken["class"] == "unknown"


@pytest.mark.slow
def test_plain_words_are_told_without_json() -> None:
    told = schedtui("classify", "crackling sound in ardour").out
    assert told.startswith("audio: sound with small buffers (")
    assert "like “" in told
    assert schedtui("classify", "book a table for two").out.startswith("unknown: nothing that a CPU scheduler")


@pytest.mark.slow
def test_the_development_sentences_are_mostly_read_right() -> None:
    asked = [(wanted, each) for wanted, sentences in DEVELOPMENT.items() for each in sentences]
    right = sum(classify(each).reading == wanted for wanted, each in asked)
    assert right / len(asked) >= 0.93


@pytest.mark.slow
def test_who_is_confident_is_right_more_often() -> None:
    read = [(wanted, classify(each)) for wanted, sentences in DEVELOPMENT.items() for each in sentences]
    high = [intent.reading == wanted for wanted, intent in read if intent.confidence >= 0.6]
    low = [intent.reading == wanted for wanted, intent in read if intent.confidence < 0.6]
    assert sum(high) / len(high) > max(0.97, sum(low) / len(low))
