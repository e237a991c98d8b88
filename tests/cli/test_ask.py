"""Plain words on the command line: answered with a reason, asked back when unclear, and nothing runs unproven."""

from __future__ import annotations

import pytest

from schedtui.backend.answer import answer
from schedtui.backend.library.catalogue import load_library
from schedtui.screens.describe import EXAMPLES
from tests.cli.commands import schedtui
from tests.conftest import DEFAULT, kernel_image


def test_words_that_could_mean_two_things_are_asked_back_with_the_nearest() -> None:
    ended = schedtui("ask", "--json", "hello")
    assert ended.code == 3
    nearest = [each["preset"] for each in ended.spoken["readings"]]
    assert len(nearest) == 2
    assert set(nearest) <= set(load_library().presets)
    assert ended.spoken["error"]["kind"] == "not-understood"
    assert all(f"schedtui apply {each}" in ended.spoken["error"]["remedy"] for each in nearest)


@pytest.mark.parametrize("words", ["", "  ", "?!", "42"])
def test_where_there_are_no_words_nothing_is_guessed(words: str) -> None:
    assert schedtui("ask", words).code == 2


@pytest.mark.parametrize("words", EXAMPLES)
def test_the_examples_that_the_screen_shows_are_understood(words: str) -> None:
    assert answer(load_library(), words).sure


@pytest.mark.lab
def test_a_clear_sentence_is_answered_proven_and_applied() -> None:
    image = str(kernel_image(DEFAULT))
    words = "the desktop freezes while something compiles"
    ended = schedtui("ask", words, "--quick", "--for", "1s", "--cpus", "2", "--kernel", image, "--json", timeout=120)
    assert ended.code == 0, ended
    spoken = ended.spoken
    assert spoken["preset"] == "desktop"
    assert "sounds like" in spoken["why"]
    assert spoken["report"]["verdict"] in ("pass", "warn")
    assert spoken["report"]["kernel"]["release"] == spoken["kernel"]
    assert spoken["scheduler"].startswith(spoken["policy"][:8])
    assert spoken["after"] == "EEVDF"
