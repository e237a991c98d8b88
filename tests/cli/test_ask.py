"""Plain words on the command line: answered with a reason, asked back when unclear, and nothing runs unproven."""

from __future__ import annotations

from pathlib import Path

import pytest

from schedtui.backend.answer import answer
from schedtui.backend.library.catalogue import load_library
from schedtui.screens.describe import EXAMPLES
from tests.cli.commands import schedtui
from tests.conftest import DEFAULT, kernel_image


@pytest.mark.parametrize("words", ["", "  ", "?!", "42"])
def test_where_there_are_no_words_nothing_is_guessed(words: str) -> None:
    assert schedtui("ask", words).code == 2


@pytest.mark.parametrize("words", EXAMPLES)
def test_the_examples_that_the_screen_shows_are_understood(words: str) -> None:
    assert answer(load_library(), words).sure


@pytest.fixture
def own(tmp_path: Path) -> dict[str, str]:
    """Nothing known from before, and no model chosen."""
    return {"XDG_DATA_HOME": str(tmp_path / "data"), "XDG_CONFIG_HOME": str(tmp_path / "config")}


@pytest.mark.lab
def test_words_that_fit_no_goal_are_asked_back_and_nothing_runs(own: dict[str, str]) -> None:
    image = str(kernel_image(DEFAULT))
    ended = schedtui("ask", "--json", "what is the weather like", "--cpus", "2", "--kernel", image, timeout=120, **own)
    assert ended.code == 3, ended
    spoken = ended.spoken
    assert (spoken["state"], spoken["error"]["kind"]) == ("unknown", "not-understood")
    assert "schedtui apply" in spoken["error"]["remedy"]
    assert spoken["workload"]["class"] == "unknown"
    assert (spoken["plan"], spoken["deployment"], spoken["scheduler"]) == (None, None, "EEVDF")


@pytest.mark.lab
@pytest.mark.soak
@pytest.mark.matrix
def test_a_clear_sentence_is_answered_proven_tried_and_measured(own: dict[str, str]) -> None:
    image = str(kernel_image(DEFAULT))
    words = "my game stutters while a build runs"
    lab = ("--cpus", "2", "--kernel", image)
    ended = schedtui("ask", words, "--quick", "--for", "1s", *lab, "--json", timeout=200, **own)
    assert ended.code == 0, ended
    spoken = ended.spoken
    assert spoken["workload"]["class"] == "gaming"
    assert spoken["plan"]["mode"] == "configure"
    assert spoken["report"]["verdict"] in ("pass", "warn")
    assert spoken["report"]["kernel"]["release"] == spoken["kernel"]
    assert spoken["deployment"]["policy"] == spoken["report"]["name"]
    assert spoken["state"] == spoken["deployment"]["state"]
    assert spoken["state"] in ("kept", "reverted")
    assert spoken["outcome"]["verdict"] in ("better", "worse", "no-difference", "inconclusive")
    assert spoken["state"] == "reverted" or spoken["outcome"]["verdict"] == "better"
    assert spoken["usage"]["dollars"] == 0
    assert Path(spoken["trajectory"]).exists()
    assert spoken["after"] == "EEVDF"


@pytest.mark.lab
def test_where_nothing_can_be_loaded_it_is_proven_and_proposed_with_the_reason(own: dict[str, str]) -> None:
    if Path("/sys/kernel/sched_ext").is_dir():
        return
    ended = schedtui("ask", "--machine", "host", "the desktop lags", "--quick", "--json", timeout=200, **own)
    assert ended.code == 0, ended
    assert ended.spoken["state"] == "proposed"
    assert ended.spoken["report"]["verdict"] in ("pass", "warn")
    assert "sched_ext" in ended.spoken["text"]
    assert ended.spoken["deployment"] is None
