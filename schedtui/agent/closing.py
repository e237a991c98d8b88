"""The tools of learn: notes, what becomes of the policies that were written, and the words that end the request."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from schedtui.agent import arguments as takes
from schedtui.agent.bench import Bench, role_tool
from schedtui.agent.events import Learned
from schedtui.agent.tools import Result, Tool, shown
from schedtui.backend.errors import NotPermitted
from schedtui.backend.store import NoteRow

_NOTES_PER_REQUEST = 3


def tools() -> Iterator[Tool[Bench, Any]]:
    """All of them."""
    yield role_tool(
        "learn",
        "keep_note",
        "Keep what the next request for such work should know.",
        takes.KeepNote,
        _keep_note,
        lambda _: "Keeps a note",
        read_only=False,
        idempotent=False,
    )
    yield role_tool(
        "learn",
        "promote",
        "Keep a policy of this request in the library; only one that was better.",
        takes.Promote,
        _promote,
        lambda each: f"Keeps {shown(each.policy)} in the library",
        read_only=False,
    )
    yield role_tool(
        "learn",
        "retire",
        "Offer a policy of this request no more.",
        takes.Retire,
        _retire,
        lambda each: f"Takes {shown(each.policy)} out of the library",
        read_only=False,
    )
    yield role_tool(
        "learn",
        "finish",
        "End: tell the person what came of it.",
        takes.Finish,
        _finish,
        lambda _: "Sums up",
        ends=True,
    )


def _keep_note(bench: Bench, given: takes.KeepNote) -> Result:
    if bench.notes_kept >= _NOTES_PER_REQUEST:
        raise NotPermitted(f"{_NOTES_PER_REQUEST} notes are enough for one request.", "finish.")
    if given.policy:
        bench.library.policy(given.policy)
    workload = bench.workload
    bench.store.add_note(
        NoteRow(
            policy=given.policy,
            class_id=workload.class_id if workload else "",
            text=given.text,
            kind=given.kind,
            made_by=bench.mind_name,
            request=bench.request_id,
        )
    )
    bench.notes_kept += 1
    bench.person.tell(Learned, text=given.text)
    return Result(text="Kept.", summary=given.text)


def _promote(bench: Bench, given: takes.Promote) -> Result:
    _written_here(bench, given.policy)
    better = [
        each
        for each in bench.rounds
        if each.policy == given.policy and each.comparison is not None and each.comparison.verdict == "better"
    ]
    if not better:
        raise NotPermitted(f"{given.policy} was not measured to be better.", "Leave it a draft, or retire it.")
    bench.generated.promote(given.policy)
    bench.reload_library()
    bench.person.tell(Learned, text=f"{given.policy} stays in the library: {given.reason}")
    return Result(text="Promoted.", summary=given.reason)


def _retire(bench: Bench, given: takes.Retire) -> Result:
    _written_here(bench, given.policy)
    bench.generated.retire(given.policy)
    bench.reload_library()
    bench.person.tell(Learned, text=f"{given.policy} is offered no more: {given.reason}")
    return Result(text="Retired.", summary=given.reason)


def _written_here(bench: Bench, name: str) -> None:
    if name not in bench.written:
        listed = ", ".join(bench.written) or "none"
        raise NotPermitted(f"{shown(name)} was not written in this request.", f"Written here: {listed}.")


def _finish(bench: Bench, given: takes.Finish) -> Result:
    bench.finished = given.text
    return Result(text="Done.", summary=given.text)
