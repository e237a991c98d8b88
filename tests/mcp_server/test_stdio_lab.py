"""The whole of a request over stdio on a real kernel, and what is left when the program vanishes in its middle."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import psutil
import pytest

from tests.conftest import until
from tests.mcp_server.over_stdio import raw, session, text_of
from tests.mcp_server.test_clients import PLAN, WORKLOAD

pytestmark = [pytest.mark.lab, pytest.mark.soak, pytest.mark.matrix]
REQUEST = {"words": "my game stutters while a build runs", "loads": ["hogs", "frames"], "quick": True, "canary_s": 4}


async def test_a_request_is_worked_on_from_words_to_what_came_of_it(tmp_path: Path) -> None:
    async with session(tmp_path, "--machine", "lab", "--as", "tester") as client:
        for tool, arguments in (("new_request", REQUEST), ("submit_workload", WORKLOAD), ("submit_plan", PLAN)):
            answer = await client.call_tool(tool, arguments)
            assert not answer.is_error, text_of(answer)
        verified = await client.call_tool("verify", {})
        assert not verified.is_error and "It passed" in text_of(verified), text_of(verified)
        tried = await client.call_tool("canary", {})
        assert not tried.is_error and text_of(tried).startswith(("kept", "reverted")), text_of(tried)
        assert not (await client.call_tool("finish", {"text": "It was tried."})).is_error
        back = await client.call_tool("take_back", {})
        assert "EEVDF runs now" in text_of(back)


def test_a_program_that_vanishes_while_something_is_tried_leaves_nothing(tmp_path: Path) -> None:
    with raw(tmp_path, "--machine", "lab") as server:
        server.introduce()
        for tool, arguments in (
            ("new_request", {**REQUEST, "canary_s": 60}),
            ("submit_workload", WORKLOAD),
            ("submit_plan", PLAN),
            ("verify", {}),
        ):
            result = server.answer(server.call(tool, **arguments))["result"]
            assert not result["isError"], result
        server.call("canary")
        history = tmp_path / "data" / "schedtui" / "history.sqlite"
        assert until(lambda: "canary" in states(history), 60)
        guests = psutil.Process(server.process.pid).children(recursive=True)
        assert guests
        assert server.leave() == 0
        assert until(lambda: not any(each.is_running() for each in guests))
    assert states(history) == ["reverted"]
    assert not list((tmp_path / "temporary").iterdir())


def states(history: Path) -> list[str]:
    """Of the deployments that are written down."""
    with sqlite3.connect(history) as connection:
        return [state for (state,) in connection.execute("SELECT state FROM deployment")]
