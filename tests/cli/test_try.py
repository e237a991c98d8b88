"""schedtui try: from a preset's name to a scheduler that was measured, and stays or goes."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.commands import schedtui


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["fiar"], 2, "fair"),
        (["fair", "--set", "slice_us=0"], 2, "slice_us"),
        (["default"], 1, "needs no trial"),
        (["fair", "--load", "hogs"], 2, "--machine lab"),
        (["fair", "--machine", "lab", "--load", "hgos"], 2, "hogs"),
    ],
    ids=["name", "value", "default", "load-on-the-host", "load"],
)
def test_what_cannot_be_tried_is_told_before_anything_is_opened(arguments: list[str], code: int, words: str) -> None:
    ended = schedtui("try", *arguments)
    assert ended.code == code
    assert words in ended.err


@pytest.mark.slow
def test_a_recording_takes_no_trial(tmp_path: Path) -> None:
    recording = Path(__file__).parents[1] / "recordings" / "idle-4.jsonl.gz"
    ended = schedtui("try", "fair", "--machine", f"replay:{recording}", "--json", XDG_DATA_HOME=str(tmp_path))
    assert ended.code == 1
    assert ended.spoken["state"] == ""
    assert ended.spoken["error"]["remedy"]


@pytest.mark.lab
@pytest.mark.soak
@pytest.mark.matrix
def test_what_nobody_is_there_to_keep_is_measured_and_taken_away(tmp_path: Path) -> None:
    arguments = ("try", "fair", "--machine", "lab", "--load", "hogs", "--json")
    ended = schedtui(*arguments, timeout=300, XDG_DATA_HOME=str(tmp_path))
    assert ended.code == 0, ended.err
    told = ended.spoken
    assert (told["policy"], told["state"]) == ("fair", "reverted")
    assert told["report"]["verdict"] != "fail"
    assert told["outcome"]["samples_after"] > 0
    assert told["before"] == told["after"] == "EEVDF"
