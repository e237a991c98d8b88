"""``schedtui trust``: what each mind may do by itself on this computer, and taking that away.

What it takes to earn it is agent/trust.py's.
"""

from __future__ import annotations

from typing import Any

import click

from schedtui.backend.errors import UnknownName
from schedtui.commands.options import json_option
from schedtui.console import Console


@click.group(invoke_without_command=True)
@json_option
@click.pass_context
def trust(context: click.Context, as_json: bool) -> None:
    """What each model may do by itself on this computer.

    A new one may only propose. What you agree to and keep earns it more, a revert takes a level away. What was not
    verified, or is out of range, nobody may do. You are not asked at all with --yes, or with “automatic = true” under
    [trust] in config.toml.
    """
    if context.invoked_subcommand is None:
        _show(Console(as_json))


@trust.command("reset")
@click.argument("mind", required=False)
@json_option
def reset(mind: str | None, as_json: bool) -> None:
    """Forget what MIND has earned, or all of them: they may only propose again."""
    from schedtui.agent.trust import TrustFile

    file = TrustFile()
    if mind is not None and mind not in (known := file.standings()):
        there = f"There: {', '.join(known)}." if known else "None has earned anything."
        raise UnknownName(f"Nothing is known of a model called “{mind}”.", there)
    gone = file.reset(mind)
    words = f"May only propose again: {', '.join(gone)}." if gone else "None had earned anything."
    Console(as_json).result({"reset": gone}, words)


def _show(console: Console) -> None:
    from schedtui.agent.trust import TrustFile, TrustLevel
    from schedtui.config import asks_never

    file = TrustFile()
    standings = file.standings()
    automatic = asks_never()
    for problem in file.problems:
        console.note(problem)
    minds: list[dict[str, Any]] = [
        {
            "mind": name,
            "level": each.level.name.lower(),
            "may": each.level.words,
            "until_next_level": each.missing,
            "reverts": each.reverts,
            "changed": each.changed,
        }
        for name, each in sorted(standings.items())
    ]
    lines = [f"{each['mind']}: may {each['may']}{_further(each)}" for each in minds]
    lines = lines or [f"No model has earned anything yet: each may {TrustLevel.PROPOSE.words}."]
    if automatic:
        lines.append("You chose not to be asked: config.toml, [trust] automatic.")
    console.result({"minds": minds, "automatic": automatic, "problems": file.problems}, "\n".join(lines))


def _further(mind: dict[str, Any]) -> str:
    missing, reverts = mind["until_next_level"], mind["reverts"]
    more = f"; {missing} more that you keep until the next level" if missing else ""
    return f"{more}; {reverts} {'revert' if reverts == 1 else 'reverts'} so far" if reverts else more
