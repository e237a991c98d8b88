"""``schedtui model``: which model answers “ask” and Describe, whether it works, and its key."""

from __future__ import annotations

import sys
from typing import Any

import click

from schedtui.agent.models import (
    ModelChoice,
    checked_choice,
    choose_model,
    chosen_model,
    keep_key,
    key_variable,
    where_the_key_is,
)
from schedtui.backend.errors import UnknownName
from schedtui.commands.options import json_option
from schedtui.console import NOT_DONE, Console

_NONE = "No model is chosen: the offline adviser answers. It needs no key and no network."


@click.group()
def model() -> None:
    """The model that answers “ask” and Describe; without one, the offline adviser does."""


@model.command()
@json_option
def show(as_json: bool) -> None:
    """Which model is chosen, and where its key comes from."""
    choice = chosen_model()
    if choice is None:
        Console(as_json).result(_keys(None), _NONE)
        return
    where = f" at {choice.address}" if choice.address else ""
    words = f"{choice.model}{where}; calls: {choice.calls}.\nKey: {where_the_key_is(choice)}."
    Console(as_json).result(_keys(choice), words)


@model.command("set")
@click.argument("name")
@click.option("--address", default="", metavar="URL", help="A server that speaks the OpenAI protocol.")
@click.option(
    "--calls",
    type=click.Choice(["auto", "native", "text"]),
    default="auto",
    show_default=True,
    help="How it calls tools; text for models that cannot.",
)
@json_option
def set_(name: str, address: str, calls: Any, as_json: bool) -> None:
    """Choose a model by litellm's name for it.

    For example: schedtui model set ollama/qwen3 · schedtui model set openai/NAME --address http://127.0.0.1:8080/v1
    """
    choice = checked_choice(name, address, calls)
    choose_model(choice)
    Console(as_json).result(_keys(choice), f"{name} answers from now on.\nKey: {where_the_key_is(choice)}.")


@model.command()
@json_option
def off(as_json: bool) -> None:
    """Choose none: the offline adviser answers again."""
    choose_model(None)
    Console(as_json).result(_keys(None), _NONE)


@model.command()
@click.option("--forget", is_flag=True, help="Take it out of the keyring.")
def key(forget: bool) -> None:
    """Keep the chosen model's key in the system's keyring; it is asked for, and never shown or written to a file."""
    choice = _chosen()
    if forget:
        keep_key(choice.provider, "")
        Console(False).result({}, f"The keyring holds no key for {choice.provider} any more.")
        return
    typed = click.prompt("Key", hide_input=True) if sys.stdin.isatty() else sys.stdin.readline()
    if not typed.strip():
        raise UnknownName("There is no key in that.", f"Or set {key_variable(choice)} in the environment.")
    keep_key(choice.provider, typed.strip())
    Console(False).result({}, f"The key for {choice.provider} is in the system's keyring.")


@model.command()
@json_option
@click.pass_context
def test(context: click.Context, as_json: bool) -> None:
    """Ask the chosen model one small question: does it answer, does it call tools, what does it cost."""
    from schedtui.agent.brain import Brain, check_model

    choice = _chosen()
    console = Console(as_json)
    console.progress(f"asking {choice.model}", 0)
    brain = Brain(choice)
    try:
        found = check_model(brain)
    finally:
        brain.close()
    console.result({**_keys(choice), "tested": found}, f"{found.text} {found.remedy}".strip())
    context.exit(0 if found.ok else NOT_DONE)


def _chosen() -> ModelChoice:
    choice = chosen_model()
    if choice is None:
        raise UnknownName("No model is chosen.", "Choose one: schedtui model set PROVIDER/MODEL")
    return choice


def _keys(choice: ModelChoice | None) -> dict[str, Any]:
    if choice is None:
        return {"model": "", "mind": "offline adviser"}
    return {
        "model": choice.model,
        "mind": choice.model,
        "address": choice.address,
        "calls": choice.calls,
        "key": where_the_key_is(choice),
    }
