"""The paper's example, the build of a project (section 5.2), told by the SDK's own client, which has nothing else.

The project is tests/mcp_server/project, the machine a lab that carries this computer's compiler. What the measurement
says is not foreseen here: a scheduler that was better is kept and promoted, any other is taken away and retired, and
the history says which it was.
"""

from __future__ import annotations

import contextlib
import json
import re
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest
from mcp.client.client import Client
from mcp.client.stdio import StdioServerParameters, stdio_client

from tests import schedulers
from tests.mcp_server.over_http import environment, served

pytestmark = [pytest.mark.lab, pytest.mark.soak]
Connect = Callable[[Path], AbstractAsyncContextManager[Client]]
PROJECT = Path(__file__).parent / "project"
OPTIONS = ("--machine", "lab", "--cpus", "2", "--folder", str(PROJECT), "--as", "builder")
REQUEST = {
    "words": "make -j4 in my project should end sooner",
    "folder": str(PROJECT),
    "command": "make -j4",
    "quick": True,
    "canary_s": 30,
}
WORKLOAD = {
    "sentence": "A parallel build of a small C project with one large file, which should end sooner.",
    "class_id": "compile",
    "confidence": 0.95,
    "evidence": ["make -j4", "one large file"],
    "metric": "command_s",
}
PLAN = {
    "mode": "modify",
    "policy": "longest-first",
    "settings": {"head_start_ms": 600},
    "reason": "One file takes as long as many others: kept going from the start, it ends with them.",
    "expected": "A tenth less time.",
    "risk": "Short jobs wait longer.",
    "change": "Tell the long compiler by what it has run, compared with what jobs of its name usually take.",
    "fallback": "batch",
}
SEARCHED = "	return learned ? min(*learned, long_after_ms * NSEC_PER_MSEC) : 0;"
ADAPTED = """\
	if (!learned)
		return 0;
	/* A build's compilers share a name: one that has run for much longer than they usually do is the long one. */
	if (p->se.sum_exec_runtime > 2 * *learned)
		return long_after_ms * NSEC_PER_MSEC;
	return min(*learned / 4, long_after_ms * NSEC_PER_MSEC);"""


@contextlib.asynccontextmanager
async def over_stdio(data: Path, **more: str) -> AsyncIterator[Client]:
    """The server as a program of the client's."""
    started = StdioServerParameters(
        command=sys.executable, args=["-m", "schedtui", "mcp", *OPTIONS], env={**environment(data), **more}
    )
    async with Client(stdio_client(started)) as client:
        yield client


@contextlib.asynccontextmanager
async def over_http(data: Path) -> AsyncIterator[Client]:
    """The server for itself, and the client with its token."""
    with served(data, *OPTIONS) as server:
        async with server.client("builder") as client:
            yield client


async def told(client: Client, tool: str, **arguments: Any) -> str:
    """What the tool answers; a refusal fails the test."""
    said, refused_it = await called(client, tool, arguments)
    assert not refused_it, f"{tool}: {said}"
    return said


async def refused(client: Client, tool: str, **arguments: Any) -> str:
    """Why the tool does not do it."""
    said, refused_it = await called(client, tool, arguments)
    assert refused_it, f"{tool}: {said}"
    return said


async def called(client: Client, tool: str, arguments: dict[str, Any]) -> tuple[str, bool]:
    """What was answered, and whether it was a refusal."""
    answer = await client.call_tool(tool, arguments)
    first = answer.content[0]
    assert first.type == "text"
    return first.text, bool(answer.is_error)


async def observe(client: Client) -> None:
    """What the Observation Agent does."""
    await told(client, "new_request", **REQUEST)
    assert "2 CPUs" in await told(client, "machine_summary")
    assert "schedtui-init" in await told(client, "processes")
    assert "make -j4" in await told(client, "project_files")
    assert "MODULES" in await told(client, "project_files", path="Makefile")
    await told(client, "submit_workload", **WORKLOAD)


async def plan(client: Client) -> str:
    """What the Planning Agent does; returns the name of the draft."""
    found = await told(client, "search_library", words="throughput compilation")
    assert {"batch", "scx_rusty", "longest-first"} <= set(re.findall(r"^([\w-]+)", found, re.MULTILINE))
    assert "head_start_ms" in await told(client, "show_policy", name="longest-first")
    assert "Nothing was measured" in await told(client, "history", class_id="compile")
    begun = re.search(r"draft of it is there, ([\w-]+):", await told(client, "submit_plan", **PLAN))
    assert begun is not None
    return begun[1]


async def execute(client: Client) -> str:
    """What the Execution Agent does, a mistake and its repair included; returns how the trial ended."""
    assert SEARCHED in await told(client, "policy_source")
    assert "task_state" in await told(client, "header_reference", topic="task_state")
    mistaken = {"search": SEARCHED, "replace": ADAPTED.replace("*learned)\n", "known_length)\n")}
    assert "known_length" in await refused(client, "patch_policy", edits=[mistaken])
    assert "not verified" in await refused(client, "canary")
    repair = {"search": "2 * known_length", "replace": "2 * *learned"}
    assert "compiles" in await told(client, "patch_policy", edits=[repair])
    assert "passed" in await told(client, "verify")
    return await told(client, "canary")


async def learn(client: Client, policy: str, ended: str) -> None:
    """What the Learning Agent does with a trial that ended so."""
    await told(client, "keep_note", text="Compilers share a name: what one has run tells more.", policy=policy)
    if re.search(r"^command_s .*: better", ended, re.MULTILINE):
        await told(client, "promote", policy=policy, reason="The build ended sooner.")
    else:
        await refused(client, "promote", policy=policy, reason="It should have.")
        await told(client, "retire", policy=policy, reason="It was not measured to be better.")
    await told(client, "finish", text=f"What came of it: {ended}")


@pytest.mark.parametrize("connect", [pytest.param(over_stdio, id="stdio"), pytest.param(over_http, id="http")])
async def test_the_papers_kernel_build_story_tool_by_tool(connect: Connect, tmp_path: Path) -> None:
    async with connect(tmp_path) as client:
        await observe(client)
        policy = await plan(client)
        ended = await execute(client)
        assert re.match("kept: |reverted: ", ended), ended
        assert "command_s" in ended
        await learn(client, policy, ended)
        known = await told(client, "history", class_id="compile")
        assert "Compilers share a name" in known
        if "Too little was measured" not in ended:
            assert policy in known
        await told(client, "take_back")
        assert "Runs now: EEVDF" in await told(client, "status")
    saved = list(tmp_path.rglob("*.json"))
    assert any("make -j4" in each.read_text() for each in saved)  # the trajectory


async def test_an_external_scheduler_is_configured_for_the_build(tmp_path: Path) -> None:
    found = schedulers.built("scx_rusty").parent
    async with over_stdio(tmp_path, PATH=f"{found}:{environment(tmp_path)['PATH']}") as client:
        await observe(client)
        await told(
            client,
            "submit_plan",
            mode="configure",
            policy="scx_rusty",
            reason="Made for builds.",
            expected="A tenth less time.",
        )
        assert "passed" in await told(client, "verify")
        ended = await told(client, "canary")
        assert re.match("kept: |reverted: ", ended), ended
        await told(client, "finish", text=ended)


@pytest.mark.matrix
async def test_the_research_systems_tools_tell_the_same_story(tmp_path: Path) -> None:
    async with over_stdio(tmp_path) as client:
        listed = json.loads(await told(client, "list_schedulers", name="longest"))["schedulers"]
        assert [each["name"] for each in listed] == ["longest-first"]
        made = json.loads(await told(client, "workload", command="create", description=WORKLOAD["sentence"]))
        workload = made["workload_id"]
        await told(client, "system_monitor", command="start")
        source = (await told(client, "policy_source", name="longest-first")).replace(SEARCHED, ADAPTED)
        created = await told(
            client,
            "create_and_verify_scheduler",
            name="build-longest",
            source_code=source,
            description="The compiler that has run longest goes on.",
        )
        assert "build-longest" in created
        began = json.loads(await told(client, "run_scheduler", name="build-longest", args=["--head-start-ms", "600"]))
        running = json.loads(await told(client, "get_execution_status", execution_id=began["execution_id"]))
        assert running["status"] == "running"
        summary = json.loads(await told(client, "system_monitor", command="stop"))["summary"]
        assert summary["sample_count"] > 0
        await told(client, "stop_scheduler", execution_id=began["execution_id"])
        told_of = "It ran, and was stopped."
        await told(
            client,
            "workload",
            command="add_history",
            workload_id=workload,
            execution_id=began["execution_id"],
            result_description=told_of,
        )
        assert told_of in await told(client, "workload", command="get_history", workload_id=workload)
        assert "Runs now: EEVDF" in await told(client, "status")
