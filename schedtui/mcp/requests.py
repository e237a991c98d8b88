"""The tools that only other programs have: a new request, how things stand, and taking back what they deployed."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

from msgspec import Meta

from schedtui.agent.bench import Request
from schedtui.agent.loads import loads_for
from schedtui.agent.tools import Arguments, Result, Tool, shown
from schedtui.backend.deploy import CANARY_S
from schedtui.backend.errors import NotPermitted, UnknownName
from schedtui.backend.workloads import KINDS
from schedtui.mcp.bench import ClientBench

_RECENT_S = 5.0
AT_ONCE = frozenset(("status", "take_back"))
"""These wait for no other call of the same client."""


class NewRequest(Arguments, frozen=True, kw_only=True):
    """What a person wants."""

    words: Annotated[str, Meta(description="What they run and what should get better.", min_length=1, max_length=1000)]
    folder: Annotated[str, Meta(description="Their project's folder.", max_length=1000)] = ""
    command: Annotated[str, Meta(description="A command that should end sooner.", max_length=1000)] = ""
    loads: Annotated[
        tuple[str, ...], Meta(description=f"In the lab, loads to run meanwhile: {', '.join(KINDS)}.", max_length=8)
    ] = ()
    quick: Annotated[bool, Meta(description="Prove it with a quick look only.")] = False
    canary_s: Annotated[float, Meta(description="Seconds that a canary measures at most.", ge=2, le=120)] = CANARY_S
    rounds: Annotated[int, Meta(description="At most so many plans are tried.", ge=1, le=10)] = 3


class Nothing(Arguments, frozen=True, kw_only=True):
    """No arguments."""


def tools() -> Iterator[Tool[ClientBench, Any]]:
    """All of them."""
    yield Tool(
        name="new_request",
        description="Begin anew: what a person wants, in words. What was tried before and not kept is taken away.",
        arguments=NewRequest,
        run=_new_request,
        title=lambda each: f"Begins: {shown(each.words)}",
        read_only=False,
        idempotent=False,
    )
    yield Tool(
        name="status",
        description="Which scheduler runs, what you deployed, who is at work, and what you may still spend.",
        arguments=Nothing,
        run=_status,
        title=lambda _: "Asks how things stand",
    )
    yield Tool(
        name="take_back",
        description="Take back what you deployed, kept or not; the kernel's own scheduler runs then.",
        arguments=Nothing,
        run=_take_back,
        title=lambda _: "Takes back what it deployed",
        read_only=False,
        destructive=True,
        permit=lambda _bench, _given: None,
    )


def _new_request(bench: ClientBench, given: NewRequest) -> Result:
    for each in given.loads:
        if each not in KINDS:
            raise UnknownName(f"There is no load {shown(each)}.", f"Loads: {', '.join(KINDS)}.")
    if given.loads and bench.info.kind != "lab":
        raise NotPermitted("Loads are started in the lab only.", "Leave loads out.")
    request = Request(
        words=given.words,
        folder=_folder(bench, given.folder),
        command=_command(bench, given.command),
        loads=given.loads,
        quick=given.quick,
        rounds=given.rounds,
        canary_s=given.canary_s,
    )
    started = _start_loads(bench, request)
    bench.client.begin(request)
    bench.client.keep_request()
    return Result(text=f"Begun.{started} Look at the machine, then submit_workload.", summary=given.words)


def _start_loads(bench: ClientBench, request: Request) -> str:
    """So that there is something to measure in the lab; what was started, in a sentence.

    A command brings its own work, and what runs already is not started again.
    """
    if bench.info.kind != "lab":
        return ""
    running = {each.kind for frame in bench.watch.last(_RECENT_S)[-1:] for each in frame.workloads}
    wanted = request.loads or (() if request.command or running else loads_for(request.words))
    missing = [each for each in wanted if each not in running]
    for each in missing:
        bench.machine.start_workload(each)
    return f" These loads run in the lab from now on: {', '.join(missing)}." if missing else ""


def _folder(bench: ClientBench, name: str) -> Path | None:
    """A folder below one that whoever started the server named."""
    if not name:
        return None
    allowed = bench.client.place.folders
    try:
        folder = Path(name).expanduser().resolve(strict=True)
    except (OSError, RuntimeError, ValueError):
        folder = None
    if folder is None or not any(folder.is_relative_to(each) for each in allowed) or not folder.is_dir():
        listed = ", ".join(map(str, allowed)) or "none; start the server with --folder"
        raise NotPermitted(f"{shown(name)} is no folder that this server may look at.", f"There are: {listed}.")
    return folder


def _command(bench: ClientBench, text: str) -> tuple[str, ...]:
    """In the lab any, for it runs in the guest; on this computer one that whoever started the server named."""
    if not text.strip():
        return ()
    place = bench.client.place
    if bench.info.kind != "lab" and text not in place.commands:
        listed = ", ".join(place.commands) or "none; start the server with --command"
        raise NotPermitted(f"{shown(text)} is no command that this server may run.", f"There are: {listed}.")
    try:
        return tuple(shlex.split(text))
    except ValueError as error:
        raise NotPermitted(f"{shown(text)} is no command: {error}.", "Mend its quotes.") from error


def _status(bench: ClientBench, _given: Nothing) -> Result:
    client = bench.client
    now = bench.machine.scheduler()
    at_work = client.place.at_work
    deployment = bench.deployer.current(bench.deployment) if bench.deployment else None
    lines = [
        f"Machine: {bench.info.kind}, Linux {bench.info.kernel}, {len(bench.info.cpus)} CPUs.",
        f"Runs now: {now.name}.",
        "" if bench.info.can_load else f"Nothing can be loaded here: {bench.info.reason}",
        f"Your deployment: {deployment.policy}, {deployment.state}: {deployment.reason}" if deployment else "",
        f"At work: {'you' if at_work[0] is client else shown(at_work[0].name)}: {at_work[1]}" if at_work else "",
        f"You are {client.identity}; without asking a person you may {client.trust.level.words}.",
        "Left: " + ", ".join(f"{amount:g} {name}" for name, amount in client.allowance.left().items()) + ".",
    ]
    return Result(text="\n".join(filter(None, lines)), summary=f"{now.name} runs")


def _take_back(bench: ClientBench, _given: Nothing) -> Result:
    bench.client.take_back("It was taken back.", by=bench.client.identity)
    now = bench.machine.scheduler()
    return Result(text=f"Taken back. {now.name} runs now.", summary=f"{now.name} runs")
