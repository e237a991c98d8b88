"""``schedtui owner`` and ``schedtui permanent``: who runs what on this computer, and what starts with it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from schedtui.backend.errors import NotPermitted
from schedtui.commands.options import json_option, set_option
from schedtui.console import Console

if TYPE_CHECKING:
    from schedtui.backend.model import OthersStatus, PermanentChange


@click.group(invoke_without_command=True)
@json_option
@click.pass_context
def owner(context: click.Context, as_json: bool) -> None:
    """Who started the scheduler that runs on this computer, and what else starts schedulers here."""
    if context.invoked_subcommand is None:
        from schedtui.backend.ownership import look

        _say(look(), Console(as_json))


@owner.command("take-over")
@json_option
def take_over(as_json: bool) -> None:
    """Stop what scx.service and scx_loader run; “give-back” starts it again as it was."""
    from schedtui.backend import ownership

    _say(ownership.take_over(), Console(as_json))


@owner.command("give-back")
@json_option
def give_back(as_json: bool) -> None:
    """Start what was taken over, as it was. What schedtui runs makes room for it."""
    from schedtui.backend import ownership

    _say(ownership.give_back(), Console(as_json))


@click.command()
@click.argument("name", metavar="SCHEDULER", required=False)
@click.option("--goal", default="", metavar="GOAL", help="Its mode for gaming, audio, desktop, server, battery, …")
@set_option
@click.option("--undo", is_flag=True, help="Put the file that was written last back as it was.")
@click.option("--yes", is_flag=True, help="Write it; without this, only show what would be written.")
@json_option
def permanent(
    name: str | None, goal: str, settings: tuple[tuple[str, str], ...], undo: bool, yes: bool, as_json: bool
) -> None:
    """Have an external SCHEDULER (scx_bpfland, …) start with the computer, through scx_loader or scx.service.

    Shows the change of their configuration; --yes writes it, --undo takes it back.
    """
    from schedtui.backend import ownership

    if undo == bool(name):
        raise click.UsageError("Give a SCHEDULER, or --undo.")
    if name is None:
        change = ownership.undo_permanent(preview=not yes)
    else:
        change = _make(name, goal, dict(settings), preview=not yes)
    more = "" if change.done or not change.diff else " --yes writes it."
    Console(as_json).result({"change": change}, f"{ownership.told_change(change)}{more}")


def _make(name: str, goal: str, settings: dict[str, str], *, preview: bool) -> PermanentChange:
    from schedtui.backend import ownership
    from schedtui.backend.library.catalogue import load_library
    from schedtui.backend.model import Policy
    from schedtui.backend.tunables import check_settings

    policy = load_library().find(name)
    if not isinstance(policy, Policy):
        raise NotPermitted(f"{name} is a preset.", "Name one scheduler, as scx_bpfland, and a --goal.")
    return ownership.make_permanent(policy, goal, check_settings(policy, {**settings}), preview=preview)


def _say(status: OthersStatus, console: Console) -> None:
    from schedtui.backend.ownership import told
    from schedtui.backend.probes.scheduler import read_scheduler

    data: dict[str, Any] = {
        "scheduler": read_scheduler().name,
        "owner": status.owner,
        "others": status.others,
        "taken_over": status.taken,
        "permanent_undoable": status.undoable,
        "told": status.told,
    }
    lines = told(status)
    lines += ["Give it back: schedtui owner give-back"] if status.taken else []
    lines += ["What starts with the computer was changed: schedtui permanent --undo"] if status.undoable else []
    console.result(data, "\n".join(lines))
