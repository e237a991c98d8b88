"""``schedtui model``: choosing a model, and where its key comes from."""

from __future__ import annotations

import json
from typing import Any

import pytest
from click.testing import CliRunner

from schedtui.agent.models import ModelChoice, chosen_model, key_for
from schedtui.cli import cli
from schedtui.config import config_file


def run(*words: str, typed: str | None = None) -> Any:
    return CliRunner().invoke(cli, ["model", *words], input=typed)


def test_without_a_choice_the_offline_adviser_answers() -> None:
    assert chosen_model() is None
    assert json.loads(run("show", "--json").output)["mind"] == "offline adviser"


def test_a_choice_lasts_and_leaves_other_settings_alone() -> None:
    config_file().parent.mkdir(parents=True, exist_ok=True)
    config_file().write_text('# mine\ntheme = "schedtui-light"\n')
    assert run("set", "openai/made-by-hand", "--address", "http://127.0.0.1:1/v1", "--calls", "text").exit_code == 0
    assert chosen_model() == ModelChoice(model="openai/made-by-hand", address="http://127.0.0.1:1/v1", calls="text")
    assert config_file().read_text().startswith('# mine\ntheme = "schedtui-light"\n')
    assert run("off").exit_code == 0
    assert chosen_model() is None
    assert "schedtui-light" in config_file().read_text()


@pytest.mark.parametrize(
    "words", [("noslash",), ("a/b c",), ("a/b", "--address", "ftp://x")], ids=["no-provider", "space", "no-address"]
)
def test_what_is_no_model_is_refused_in_a_sentence(words: tuple[str, ...]) -> None:
    result = run("set", *words)
    assert result.exit_code != 0 and chosen_model() is None
    assert "Traceback" not in result.output


def test_a_damaged_choice_is_told_and_not_guessed() -> None:
    config_file().parent.mkdir(parents=True, exist_ok=True)
    config_file().write_text("[model]\nmodel = 3\n")
    result = run("show")
    assert result.exit_code != 0 and "cannot be used" in str(result.output) + str(result.exception)


def test_the_key_comes_from_the_environment_and_is_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    run("set", "openai/made-by-hand")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret-0123456789")
    choice = chosen_model()
    assert choice is not None and key_for(choice) == "sk-secret-0123456789"
    for command in (("show",), ("show", "--json")):
        output = run(*command).output
        assert "OPENAI_API_KEY" in output and "secret" not in output


def test_a_missing_key_is_said_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    assert "missing: set OPENAI_API_KEY" in run("set", "openai/made-by-hand").output


def test_a_model_on_this_computer_needs_no_key() -> None:
    assert "none is needed" in run("set", "ollama/qwen3").output
