"""``schedtui history``: every request, deployment and outcome of this computer; a request as a story; a copy of it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from schedtui.commands.options import json_option
from schedtui.console import Console

if TYPE_CHECKING:
    from schedtui.backend.history import Entry

_WIDTH = 100


@click.group(invoke_without_command=True)
@click.option("--limit", type=click.IntRange(1, 10000), default=50, show_default=True, help="How many at most.")
@json_option
@click.pass_context
def history(context: click.Context, limit: int, as_json: bool) -> None:
    """What was asked for, tried and measured here, newest first."""
    if context.invoked_subcommand is not None:
        return
    from schedtui.backend.history import entries
    from schedtui.backend.store import Store

    store, console = Store(), Console(as_json)
    found = entries(store, limit)
    for each in store.notes:
        console.note(each)
    lines = [line for each in found for line in _row(each)]
    data = {"entries": [_data(each) for each in found], "notes": store.notes}
    console.result(data, "\n".join(lines) or "Nothing happened here yet.")


@history.command()
@click.argument("name", metavar="ID")
@json_option
def show(name: str, as_json: bool) -> None:
    """A request (12) or a deployment (d7) as a story, with all that was said and done."""
    from schedtui.backend import history as known
    from schedtui.backend.store import Store

    entry = known.entry(Store(), name)
    lines = [f"{_date(entry.time)}  {entry.state}", "", *known.story(entry)]
    data = _data(entry)
    steps = _steps(entry)
    if steps is not None:
        lines += ["", steps]
        data["story"] = steps
    Console(as_json).result(data, "\n".join(lines).rstrip())


@history.command()
@click.argument("name", metavar="ID")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False), required=False)
@click.option("--overwrite", is_flag=True, help="Replace FILE when it exists.")
@json_option
def export(name: str, file: Path | None, overwrite: bool, as_json: bool) -> None:
    """Write a request or a deployment with all its steps to FILE, as JSON. [default: schedtui-ID.json]"""
    from schedtui.agent.export import export as written
    from schedtui.backend import history as known
    from schedtui.backend.store import Store

    console = Console(as_json)
    entry = known.entry(Store(), name)
    target = file or Path(f"schedtui-{entry.name}.json")
    missing = written(entry, target, overwrite=overwrite)
    if missing:
        console.note(missing)
    console.result({"name": entry.name, "file": str(target)}, f"Written to {target}.")


def _steps(entry: Entry) -> str | None:
    """The request's own story; why there is none when its file is gone."""
    if entry.request is None or not entry.request.trajectory:
        return None
    from schedtui.agent import trajectory
    from schedtui.backend.errors import BadFile

    try:
        return trajectory.story(Path(entry.request.trajectory)).rstrip()
    except BadFile as error:
        return f"Its steps are not known any more: {error.message}"


def _data(entry: Entry) -> dict[str, Any]:
    from schedtui.agent.export import as_data

    return as_data(entry)


def _row(entry: Entry) -> list[str]:
    policy = f"  {entry.policy}" if entry.request is not None and entry.policy else ""
    head = f"{entry.name:>5}  {_date(entry.time)}  {entry.state:<9} {_one_line(entry.title, 60)}{policy}"
    return [head, f"       {_one_line(entry.result, _WIDTH)}"] if entry.result else [head]


def _one_line(text: str, width: int) -> str:
    words = " ".join(text.split())
    return words if len(words) <= width else f"{words[: width - 1]}…"


def _date(unix: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(unix))
