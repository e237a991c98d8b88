"""The choice of the model: kept, tested over real HTTP, what it earned shown and forgotten, and no key ever shown."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from textual.pilot import Pilot

from schedtui.agent.models import ModelChoice, choose_model, chosen_model
from schedtui.agent.trust import Trust, TrustFile, TrustLevel
from schedtui.screens.model import ModelScreen
from tests.agent.server import Refuses, Says, Script, in_turn, serving
from tests.app.conftest import screen_text, text_of, until
from tests.recordings.pictures import Pictured

pytestmark = pytest.mark.slow
NAME = "openai/made-by-hand"
SECRET = "sk-do-not-show-this"


@pytest.fixture(autouse=True)
def no_keyring(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody's keys are looked at."""
    monkeypatch.setenv("PYTHON_KEYRING_BACKEND", "keyring.backends.null.Keyring")


@contextlib.asynccontextmanager
async def choosing() -> AsyncIterator[tuple[Pictured, Pilot[None]]]:
    """The model's screen, opened as the palette does."""
    app = Pictured("busy-4-eevdf", 3, live=True)
    try:
        async with app.run_test(size=(100, 30)) as pilot:
            await app.played(pilot)
            app.action_model()
            await until(pilot, lambda: isinstance(app.screen, ModelScreen))
            yield app, pilot
    finally:
        app.close_machines()


def said(app: Pictured) -> str:
    return text_of(app.screen.query_one("#text"))


async def test_without_a_model_the_offline_adviser_answers_and_says_so() -> None:
    async with choosing() as (app, _pilot):
        assert "The offline adviser answers" in said(app)
        assert "only propose by itself" in said(app)


async def test_what_is_typed_is_kept_and_an_empty_name_is_the_offline_adviser_again() -> None:
    async with choosing() as (app, pilot):
        await pilot.press(*"ollama/qwen3", "tab", "tab", "space", "enter")
        assert chosen_model() == ModelChoice(model="ollama/qwen3", calls="native")
        assert "ollama/qwen3 answers from now on" in said(app)
        await pilot.press("up", "up", "ctrl+u", "enter")
        assert chosen_model() is None


async def test_what_can_be_no_model_is_said_and_not_kept() -> None:
    async with choosing() as (app, pilot):
        await pilot.press(*"qwen3", "enter")
        assert "is not PROVIDER/MODEL" in said(app)
        assert chosen_model() is None


async def test_where_the_key_comes_from_is_said_and_the_key_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)
    choose_model(ModelChoice(model=NAME))
    async with choosing() as (app, pilot):
        await until(pilot, lambda: "from the environment (OPENAI_API_KEY)" in said(app))
        assert SECRET not in screen_text(app)


@pytest.mark.parametrize(
    ("script", "words"),
    [(in_turn(Says("", (("ready", {"word": "yes"}),))), "It calls tools."), (in_turn(Refuses(401)), "What to do:")],
    ids=["answers", "refuses"],
)
async def test_the_test_says_what_came(script: Script, words: str) -> None:
    with serving(script) as server:
        choose_model(ModelChoice(model=NAME, address=server.address))
        async with choosing() as (app, pilot):
            await pilot.press("ctrl+t")
            await until(pilot, lambda: "Asking it" in said(app))
            await until(pilot, lambda: words in said(app), 60)
            assert server.requests


async def test_what_a_model_earned_is_shown_and_forgotten_after_one_more_press() -> None:
    choose_model(ModelChoice(model=NAME))
    for _ in range(3):
        Trust(NAME).note(TrustLevel.LIBRARY, "kept", asked=True)
    async with choosing() as (app, pilot):
        assert f"{NAME} may run any verified policy of the library by itself" in said(app)
        await pilot.press("ctrl+r")
        assert "Press ^r once more" in said(app)
        assert TrustFile().standings()
        await pilot.press("ctrl+r")
        assert not TrustFile().standings()
        assert f"{NAME} may only propose again" in said(app)


async def test_damaged_settings_are_told_with_the_remedy(home: Path) -> None:
    file = home / "config" / "schedtui" / "config.toml"
    file.parent.mkdir(parents=True)
    file.write_text("[model\n")
    async with choosing() as (app, _pilot):
        assert "Mend the file" in said(app)
