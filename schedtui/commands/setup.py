"""``schedtui setup``: install the helper, run it for a session, or take all of it away; says first what it changes."""

from __future__ import annotations

import os
import pwd
from pathlib import Path
from typing import TYPE_CHECKING

import click

from schedtui.backend.errors import NotPermitted, SchedtuiError, SetupFailed, UnknownName
from schedtui.commands.options import json_option
from schedtui.console import NOT_DONE, Console

if TYPE_CHECKING:
    from schedtui.backend.setup.install import Plan
    from schedtui.backend.setup.targets import Targets

_STATES = {"new": "new", "changed": "changed", "same": "as it is"}


@click.command()
@click.option("--user", metavar="NAME", help="Who may use the helper. [default: whoever calls sudo]")
@click.option("--dry-run", is_flag=True, help="Only say what would be changed.")
@click.option("--remove", is_flag=True, help="Take all of it away again.")
@click.option("--for-now", is_flag=True, help="Install nothing: run the helper until Ctrl-C.")
@click.option("--until", type=int, metavar="PID", hidden=True, help="With --for-now: in the background, until it ends.")
@click.option("--root", type=click.Path(path_type=Path), default="/", hidden=True, help="Install below this folder.")
@click.option("--machine/--no-machine", "machine", default=True, hidden=True, help="Build the verifying machine now.")
@json_option
@click.pass_context
def setup(
    context: click.Context,
    user: str | None,
    dry_run: bool,
    remove: bool,
    for_now: bool,
    until: int | None,
    root: Path,
    machine: bool,
    as_json: bool,
) -> None:
    """Install the helper, so that schedulers can be loaded on this computer: sudo schedtui setup.

    It says first what it changes, and can be run again: to update the helper, or to let another user use it.
    """
    from schedtui.backend.setup.targets import Targets

    console, targets = Console(as_json), Targets(root=root.resolve())
    if remove and for_now:
        raise click.UsageError("--remove and --for-now do not go together.")
    if os.geteuid() != 0 and not dry_run:
        raise NotPermitted("Only root can do this.", _as_root(context))
    if remove:
        _remove(targets, dry_run, console)
        return
    uids = _uids(user)
    if for_now:
        _run_for_now(targets, uids, until, console)
        return
    from schedtui.backend.setup import system
    from schedtui.backend.setup.install import install, make_plan

    if targets.root == Path("/") and not system.boots_with_systemd(targets.root) and not dry_run:
        raise SetupFailed(
            "systemd does not run here, and setup knows no other way to start the helper with the computer.",
            "Run the helper for a session: sudo schedtui setup --for-now",
        )
    plan = make_plan(targets, uids)
    data = {"dry_run": dry_run, "version": plan.version, "python": str(plan.python.path), "changes": plan.changes}
    console.note(_told(plan, dry_run))
    if dry_run:
        console.result({**data, "problems": []}, "Nothing was changed.")
        return
    install(plan, console.progress)
    problems = _prepare(plan, console) if machine else []
    words = "The helper is ready. Start schedtui, and press p." if not problems else _PARTLY
    console.result({**data, "problems": problems}, "\n".join([words, *(f"  {each}" for each in problems)]))
    if problems:
        context.exit(NOT_DONE)


_PARTLY = "The helper is installed, but cannot prove schedulers yet, so it will load none:"


def _prepare(plan: Plan, console: Console) -> list[str]:
    from schedtui.backend.setup.machine import Preparer
    from schedtui.backend.setup.targets import USER

    preparer = Preparer(plan.targets, plan.python.path, USER)
    try:
        return preparer.compile(console.progress, kernel=True) or preparer.build(console.progress)
    except SchedtuiError as error:
        return [" ".join(filter(None, (error.message, error.details, error.remedy)))]


def _run_for_now(targets: Targets, uids: tuple[int, ...], until: int | None, console: Console) -> None:
    from schedtui.backend.setup import session

    keeper = session.start(targets, uids, until or os.getpid(), console.progress)
    if until:
        console.result({"running": True, "until": until}, "The helper runs until schedtui ends.")
        return
    console.note("The helper runs. Start schedtui in another terminal; Ctrl-C ends the helper.")
    try:
        keeper.wait()
    finally:
        session.end(targets)
    console.result({"running": False}, "The helper has ended; nothing of it is left.")


def _remove(targets: Targets, dry_run: bool, console: Console) -> None:
    from schedtui.backend.setup.remove import remains, remove

    found = remains(targets) if dry_run else remove(targets)
    words = "Nothing of it is here." if not found else "\n".join(found)
    head = "" if not found else "This would be taken away:\n" if dry_run else "Taken away:\n"
    stays = "" if not found else "\nYour own history and audit log are in your home folder, and stay."
    console.result({"dry_run": dry_run, "removed": found}, f"{head}{words}{stays}")


def _told(plan: Plan, dry_run: bool) -> str:
    lines = ["This would be changed:" if dry_run else "What is changed:"]
    for each in plan.changes:
        lines.append(f"  {_STATES[each.state]:<8} {each.kind:<7} {each.target}{f': {each.what}' if each.what else ''}")
    return "\n".join(lines)


def _uids(name: str | None) -> tuple[int, ...]:
    """Who is to use it: the one named, else whoever called sudo, pkexec or doas. Root needs no permission."""
    if name is not None:
        try:
            return (pwd.getpwnam(name).pw_uid,)
        except KeyError:
            raise UnknownName(f"There is no user called “{name}”.", "Give a user's name with --user.") from None
    for variable in ("SUDO_UID", "PKEXEC_UID"):
        value = os.environ.get(variable, "")
        if value.isdecimal() and int(value):
            return (int(value),)
    doas = os.environ.get("DOAS_USER", "")
    return _uids(doas) if doas else () if os.geteuid() == 0 else (os.getuid(),)


def _as_root(context: click.Context) -> str:
    import shlex
    import sys

    from schedtui.backend.setup.sudo import admin_command

    return f"{shlex.join([*admin_command(), sys.executable, '-I', '-m', 'schedtui', *sys.argv[1:]])}"
