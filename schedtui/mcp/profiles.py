"""Workloads as a connected program describes them, and what it says of its runs: kept in the store under its name.

A program sees its own and nobody else's. What it wrote is data.
"""

from __future__ import annotations

import time
from typing import Any

from schedtui.backend.errors import BadFile, UnknownName
from schedtui.backend.store import ProfileRow, ProfileRun, Store

_MOST = 200
_MOST_RUNS = 100
"""That are told of a workload, the newest; what else there is stays in the store."""
_LONGEST = 4000


def create(store: Store, client: str, description: str) -> dict[str, Any]:
    """A new one. Raises BadFile."""
    if len(store.profiles(client, limit=_MOST)) >= _MOST:
        raise BadFile(f"{client} keeps {_MOST} workloads already.", "Go on with one of those.")
    row = ProfileRow(client=client, description=_short(description, "description"))
    store.add_profile(row)
    return {"workload_id": row.id, "message": f"The workload profile '{row.id}' was created."}


def listed(store: Store, client: str) -> dict[str, Any]:
    """All of a client, oldest first."""
    return {"profiles": [_profile(each) for each in reversed(store.profiles(client))]}


def history(store: Store, client: str, id: str) -> dict[str, Any]:
    """One of them with its newest runs, oldest first. Raises UnknownName."""
    profile = _found(store, client, id)
    runs = [_run(each) for each in reversed(store.profile_runs(profile.id, _MOST_RUNS))]
    return {"profile": _profile(profile), "history": runs}


def add(
    store: Store, client: str, id: str, *, execution: str, scheduler: str, arguments: tuple[str, ...], result: str
) -> dict[str, Any]:
    """What the client says of a run. Raises UnknownName, BadFile."""
    profile = _found(store, client, id)
    run = ProfileRun(
        profile=profile.id,
        execution=execution,
        scheduler=scheduler,
        arguments=arguments,
        result=_short(result, "result_description"),
        created=time.time(),
    )
    store.add_profile_run(run)
    return {"history_id": run.id, "message": "The run was added to the workload's history."}


def _found(store: Store, client: str, id: str) -> ProfileRow:
    found = store.profiles(client, id=id, limit=1)
    if not found:
        raise UnknownName(f"The workload profile “{id[:60]}” was not found.", "The command list names yours.")
    return found[0]


def _profile(row: ProfileRow) -> dict[str, Any]:
    return {
        "id": row.id,
        "description": row.description,
        "created_at": int(row.created),
        "updated_at": int(row.changed),
    }


def _run(row: ProfileRun) -> dict[str, Any]:
    return {
        "id": row.id,
        "execution_id": row.execution,
        "scheduler_name": row.scheduler,
        "args": row.arguments,
        "result_description": row.result,
        "created_at": int(row.created),
    }


def _short(text: str, what: str) -> str:
    if len(text) > _LONGEST:
        raise BadFile(f"{what} is too long: {len(text)} characters, {_LONGEST} at most.", "Shorten it.")
    return text
