"""A copy of a request or a deployment with all its steps, as JSON: to keep, to compare, to send to somebody."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from schedtui.agent import trajectory
from schedtui.backend.errors import BadFile
from schedtui.backend.history import Entry


def as_data(entry: Entry) -> dict[str, Any]:
    """An entry of the history for programs."""
    return {
        "name": entry.name,
        "time": entry.time,
        "title": entry.title,
        "state": entry.state,
        "result": entry.result,
        "request": entry.request,
        "deployments": entry.deployments,
        "outcomes": entry.outcomes,
    }


def export(entry: Entry, target: Path, *, overwrite: bool = False) -> str:
    """Write it to ``target``; returns what is missing in it, in a sentence, or nothing.

    Raises BadFile when the file exists already (and is not to be overwritten), or cannot be written.
    """
    data, missing = {**as_data(entry), "trajectory": None}, ""
    if entry.request is not None and entry.request.trajectory:
        try:
            data["trajectory"] = trajectory.read(Path(entry.request.trajectory))
        except BadFile as error:
            missing = f"It is written without its steps: {error.message}"
    content = msgspec.json.format(msgspec.json.encode(data), indent=2) + b"\n"
    try:
        with target.open("wb" if overwrite else "xb") as opened:
            opened.write(content)
    except FileExistsError as error:
        raise BadFile(f"{target} exists already.", "Move it away, or give another name.") from error
    except OSError as error:
        raise BadFile(f"{target} cannot be written: {error.strerror or error}.", "Try another folder.") from error
    return missing
