"""Which model is to be asked: the user's choice in ``config.toml``, and its key from the environment or the keyring.

Keys are read at the moment they are used, and never written to a file, a log, a trajectory or the audit.
"""

from __future__ import annotations

import os
from typing import Literal

import msgspec
from msgspec import Struct

from schedtui.backend.errors import BadFile, MissingTool, UnknownName
from schedtui.config import read_table, remember_table

SERVICE = "schedtui"
"""What our keys are filed under in the system's keyring."""
_TABLE = "model"
_KEY_VARIABLES = {
    "openai": "OPENAI_API_KEY",
    "anthropic": "ANTHROPIC_API_KEY",
    "gemini": "GEMINI_API_KEY",
    "mistral": "MISTRAL_API_KEY",
    "groq": "GROQ_API_KEY",
    "openrouter": "OPENROUTER_API_KEY",
    "deepseek": "DEEPSEEK_API_KEY",
    "xai": "XAI_API_KEY",
}
_LONGEST = 200
_NEEDS_NO_KEY = ("ollama", "ollama_chat", "lm_studio", "llamafile", "hosted_vllm")


Calls = Literal["auto", "native", "text"]


class ModelChoice(Struct, frozen=True, kw_only=True):
    """A model, where it is, and how it calls tools."""

    model: str
    """As litellm names it: ``anthropic/claude-…``, ``openai/gpt-…``, ``ollama/qwen3``."""
    address: str = ""
    """Of a server that speaks the OpenAI protocol; empty: the provider's own."""
    calls: Calls = "auto"
    """``text`` for a model that knows no tool calls; ``auto`` finds out."""

    @property
    def provider(self) -> str:
        """The part before the slash."""
        return self.model.partition("/")[0] if "/" in self.model else "openai"


def chosen_model() -> ModelChoice | None:
    """The user's choice; None when no model was chosen: then the offline adviser works. Raises BadFile."""
    table = read_table(_TABLE)
    if not table.get("model"):
        return None
    try:
        return msgspec.convert(table, ModelChoice)
    except msgspec.ValidationError as error:
        raise BadFile(
            f"The model in the settings cannot be used: {error}.", "Choose it again: schedtui model set NAME."
        ) from error


def checked_choice(name: str, address: str = "", calls: Calls = "auto") -> ModelChoice:
    """A choice as a person typed it. Raises UnknownName for what cannot be one."""
    if "/" not in name or not name.isprintable() or " " in name or len(name) > _LONGEST:
        raise UnknownName(f"“{name}” is not PROVIDER/MODEL.", "For example ollama/qwen3.")
    if address and not address.startswith(("http://", "https://")):
        raise UnknownName(f"“{address}” is no address of a server.", "It begins with http:// or https://.")
    return ModelChoice(model=name, address=address, calls=calls)


def choose_model(choice: ModelChoice | None) -> None:
    """Keep the choice; None: the offline adviser again. Raises BadFile when it cannot be written."""
    remember_table(_TABLE, None if choice is None else msgspec.structs.asdict(choice))


def key_variable(choice: ModelChoice) -> str:
    """The environment variable that holds the provider's key."""
    return _KEY_VARIABLES.get(choice.provider, f"{choice.provider.upper().replace('-', '_')}_API_KEY")


def key_for(choice: ModelChoice) -> str:
    """The key: from the environment, else from the keyring; a word that is no key where none is needed; else empty."""
    return os.environ.get(key_variable(choice), "") or _from_keyring(choice.provider) or _no_key(choice)


def where_the_key_is(choice: ModelChoice) -> str:
    """In words for the user, without the key."""
    if os.environ.get(key_variable(choice)):
        return f"from the environment ({key_variable(choice)})"
    if _from_keyring(choice.provider):
        return "from the system's keyring"
    if _no_key(choice):
        return "none is needed"
    return f"missing: set {key_variable(choice)}, or keep it in the keyring with schedtui model key"


def keep_key(provider: str, key: str) -> None:
    """File the key in the system's keyring; an empty one takes it out. Raises MissingTool where there is no keyring."""
    try:
        import keyring
        import keyring.errors

        if key:
            keyring.set_password(SERVICE, provider, key)
        elif keyring.get_password(SERVICE, provider) is not None:
            keyring.delete_password(SERVICE, provider)
    except Exception as error:  # each keyring's service fails in its own way
        raise MissingTool(
            "This computer has no keyring that can be used here, so the key was not kept.",
            "Set it in the environment of your shell instead.",
            str(error),
        ) from error


def _from_keyring(provider: str) -> str:
    try:
        import keyring

        return keyring.get_password(SERVICE, provider) or ""
    except Exception:  # noqa: BLE001 - as above: then there is no key there
        return ""


def _no_key(choice: ModelChoice) -> str:
    return "none" if choice.address or choice.provider in _NEEDS_NO_KEY else ""
