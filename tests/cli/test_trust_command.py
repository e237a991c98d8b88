"""schedtui trust: shows what models may do, and takes it away."""

from __future__ import annotations

from pathlib import Path

import pytest

from schedtui.agent.trust import FIRST, Trust, TrustLevel
from tests.cli.commands import schedtui

pytestmark = pytest.mark.slow


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home, for this test and the commands that it runs."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    return tmp_path


def test_it_says_that_nothing_was_earned_yet(home: Path) -> None:
    ended = schedtui("trust")
    assert ended.code == 0
    assert "may only propose" in ended.out


def test_what_a_model_has_earned_is_shown_and_can_be_forgotten(home: Path) -> None:
    trust = Trust("openai/gpt")
    for _ in range(FIRST):
        trust.note(TrustLevel.LIBRARY, "kept", asked=True)
    shown = schedtui("trust", "--json").spoken["minds"]
    assert [(each["mind"], each["level"], each["until_next_level"]) for each in shown] == [("openai/gpt", "library", 3)]
    assert schedtui("trust", "reset", "--json").spoken == {"reset": ["openai/gpt"]}
    assert Trust("openai/gpt").level == TrustLevel.PROPOSE


def test_a_stranger_cannot_be_reset(home: Path) -> None:
    ended = schedtui("trust", "reset", "nobody")
    assert ended.code == 2
    assert "nobody" in ended.err


def test_a_damaged_file_is_told(home: Path) -> None:
    (home / "data" / "schedtui").mkdir(parents=True)
    (home / "data" / "schedtui" / "trust.json").write_text("{")
    ended = schedtui("trust", "--json")
    assert ended.code == 0
    assert "damaged" in ended.spoken["problems"][0]


def test_the_setting_for_who_wants_it_automatic_is_shown_and_checked(home: Path) -> None:
    config = home / "config" / "schedtui" / "config.toml"
    config.parent.mkdir(parents=True)
    config.write_text("[trust]\nautomatic = true\n")
    assert schedtui("trust", "--json").spoken["automatic"] is True
    config.write_text('[trust]\nautomatic = "yes"\n')
    ended = schedtui("trust")
    assert ended.code == 1
    assert "true or false" in ended.err
