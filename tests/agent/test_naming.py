"""What a sentence names: a project's folder, a command."""

from __future__ import annotations

from pathlib import Path

import pytest

from schedtui.agent.naming import named_in


def test_a_folder_in_the_sentence_is_the_project_s(tmp_path: Path) -> None:
    assert named_in(f"my builds in {tmp_path} take for ever").folder == tmp_path


@pytest.mark.parametrize("after", [".", ",", "!", ")", "?"], ids=["stop", "comma", "bang", "bracket", "question"])
def test_a_sign_after_the_folder_is_no_part_of_it(tmp_path: Path, after: str) -> None:
    assert named_in(f"it is slow in {tmp_path}{after}").folder == tmp_path


def test_a_folder_is_found_from_the_home_folder_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "code").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path))
    assert named_in("speed up ~/code please").folder == tmp_path / "code"


def test_a_folder_with_blanks_stands_in_backticks(tmp_path: Path) -> None:
    spaced = tmp_path / "my game"
    spaced.mkdir()
    assert named_in(f"compile `{spaced}` faster").folder == spaced


@pytest.mark.parametrize(
    "words",
    [
        "my game stutters and/or hangs",
        "it is 24/7 slow",
        "in /nowhere/at/all",
        "what about /etc/passwd",
        "read ~nobody9/x",
    ],
    ids=["and-or", "numbers", "nowhere", "a-file", "no-user"],
)
def test_what_is_no_folder_names_none(words: str) -> None:
    assert named_in(words).folder is None


def test_backticks_hold_a_command(tmp_path: Path) -> None:
    named = named_in(f"make `make -j8 CFLAGS='-O2 -g'` end sooner, in {tmp_path}")
    assert named.command == ("make", "-j8", "CFLAGS=-O2 -g")
    assert named.folder == tmp_path


def test_a_path_inside_a_command_is_no_project() -> None:
    assert named_in("`ls /tmp` is slow").folder is None


@pytest.mark.parametrize(
    "words", ["it's slow", "my `game is slow", "``", "`echo 'x`"], ids=["none", "open", "empty", "quote"]
)
def test_what_is_no_command_names_none(words: str) -> None:
    assert named_in(words).command == ()
