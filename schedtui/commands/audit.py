"""``schedtui audit``: the log of everything that was decided and done, and whether somebody changed it."""

from __future__ import annotations

import time

import click

from schedtui.commands.options import json_option
from schedtui.console import NOT_DONE, Console


@click.command()
@click.option("--verify", "verifies", is_flag=True, help="Check that nothing was altered, removed or moved.")
@click.option("--limit", type=click.IntRange(1, 100000), default=30, show_default=True, help="How many at most.")
@json_option
@click.pass_context
def audit(context: click.Context, verifies: bool, limit: int, as_json: bool) -> None:
    """What was decided and done here, and by whom; the last entries, newest first.

    With --verify it ends with 1 when the log is not as it was written.
    """
    from schedtui.backend.audit import Audit

    log, console = Audit(), Console(as_json)
    if not verifies:
        entries = log.entries(limit)
        lines = [
            f"{each.number:>6}  {_date(each.time)}  {each.actor}: {each.act}{_told(each.details)}" for each in entries
        ]
        console.result({"entries": entries}, "\n".join(lines) or "Nothing was done here yet.")
        return
    found = log.verify()
    if found.broken_at is None:
        words = f"The log is as it was written: {found.entries} {'entry' if found.entries == 1 else 'entries'}."
    else:
        words = f"{found.reason} What comes before line {found.broken_at} is as it was written."
    console.result({"verified": found}, "\n".join([words, *found.notes]))
    if found.broken_at is not None:
        context.exit(NOT_DONE)


def _told(details: dict[str, object]) -> str:
    words = ", ".join(f"{name} {value}" for name, value in details.items() if value not in ("", None, {}, []))
    text = " ".join(words.split())
    return f" ({text if len(text) <= 160 else text[:159] + '…'})" if text else ""


def _date(unix: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(unix))
