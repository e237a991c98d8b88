"""Each program's token is made once, kept where only its owner reads it, and refused when it may have been read."""

from __future__ import annotations

import stat
import subprocess
import sys
from pathlib import Path

import pytest

from schedtui.backend.errors import BadFile, UnknownName
from schedtui.mcp.tokens import MOST_TOKENS, Tokens

MAKE = "import sys; from pathlib import Path; from schedtui.mcp.tokens import Tokens; {act}"


@pytest.fixture
def tokens(tmp_path: Path) -> Tokens:
    return Tokens(tmp_path / "mcp" / "tokens.json")


def test_a_program_keeps_its_token_and_no_two_have_the_same(tokens: Tokens) -> None:
    first = tokens.token("claude")
    assert tokens.token("claude") == first
    assert Tokens(tokens.path).token("claude") == first
    assert tokens.token("cursor") != first
    assert tokens.names() == ["claude", "cursor"]
    assert (tokens.holder(first), tokens.holder(tokens.token("cursor"))) == ("claude", "cursor")


def test_only_its_owner_can_read_the_file(tokens: Tokens) -> None:
    tokens.token("claude")
    assert stat.S_IMODE(tokens.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(tokens.path.parent.stat().st_mode) == 0o700


@pytest.mark.parametrize("wrong", ["", "schedtui-", "claude", "ä" * 40, "\udc80", "x" * 100_000])
def test_what_is_no_token_belongs_to_nobody(tokens: Tokens, wrong: str) -> None:
    tokens.token("claude")
    assert tokens.holder(wrong) is None


def test_a_revoked_token_is_seen_to_be_revoked_by_whoever_holds_the_file_open(tokens: Tokens) -> None:
    old, made = tokens.token("claude"), tokens.made()
    assert tokens.holder(old) == "claude"
    Tokens(tokens.path).revoke("claude")
    assert tokens.holder(old) is None
    assert tokens.token("claude") != old
    assert tokens.made()["claude"] > made["claude"]
    with pytest.raises(UnknownName, match="No program of that name"):
        tokens.revoke("cursor")


@pytest.mark.parametrize("name", ["", "Claude", "a b", "../x", "-a", "a" * 33, "ä", "a\n"])
def test_a_name_that_could_be_taken_for_something_else_gets_no_token(tokens: Tokens, name: str) -> None:
    with pytest.raises(UnknownName, match="small letters"):
        tokens.token(name)


def test_there_are_only_so_many_tokens(tokens: Tokens) -> None:
    for number in range(MOST_TOKENS):
        tokens.token(f"program-{number}")
    with pytest.raises(BadFile, match="already"):
        tokens.token("one-more")


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o666])
def test_a_file_that_others_may_have_read_admits_nobody(tokens: Tokens, mode: int) -> None:
    token = tokens.token("claude")
    assert tokens.holder(token)
    tokens.path.chmod(mode)
    for each in (tokens, Tokens(tokens.path)):
        with pytest.raises(BadFile, match="Others may read") as told:
            each.holder(token)
        assert f"chmod 600 {tokens.path}" in told.value.remedy
    with pytest.raises(BadFile):
        tokens.token("another")


def test_a_folder_that_others_may_write_admits_nobody(tokens: Tokens) -> None:
    token = tokens.token("claude")
    tokens.path.parent.chmod(0o777)
    with pytest.raises(BadFile, match="Others may write"):
        tokens.holder(token)


def test_a_link_in_place_of_the_file_is_not_followed(tokens: Tokens, tmp_path: Path) -> None:
    token = tokens.token("claude")
    elsewhere = tokens.path.rename(tmp_path / "elsewhere")
    tokens.path.symlink_to(elsewhere)
    with pytest.raises(BadFile, match="cannot be read"):
        Tokens(tokens.path).holder(token)


@pytest.mark.parametrize(
    "text",
    [b"", b"{", b"[]", b'{"tokens": {"claude": {"token": "", "made_at": 0}}}', b"\xff", b"[" * 5000, b" " * 70_000],
    ids=["empty", "cut", "list", "empty-token", "no-text", "deep", "large"],
)
def test_a_damaged_file_admits_nobody_and_is_left_as_it_is(tokens: Tokens, text: bytes) -> None:
    token = tokens.token("claude")
    tokens.path.write_bytes(text)
    with pytest.raises(BadFile, match="was damaged") as told:
        tokens.holder(token)
    assert "schedtui mcp --token NAME" in told.value.remedy
    with pytest.raises(BadFile):
        tokens.token("claude")
    assert tokens.path.read_bytes() == text


@pytest.mark.slow
def test_programs_that_ask_at_once_all_get_their_token(tokens: Tokens) -> None:
    act = "Tokens(Path(sys.argv[1])).token(sys.argv[2])"
    names = [f"program-{number}" for number in range(4)]
    started = [subprocess.Popen([sys.executable, "-c", MAKE.format(act=act), str(tokens.path), name]) for name in names]
    assert [each.wait(60) for each in started] == [0] * 4
    assert tokens.names() == names
