"""The research system's own tools by name, arguments and answers, so that a client written for it needs no change.

Answers are JSON in a text, with the keys and kinds of values that such a client reads; what cannot be done is an error
of the protocol (invalid parameters), not a result. Requests are read as leniently as there: unknown fields are left
out, null is absent. The work is done by executions.py, creating.py, monitor.py and profiles.py; docs/MCP.md says what
is different here, and why.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from schedtui.agent.tools import SHORT, Arguments, Result, Tool, mapped, shown
from schedtui.agent.trust import TrustLevel
from schedtui.backend.errors import NotPermitted, UnknownName
from schedtui.mcp import creating, executions, monitor, profiles
from schedtui.mcp.bench import ClientBench
from schedtui.mcp.executions import Execution

NAMES = frozenset(
    (
        "list_schedulers",
        "run_scheduler",
        "stop_scheduler",
        "get_execution_status",
        "create_and_verify_scheduler",
        "system_monitor",
        "workload",
    )
)
"""What these cannot do, they answer with an error of the protocol."""
_WHOLE = 1 << 20
"""Characters of an answer: JSON cannot be shortened."""


class Lenient(Arguments, frozen=True, kw_only=True, forbid_unknown_fields=False):
    """Base of these tools' arguments."""


class ListSchedulers(Lenient, frozen=True, kw_only=True):
    """Which schedulers to name."""

    name: Annotated[str | None, Meta(description="Only those whose name has this in it; leave out for all.")] = None
    production_ready: Annotated[
        bool | None, Meta(description="true: only those that can be relied on and run here; leave out for all.")
    ] = None


class RunScheduler(Lenient, frozen=True, kw_only=True):
    """Which one, and how."""

    name: Annotated[str, Meta(description="As list_schedulers names it.")]
    args: Annotated[
        list[str] | None,
        Meta(description="A command line in words, with flags of its tuning_parameters: --slice-us 5000."),
    ] = None


class OfExecution(Lenient, frozen=True, kw_only=True):
    """Which run."""

    execution_id: Annotated[str, Meta(description="As run_scheduler named it.")]


class CreateScheduler(Lenient, frozen=True, kw_only=True):
    """A new scheduler."""

    name: Annotated[str, Meta(description="Letters, digits, - and _.")]
    source_code: Annotated[
        str, Meta(description="BPF C. It includes schedtui.bpf.h, or scx/common.bpf.h, which is the same here.")
    ]
    description: Annotated[str, Meta(description="What it does.")]
    algorithm: Annotated[str | None, Meta(description="Its kind: vruntime, EDF, FIFO, …")] = None
    use_cases: Annotated[list[str] | None, Meta(description="What it is for.")] = None
    characteristics: Annotated[str | None, Meta(description="What is particular about it.")] = None
    limitations: Annotated[str | None, Meta(description="What it does badly.")] = None
    performance_profile: Annotated[str | None, Meta(description="What it favours: latency, throughput, …")] = None


class SystemMonitor(Lenient, frozen=True, kw_only=True):
    """Begin or end."""

    command: Annotated[str, Meta(description="start, or stop, which answers with the summary.")]


class Workload(Lenient, frozen=True, kw_only=True):
    """What to do with workload profiles."""

    command: Annotated[str, Meta(description="create, list, get_history or add_history.")]
    description: Annotated[str | None, Meta(description="For create: the workload, in words.")] = None
    workload_id: Annotated[str | None, Meta(description="For get_history and add_history.")] = None
    execution_id: Annotated[str | None, Meta(description="For add_history: as run_scheduler named it.")] = None
    result_description: Annotated[str | None, Meta(description="For add_history: what was measured, in words.")] = None


def tools() -> Iterator[Tool[ClientBench, Any]]:
    """All of them."""
    yield Tool(
        name="list_schedulers",
        description="The schedulers that there are: what each does, for what, its parameters with ranges, its limits.",
        arguments=ListSchedulers,
        run=_list_schedulers,
        title=lambda each: f"Lists the schedulers{f' called like {shown(each.name)}' if each.name else ''}",
        longest=_WHOLE,
    )
    yield Tool(
        name="run_scheduler",
        description="Verify a scheduler, and run it in place of what you ran before, until stop_scheduler. "
        "You measure it yourself; to have it measured and kept when it is better, use submit_plan, verify and canary.",
        arguments=RunScheduler,
        run=_run_scheduler,
        title=lambda each: f"Runs {shown(' '.join([each.name, *(each.args or ())]))}",
        read_only=False,
        destructive=True,
        idempotent=False,
        needs=TrustLevel.LIBRARY,
        permit=_permit_run,
        cost_s=20,
        longest=_WHOLE,
    )
    yield Tool(
        name="stop_scheduler",
        description="Stop a scheduler that run_scheduler began; the kernel's own scheduler runs then.",
        arguments=OfExecution,
        run=_stop_scheduler,
        title=lambda each: f"Stops the run {shown(each.execution_id)}",
        read_only=False,
        longest=_WHOLE,
    )
    yield Tool(
        name="get_execution_status",
        description="Whether a scheduler that run_scheduler began still runs, and what it and the kernel said.",
        arguments=OfExecution,
        run=_get_execution_status,
        title=lambda each: f"Asks after the run {shown(each.execution_id)}",
        longest=_WHOLE,
    )
    yield Tool(
        name="create_and_verify_scheduler",
        description="Compile a new scheduler and prove it on a real kernel under stress; run_scheduler runs it then.",
        arguments=CreateScheduler,
        run=_create_and_verify_scheduler,
        title=lambda each: f"Writes the scheduler {shown(each.name)} of {len(each.source_code.splitlines())} lines",
        read_only=False,
        cost_s=20,
        longest=_WHOLE,
    )
    yield Tool(
        name="system_monitor",
        description="Watch CPU, memory and scheduling between start and stop, which answers with a summary.",
        arguments=SystemMonitor,
        run=_system_monitor,
        title=lambda each: "Sums up what was seen" if each.command == "stop" else "Watches the machine",
        idempotent=False,
        longest=_WHOLE,
    )
    yield Tool(
        name="workload",
        description="Workload profiles, kept from session to session: create, list, get_history, add_history.",
        arguments=Workload,
        run=_workload,
        title=lambda each: f"Workload profiles: {shown(each.command)}",
        read_only=False,
        idempotent=False,
        longest=_WHOLE,
    )


def close(bench: ClientBench, why: str, *, by: str = "") -> None:
    """End what these tools began for this client: it is gone, or somebody takes the machine back."""
    session, bench.monitor = bench.monitor, None
    if session is not None:
        session.end()
    executions.end_all(bench, why, by=by)


def _list_schedulers(bench: ClientBench, given: ListSchedulers) -> Result:
    from schedtui.mcp.listing import entries

    found = [
        each
        for each in entries(bench)
        if (given.name or "").lower() in each["name"].lower()
        and given.production_ready in (None, each["production_ready"])
    ]
    return _told(bench, {"schedulers": found}, f"{len(found)} schedulers")


def _permit_run(bench: ClientBench, given: RunScheduler) -> None:
    """What cannot be run at all is said at once; a person is asked when it was proven."""
    executions.understood(bench, given.name, given.args or ())


def _run_scheduler(bench: ClientBench, given: RunScheduler) -> Result:
    execution = executions.run(bench, given.name, given.args or ())
    answer = {
        "execution_id": execution.id,
        "scheduler": given.name,
        "status": "started",
        "message": f"The scheduler {given.name} runs, with the execution ID {execution.id}.",
    }
    return _told(bench, answer, f"{execution.policy} runs")


def _stop_scheduler(bench: ClientBench, given: OfExecution) -> Result:
    execution = executions.stop(bench, given.execution_id)
    answer = {
        "execution_id": execution.id,
        "status": "stopped",
        "message": f"The scheduler execution {execution.id} is stopped. {execution.deployment.reason}",
    }
    return _told(bench, answer, f"{execution.policy} is stopped")


def _get_execution_status(bench: ClientBench, given: OfExecution) -> Result:
    execution = executions.status(bench, given.execution_id)
    began, ended = int(execution.began), None if execution.ended is None else int(execution.ended)
    answer = {
        "execution_id": execution.id,
        "scheduler_name": execution.policy,
        "command": execution.command,
        "args": execution.words,
        "status": execution.state,
        "pid": None,
        "start_time": began,
        "end_time": ended,
        "duration": None if ended is None else max(0, ended - began),
        "exit_code": {"running": None, "stopped": 0, "failed": 1}[execution.state],
        "output": execution.output,
    }
    return _told(bench, answer, f"{execution.policy}: {execution.state}")


def _create_and_verify_scheduler(bench: ClientBench, given: CreateScheduler) -> Result:
    about = creating.About(
        description=given.description,
        algorithm=given.algorithm or "",
        use_cases=tuple(given.use_cases or ()),
        characteristics=given.characteristics or "",
        limitations=given.limitations or "",
        performance_profile=given.performance_profile or "",
    )
    policy, report = creating.create(bench, given.name, given.source_code, about)
    return Result(text=creating.passed(report, policy, about), summary=f"{policy.name} was created")


def _system_monitor(bench: ClientBench, given: SystemMonitor) -> Result:
    if given.command == "start":
        if bench.monitor is not None:
            raise NotPermitted("A monitoring session is already active.", "Stop it first.")
        bench.monitor = monitor.Session(bench.machine, bench.info.kind, bench.watch)
        answer = {
            "session_id": bench.monitor.id,
            "status": "started",
            "message": f"System monitoring began, with the session ID {bench.monitor.id}.",
        }
        return _told(bench, answer, "Watching")
    if given.command != "stop":
        raise UnknownName(f"Unknown command: {shown(given.command)}.", "Use 'start' or 'stop'.")
    session, bench.monitor = bench.monitor, None
    if session is None:
        raise NotPermitted("There is no active monitoring session.", "Start one first.")
    return _told(bench, _summed_up(session.stop()), "Seen")


def _summed_up(seen: monitor.Summary) -> dict[str, Any]:
    return {
        "status": "stopped",
        "summary": {
            "session_id": seen.session_id,
            "duration_secs": int(seen.seconds),
            "sample_count": seen.samples,
            "cpu": {"avg_percent": _number(seen.cpu_percent), "max_percent": _number(seen.cpu_most_percent)},
            "memory": {
                "avg_percent": _number(seen.memory_percent),
                "max_percent": _number(seen.memory_most_percent),
                "avg_used_mb": _number(seen.memory_mb),
            },
            "scheduler": {"total_timeslices": seen.turns, "avg_run_time_ns": seen.turn_ns},
        },
        "message": f"The monitoring session {seen.session_id} is over: {seen.seconds:.0f} s, {seen.samples} samples.",
    }


def _number(value: float | None) -> str | None:
    """As text, with two places, as such clients expect it."""
    return None if value is None else f"{value:.2f}"


def _workload(bench: ClientBench, given: Workload) -> Result:
    store, client = bench.store, bench.mind_name
    match given.command:
        case "create":
            answer = profiles.create(store, client, _wanted(given, "description"))
        case "list":
            answer = profiles.listed(store, client)
        case "get_history":
            answer = profiles.history(store, client, _wanted(given, "workload_id"))
        case "add_history":
            wanted = [_wanted(given, each) for each in ("workload_id", "execution_id", "result_description")]
            execution: Execution = executions.status(bench, wanted[1])
            answer = profiles.add(
                store,
                client,
                wanted[0],
                execution=execution.id,
                scheduler=execution.policy,
                arguments=execution.words,
                result=wanted[2],
            )
        case other:
            raise UnknownName(f"Unknown command: {shown(other)}.", "Use create, list, get_history or add_history.")
    return _told(bench, answer, str(answer.get("message", "Workload profiles")))


def _wanted(given: Workload, field: str) -> str:
    value = getattr(given, field)
    if value is None:
        raise UnknownName(f"{field} is required for the {given.command} command.", "Call again with it.")
    return str(value)


def _told(bench: ClientBench, answer: dict[str, Any], summary: str) -> Result:
    """As JSON, masked value by value, so that it stays JSON."""
    masked = mapped(answer, bench.client.masked)
    text = msgspec.json.encode(masked).decode()
    return Result(text=text, summary=summary, details=text[:SHORT], facts=answer)
