"""``schedtui owner`` and ``schedtui permanent``: who runs what on this computer, and what starts with it.

What is done is the helper's (helper/ownership.py); here it is asked for and told.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from schedtui.backend.errors import NotPermitted, SchedtuiError
from schedtui.commands.options import json_option, set_option
from schedtui.console import Console

if TYPE_CHECKING:
    from schedtui.backend.helper.client import HelperClient
    from schedtui.backend.helper.protocol import Body, MakePermanent, Reply
    from schedtui.backend.model import OthersStatus, PermanentChange

_LIMIT_S = 60.0
_SETUP = "Set it up once: sudo schedtui setup"


@click.group(invoke_without_command=True)
@json_option
@click.pass_context
def owner(context: click.Context, as_json: bool) -> None:
    """Who started the scheduler that runs on this computer, and what else starts schedulers here."""
    if context.invoked_subcommand is None:
        console = Console(as_json)
        _say(_look(), console)


@owner.command("take-over")
@json_option
def take_over(as_json: bool) -> None:
    """Stop what scx.service and scx_loader run; “give-back” starts it again as it was."""
    from schedtui.backend.helper.protocol import TakeOver

    reply = _asked(TakeOver())
    assert reply.others
    _say(reply.others, Console(as_json))


@owner.command("give-back")
@json_option
def give_back(as_json: bool) -> None:
    """Start what was taken over, as it was. What schedtui runs makes room for it."""
    from schedtui.backend.helper.protocol import GiveBack

    reply = _asked(GiveBack())
    assert reply.others
    _say(reply.others, Console(as_json))


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
    from schedtui.backend.helper.protocol import UndoPermanent

    if undo == bool(name):
        raise click.UsageError("Give a SCHEDULER, or --undo.")
    reply = _asked(UndoPermanent(preview=not yes) if undo else _making(name or "", goal, settings, not yes))
    assert reply.permanent
    _show(reply.permanent, Console(as_json))


def _making(name: str, goal: str, settings: tuple[tuple[str, str], ...], preview: bool) -> MakePermanent:
    from schedtui.backend.helper.protocol import MakePermanent
    from schedtui.backend.library.catalogue import load_library
    from schedtui.backend.model import Policy
    from schedtui.backend.tunables import check_settings

    policy = load_library().find(name)
    if not isinstance(policy, Policy) or not policy.binary:
        raise NotPermitted(
            f"{name} is no scheduler that scx_loader or scx.service can start.",
            "They start programs, as scx_bpfland. What you kept is loaded at login by: schedtui watch --print-unit",
        )
    return MakePermanent(name=policy.name, goal=goal, settings=check_settings(policy, dict(settings)), preview=preview)


def _look() -> OthersStatus:
    """As the helper sees it; without one, as anybody can."""
    from schedtui.backend.helper.protocol import GetOthers

    try:
        with _helper() as client:
            reply = client.call(GetOthers(), _LIMIT_S)
    except NotPermitted:
        return _seen_by_anybody()
    assert reply.others
    return reply.others


def _seen_by_anybody() -> OthersStatus:
    from schedtui.backend.helper.others import Others
    from schedtui.backend.model import OthersStatus
    from schedtui.backend.probes.owner import OwnerProbe
    from schedtui.backend.probes.scheduler import read_scheduler

    with contextlib.suppress(SchedtuiError):
        others = Others(Path("/nonexistent")).look()
        return OthersStatus(owner=OwnerProbe().owner(read_scheduler()), others=others)
    return OthersStatus(owner=OwnerProbe().owner(read_scheduler()))


def _asked(body: Body) -> Reply:
    with _helper() as client:
        return client.call(body, _LIMIT_S)


@contextlib.contextmanager
def _helper() -> Iterator[HelperClient]:
    """Raises NotPermitted where there is no helper, or it does not serve this user."""
    from schedtui.backend.helper.client import connect
    from schedtui.backend.helper.places import Places

    try:
        client = connect(Places().socket)
    except FileNotFoundError:
        raise NotPermitted("This needs schedtui's helper, which is not installed or does not run.", _SETUP) from None
    try:
        client.hello()
        yield client
    finally:
        client.close()


def _say(status: OthersStatus, console: Console) -> None:
    from schedtui.backend.probes.scheduler import read_scheduler

    scheduler = read_scheduler()
    data: dict[str, Any] = {
        "scheduler": scheduler.name,
        "owner": status.owner,
        "others": status.others,
        "taken_over": status.taken,
        "permanent_undoable": status.undoable,
        "told": status.told,
    }
    command = f" ({status.owner.command})" if status.owner.command else ""
    by = "the kernel's own" if status.owner.kind == "kernel" else f"started by {status.owner.words}{command}"
    lines = [*[f"{each}." for each in status.told], f"{scheduler.name}, {by}."]
    for other in status.others:
        boot = ", and starts with the computer" if other.at_boot else ""
        lines.append(f"{other.name} {f'runs {other.what}' if other.runs else 'is there and runs nothing'}{boot}.")
    lines += [f"Taken over from {each.name}: {each.what}. Back: schedtui owner give-back" for each in status.taken]
    if status.undoable:
        lines.append("What starts with the computer was changed here. Back: schedtui permanent --undo --yes")
    console.result(data, "\n".join(lines))


def _show(change: PermanentChange, console: Console) -> None:
    if not change.diff and not change.enables:
        console.result({"change": change}, f"It is so already: {change.words}")
        return
    enables = f"systemctl enable {change.enables}" if change.enables else ""
    then = change.words if change.done else f"Then: {change.words} Nothing was written; --yes does it."
    console.result({"change": change}, "\n".join(filter(None, [change.diff.rstrip("\n"), enables, then])))
