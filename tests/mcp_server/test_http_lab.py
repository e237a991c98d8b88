"""The whole work over HTTP in the lab: seen, planned, proven, tried; and what a program that vanishes leaves behind."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest
from mcp.client.client import Client

from schedtui.backend.deploy import compiled
from schedtui.backend.library.catalogue import load_library
from schedtui.backend.model import KernelId, Report, Stage, digest_of
from schedtui.backend.verifier import reports
from tests.mcp_server.over_http import Served, served_strictly

pytestmark = [pytest.mark.lab, pytest.mark.soak, pytest.mark.matrix]
REQUEST = {"words": "my desktop stutters while builds run", "loads": ["frames"], "quick": True}
WORKLOAD = {
    "sentence": "A desktop in use beside builds.",
    "class_id": "desktop",
    "confidence": 0.9,
    "evidence": ["desktop stutters"],
    "metric": "wakeup_p99_us",
}
PLAN = {"mode": "configure", "policy": "fair", "reason": "Fair shares bound waits.", "expected": "A lower p99."}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    data = tmp_path_factory.mktemp("data")
    with served_strictly(data, "lab", broken_s=0.2) as it, pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_DATA_HOME", str(data))
        machine = json.loads(_Raw(it, "prover").read("schedtui://machine"))
        _proven("fair", msgspec.convert(machine["kernel_id"], KernelId))
        yield it
        code, said = it.end()
        assert code == 128 + 15, said
        assert "Traceback" not in said


async def test_a_program_does_the_whole_work_over_http_and_hears_how_it_goes(server: Served) -> None:
    heard: list[str] = []

    async def progress(_progress: float, _total: float | None, message: str | None) -> None:
        heard.append(message or "")

    async with server.client("claude") as client:
        early = await client.call_tool("canary")
        assert early.is_error  # nothing can be left out
        await _done(client, "new_request", {**REQUEST, "canary_s": 3})
        await _done(client, "machine_summary")
        await _done(client, "submit_workload", WORKLOAD)
        await _done(client, "submit_plan", PLAN)
        assert "passed" in await _done(client, "verify")
        answer = await client.call_tool("canary", progress_callback=progress)
        assert not answer.is_error, answer.content[0].text
        assert heard
        await _done(client, "take_back")
        assert "Runs now: EEVDF" in await _done(client, "status")


def test_a_program_that_vanishes_during_its_trial_leaves_the_kernels_own_scheduler(server: Served) -> None:
    raw = _Raw(server, "vanishing")
    raw.done("new_request", {**REQUEST, "canary_s": 120})
    raw.done("submit_workload", WORKLOAD)
    raw.done("submit_plan", PLAN)
    raw.done("verify", {})
    connection = raw.begun("canary", {})
    watching = _Raw(server, "watching")
    assert _comes(lambda: "At work: “vanishing”" in watching.done("status", {}))
    connection.close()  # as when it is killed
    assert _comes(lambda: "At work" not in watching.done("status", {}))
    assert "Runs now: EEVDF" in watching.done("status", {})


def _comes(condition: Callable[[], bool]) -> bool:
    """Looked at each second, for a program may not ask without end."""
    deadline = time.monotonic() + 120
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(1)
    return True


async def _done(client: Client, tool: str, arguments: dict[str, Any] | None = None) -> str:
    """What the tool answered, which was no error."""
    answer = await client.call_tool(tool, arguments)
    text: str = answer.content[0].text
    assert not answer.is_error, text
    return text


class _Raw:
    """A program without the SDK, whose connections can be cut."""

    def __init__(self, server: Served, name: str) -> None:
        self._server = server
        self._headers = server.headers(name, **{"mcp-session-id": server.session(name)})
        note = {"jsonrpc": "2.0", "method": "notifications/initialized"}
        assert server.ask(note, self._headers)[0] == 202

    def begun(self, tool: str, arguments: dict[str, Any]) -> http.client.HTTPConnection:
        """A call on its way."""
        return self._asked("tools/call", {"name": tool, "arguments": arguments})

    def done(self, tool: str, arguments: dict[str, Any]) -> str:
        """What the tool answered, which was no error."""
        result = self._answer(self.begun(tool, arguments))
        text: str = result["content"][0]["text"]
        assert not result.get("isError"), text
        return text

    def read(self, uri: str) -> str:
        """The text of a resource."""
        text: str = self._answer(self._asked("resources/read", {"uri": uri}))["contents"][0]["text"]
        return text

    def _asked(self, method: str, params: dict[str, Any]) -> http.client.HTTPConnection:
        connection = http.client.HTTPConnection("127.0.0.1", self._server.port, timeout=240)
        asked = {"jsonrpc": "2.0", "id": 7, "method": method, "params": params}
        connection.request("POST", "/mcp", body=json.dumps(asked), headers=self._headers)
        return connection

    def _answer(self, connection: http.client.HTTPConnection) -> dict[str, Any]:
        said = connection.getresponse().read().decode()
        connection.close()
        (data,) = [line.removeprefix("data:") for line in said.splitlines() if '"id":7' in line.replace(" ", "")]
        answer: dict[str, Any] = json.loads(data)
        assert "result" in answer, answer
        return dict(answer["result"])


def _proven(name: str, kernel: KernelId) -> None:
    """As if it had passed on the lab's kernel here before."""
    reports.save(
        Report(
            name=name,
            verdict="pass",
            digest=digest_of(compiled(load_library().policies[name])),
            settings={},
            kernel=kernel,
            stages=(Stage(name="kernel", verdict="pass", seconds=1.0),),
            quick=False,
            made_at=time.time(),
            rules=reports.rules_version(),
        )
    )
