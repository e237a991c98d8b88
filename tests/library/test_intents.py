"""A sentence in a person's words is understood as one of the workload classes, or honestly not."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from schedtui.backend.errors import BadFile
from schedtui.backend.library.catalogue import CLASSES, load_library
from schedtui.backend.library.intents import UNKNOWN, Classifier, classify, examples, keep, learn, read_kept
from schedtui.paths import shipped

SENTENCES = tomllib.loads((Path(__file__).parent / "sentences.toml").read_text())
FEW = {name: sentences[:12] for name, sentences in examples().items()}
DEVELOPMENT = tomllib.loads((Path(__file__).parents[1] / "agent" / "development_sentences.toml").read_text())


def test_each_class_has_enough_examples_and_none_stands_twice() -> None:
    found = examples()
    assert set(found) == {*CLASSES, UNKNOWN}
    assert all(len(sentences) >= 100 for sentences in found.values())
    together = [each.lower() for sentences in found.values() for each in sentences]
    assert len(set(together)) == len(together)


@pytest.mark.parametrize("sentences", [SENTENCES, DEVELOPMENT], ids=["sentences", "development"])
def test_the_sentences_of_the_test_are_none_of_the_examples(sentences: dict[str, list[str]]) -> None:
    known = {each.lower() for found in examples().values() for each in found}
    asked = {each.lower() for found in sentences.values() for each in found}
    assert len(asked) >= 100
    assert not known & asked


def test_most_sentences_are_understood_and_who_is_sure_is_hardly_ever_wrong() -> None:
    intents = [(wanted, classify(each)) for wanted, sentences in SENTENCES.items() for each in sentences]
    right = sum(intent.candidates[0].class_id == wanted for wanted, intent in intents)
    sure = [(wanted, intent) for wanted, intent in intents if intent.sure]
    assert right / len(intents) >= 0.85
    assert len(sure) / len(intents) >= 0.7
    assert sum(intent.class_id == wanted for wanted, intent in sure) / len(sure) >= 0.93


@pytest.mark.parametrize("words", ["", "   ", "???", "🎮", "asdf qwer", "hello"])
def test_words_that_say_nothing_leave_it_unsure(words: str) -> None:
    intent = classify(words)
    assert not intent.sure
    assert intent.reading == UNKNOWN
    assert len(intent.candidates) == len(CLASSES)


def test_a_very_long_text_is_understood_by_its_beginning() -> None:
    beginning = "my game stutters and drops frames. " * 60
    assert classify(beginning).class_id == "gaming"
    assert classify(beginning + "save battery " * 100_000).class_id == "gaming"


def test_the_nearest_example_is_told() -> None:
    intent = classify("pops and clicks in the audio")
    assert intent.class_id == "audio"
    assert intent.candidates[0].example == "pops and clicks in my audio"
    assert intent.nearest[0] == "pops and clicks in my audio"
    assert len(set(intent.nearest)) == 3


def test_each_class_has_a_preset() -> None:
    library = load_library(shipped("library"))
    assert all(library.preset_for(each) for each in CLASSES)


def test_what_was_learned_is_kept_and_reads_sentences_the_same(tmp_path: Path) -> None:
    learned = few_learned()
    path = tmp_path / "intents" / "few.npz"
    keep(path, learned)
    kept = read_kept(path, FEW)
    assert kept is not None
    for words in ("my game stutters", "crackling sound", "what is the weather"):
        assert kept.scores(words) == pytest.approx(learned.scores(words), abs=1e-3)


@pytest.mark.parametrize("damage", [b"", b"PK\x03\x04", b"not an archive at all"], ids=["empty", "cut", "text"])
def test_what_was_learned_is_learned_anew_when_its_file_is_damaged(tmp_path: Path, damage: bytes) -> None:
    path = tmp_path / "few.npz"
    path.write_bytes(damage)
    assert read_kept(path, {"gaming": ("a",)}) is None


def test_what_was_learned_from_other_examples_is_deleted(tmp_path: Path) -> None:
    learned = few_learned()
    keep(tmp_path / "old.npz", learned)
    keep(tmp_path / "new.npz", learned)
    assert [each.name for each in tmp_path.iterdir()] == ["new.npz"]


def few_learned() -> Classifier:
    """From a handful, in no time."""
    return learn(FEW)


@pytest.mark.parametrize("text", ["gaming = 3", "gaming = [", 'gaming = ["a"]', "\xff"])
def test_damaged_examples_are_told(tmp_path: Path, text: str) -> None:
    path = tmp_path / "intents.toml"
    path.write_text(text, encoding="latin-1")
    with pytest.raises(BadFile):
        examples(path)
