"""Prompts for whoever works with the tools: how each of the four roles works, and the whole work from words to result.

How a role works is said once, in the agent's own prompts (agent/roles.py); here it is told which tools to call for it,
and in which order. What a person asks for comes in as an argument and is quoted.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import mcp_types as types
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel import Server
from mcp.shared.exceptions import MCPError
from msgspec import Struct

if TYPE_CHECKING:
    from schedtui.agent.mind import RoleName

_LONGEST_WORDS = 4000
_LONGEST_FOLDER = 1000
_Context = ServerRequestContext[Any, Any]


class _Known(Struct, frozen=True):
    name: str
    title: str
    description: str
    role: RoleName | None
    """None: the whole work."""


_PROMPTS = (
    _Known(
        "schedule",
        "Fit the scheduler to what I do",
        "The whole work: see what runs, choose a policy, prove it, try it, keep what was learned.",
        None,
    ),
    _Known("observe", "Say what runs", "From words and what the machine shows: the workload, its metric.", "observe"),
    _Known("plan", "Choose what to try", "For a workload that is known: a policy and its settings.", "plan"),
    _Known("execute", "Prove it and try it", "For a plan that was made: the verifier, then the canary.", "execute"),
    _Known("learn", "Keep what was learned", "After a trial: notes for the next time, and the result.", "learn"),
)
_ORDER: tuple[RoleName, ...] = ("observe", "plan", "execute", "learn")
_FIRST = {
    "observe": "Begin with new_request, which takes the words (and the folder).",
    "plan": "It needs a workload: submit_workload comes before.",
    "execute": "It needs a plan: submit_plan comes before. Wait for each answer; verify and canary take a while.",
    "learn": "It needs a round that is over: after canary or give_up.",
}


def register(server: Server[Any], _choose: Callable[[_Context], Any]) -> None:
    """Let the server answer for prompts, which are the same for every client."""
    server.add_request_handler("prompts/list", types.PaginatedRequestParams, _listed)
    server.add_request_handler("prompts/get", types.GetPromptRequestParams, _got)


async def _listed(_context: _Context, _params: types.PaginatedRequestParams) -> types.ListPromptsResult:
    return types.ListPromptsResult(
        prompts=[
            types.Prompt(
                name=each.name,
                title=each.title,
                description=each.description,
                arguments=[
                    types.PromptArgument(
                        name="words",
                        description="What should get better, in your own words.",
                        required=each.role in (None, "observe"),
                    ),
                    types.PromptArgument(name="folder", description="Your project's folder.", required=False),
                ],
            )
            for each in _PROMPTS
        ]
    )


async def _got(_context: _Context, params: types.GetPromptRequestParams) -> types.GetPromptResult:
    from schedtui.agent.tools import shown

    known = next((each for each in _PROMPTS if each.name == params.name), None)
    if known is None:
        names = ", ".join(each.name for each in _PROMPTS)
        raise _wrong(f"There is no prompt called {shown(params.name)}. There are: {names}.")
    words, folder = _arguments(params.arguments or {})
    if not words and known.role in (None, "observe"):
        raise _wrong(f"The prompt {known.name} needs words: what should get better.")
    text = _whole() if known.role is None else _of_role(known.role)
    message = types.PromptMessage(
        role="user", content=types.TextContent(type="text", text="\n\n".join([text, *_asked(words, folder)]))
    )
    return types.GetPromptResult(description=known.description, messages=[message])


def _arguments(given: dict[str, str]) -> tuple[str, str]:
    from schedtui.agent.tools import cleaned, shown

    unknown = sorted(set(given) - {"words", "folder"})
    if unknown:
        raise _wrong(f"Unknown argument {shown(unknown[0])}. There are: words, folder.")
    words, folder = given.get("words", "").strip(), given.get("folder", "").strip()
    if len(words) > _LONGEST_WORDS or len(folder) > _LONGEST_FOLDER:
        raise _wrong(f"That is too long: at most {_LONGEST_WORDS} characters of words, {_LONGEST_FOLDER} of folder.")
    return cleaned(words), " ".join(cleaned(folder).split())


def _asked(words: str, folder: str) -> list[str]:
    return [
        *([f"The person wrote: “{words}”"] if words else []),
        *([f"Their project's folder: {folder}"] if folder else []),
    ]


def _of_role(role: RoleName) -> str:
    from schedtui.agent import roles
    from schedtui.agent.toolset import tools

    names = ", ".join(each.name for each in tools() if role in each.roles)
    return f"{roles.system(role)}\n\nYour tools for this: {names}. {_FIRST[role]}"


def _whole() -> str:
    from schedtui.agent import roles

    steps = "\n\n".join(f"## {n}. {roles.WHY[role]}\n\n{_of_role(role)}" for n, role in enumerate(_ORDER, 1))
    return (
        "Work for a person with schedtui's tools, in four steps, each from what the step before found. No step can be "
        "left out: nothing is tried that was not proven. A person may be asked before a trial, and may take the "
        "machine back at any time; then stop, and say so. When a round did not help, plan again, or finish.\n\n" + steps
    )


def _wrong(text: str) -> MCPError:
    return MCPError(types.INVALID_PARAMS, text)
