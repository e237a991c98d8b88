"""``schedtui mcp`` on stdin and stdout, with the SDK's client: what it lists, answers, refuses, stops and leaves."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import anyio
import psutil
import pytest
from mcp.shared.exceptions import MCPError

from schedtui.agent import toolset
from schedtui.agent.trajectory import read
from schedtui.mcp import requests
from tests.conftest import until
from tests.mcp_server.over_stdio import RECORDING, raw, session, standing_still, text_of

pytestmark = pytest.mark.slow
PLAYED = ("--machine", f"replay:{RECORDING}", "--as", "tester")


def returned(place: Path) -> list[dict[str, Any]]:
    """How calls ended, as the trajectory that is there says."""
    events = [event for path in (place / "data").rglob("trajectories/*.json") for event in read(path).events]
    return [each for each in events if each["event"] == "returned"]


async def test_every_tool_is_listed_with_its_schema_and_what_it_may_change(tmp_path: Path) -> None:
    async with session(tmp_path, *PLAYED) as client:
        listed = {each.name: each for each in (await client.list_tools()).tools}
    assert {each.name for each in (*toolset.tools(), *requests.tools())} <= set(listed)
    for each in listed.values():
        assert each.description and each.title and each.input_schema["type"] == "object", each.name
        assert each.annotations is not None and each.annotations.open_world_hint is False, each.name
    hints = {name: each.annotations for name, each in listed.items() if each.annotations}
    assert hints["processes"].read_only_hint and hints["processes"].idempotent_hint
    assert hints["canary"].destructive_hint and not hints["canary"].idempotent_hint
    assert hints["take_back"].destructive_hint and hints["take_back"].idempotent_hint
    assert not hints["keep_note"].read_only_hint and not hints["keep_note"].destructive_hint
    assert listed["submit_workload"].input_schema["properties"]["class_id"]["type"] == "string"


async def test_a_call_that_makes_no_sense_is_answered_with_what_to_mend_and_the_next_one_works(tmp_path: Path) -> None:
    async with session(tmp_path, *PLAYED) as client:
        unknown = await client.call_tool("format_disk", {})
        assert unknown.is_error and "There is no tool called “format_disk”" in text_of(unknown)
        wrong = await client.call_tool("processes", {"name": 3})
        assert wrong.is_error and "Expected `str`, got `int`" in text_of(wrong)
        more = await client.call_tool("submit_plan", {"mode": "configure", "root": True})
        assert more.is_error and "root" in text_of(more)
        early = await client.call_tool("verify", {})
        assert early.is_error and text_of(early) == "There is no plan.\nsubmit_plan comes first."
        good = await client.call_tool("search_library", {"words": "a game stutters"})
        assert not good.is_error and "interactive" in text_of(good)


async def test_progress_is_told_while_a_call_works(tmp_path: Path) -> None:
    told: list[str] = []

    async def hear(_done: float, _total: float | None, words: str | None) -> None:
        told.append(words or "")

    async with session(tmp_path, *PLAYED) as client:
        await client.call_tool("machine_summary", {}, progress_callback=hear)
    assert any("Looks at the machine" in each for each in told)


async def test_a_cancelled_call_is_stopped_and_the_next_one_is_answered(tmp_path: Path) -> None:
    machine = standing_still(tmp_path)
    async with session(tmp_path, "--machine", machine, "--as", "tester") as client:
        working = anyio.Event()

        async def hear(_done: float, _total: float | None, words: str | None) -> None:
            if words and "Looks at the machine" in words:
                working.set()

        async with anyio.create_task_group() as group:
            scope = anyio.CancelScope()

            async def look() -> None:
                with scope:
                    await client.call_tool("machine_summary", {}, progress_callback=hear)

            group.start_soon(look)
            with anyio.fail_after(60):
                await working.wait()
            scope.cancel()
        after = await client.call_tool("search_library", {"words": "a game"})
        assert not after.is_error
        assert until(lambda: len(returned(tmp_path)) == 2)
    assert [(each["tool"], each["ok"]) for each in returned(tmp_path)] == [
        ("machine_summary", False),
        ("search_library", True),
    ]
    assert "stopped" in returned(tmp_path)[0]["summary"]


async def test_names_of_this_computer_do_not_leave_it_and_come_back_in_what_is_asked(tmp_path: Path) -> None:
    project = tmp_path / "project"
    project.mkdir()
    (project / "README.md").write_text("It mails ada.lovelace@example.org with token=abcdefghijklmnop1234.\n")
    async with session(tmp_path, *PLAYED, "--folder", str(project)) as client:
        await client.call_tool("new_request", {"words": "builds take long", "folder": str(project)})
        files = await client.call_tool("project_files", {"path": "README.md"})
        assert not files.is_error
        assert "ada.lovelace" not in text_of(files) and "abcdefghijklmnop" not in text_of(files)
        assert "It mails <email-1>" in text_of(files)


async def test_a_folder_or_command_that_nobody_allowed_is_refused(tmp_path: Path) -> None:
    project = tmp_path / "project"
    project.mkdir()
    (project / "out").symlink_to("/")
    options = (*PLAYED, "--folder", str(project), "--command", "make -j2")
    async with session(tmp_path, *options) as client:
        for folder in ("/etc", str(project / "out"), str(project / ".."), "~root", "no\nsuch"):
            refused = await client.call_tool("new_request", {"words": "build", "folder": folder})
            assert refused.is_error and "is no folder that this server may look at" in text_of(refused), folder
        refused = await client.call_tool("new_request", {"words": "build", "command": "make -j2; rm -r ."})
        assert refused.is_error and "is no command that this server may run" in text_of(refused)
        taken = await client.call_tool("new_request", {"words": "build", "command": "make -j2", "folder": str(project)})
        assert not taken.is_error


def test_when_stdin_ends_the_server_ends_and_leaves_nothing(tmp_path: Path) -> None:
    with raw(tmp_path, *PLAYED) as server:
        server.introduce()
        assert "Runs now" in json.dumps(server.answer(server.call("status")))
        assert list((tmp_path / "temporary").iterdir())
        assert server.leave() == 0
    assert not list((tmp_path / "temporary").iterdir())
    assert not [each for each in (tmp_path / "run").rglob("*") if not each.is_dir()]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["term", "int"])
def test_a_signal_ends_it_in_order_also_while_it_works(tmp_path: Path, number: signal.Signals) -> None:
    with raw(tmp_path, "--machine", standing_still(tmp_path)) as server:
        server.introduce()
        server.answer(server.call("status"))
        server.call("machine_summary")
        before = psutil.Process(server.process.pid).children(recursive=True)
        server.process.send_signal(number)
        assert server.process.wait(60) == 128 + number
        assert until(lambda: not any(each.is_running() for each in before))
    assert not list((tmp_path / "temporary").iterdir())
    assert not [each for each in (tmp_path / "run").rglob("*") if not each.is_dir()]


def test_nothing_but_the_protocol_is_on_stdout(tmp_path: Path) -> None:
    with raw(tmp_path, "--machine", "replay:/nonexistent") as server:
        server.introduce()
        answer = server.answer(server.call("status"))
        assert answer["result"]["isError"]
        assert "nonexistent" in answer["result"]["content"][0]["text"]
        assert server.leave() == 0


async def test_a_method_that_does_not_exist_is_refused_by_the_protocol(tmp_path: Path) -> None:
    async with session(tmp_path, *PLAYED) as client:
        with pytest.raises(MCPError):
            await client.read_resource("file:///etc/passwd")
        assert not (await client.call_tool("status", {})).is_error
