"""What a connected program reads without a tool: live, whole, masked, and nothing beside it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import msgspec
import pytest
from mcp.client.client import Client
from mcp.shared.exceptions import MCPError
from mcp.shared.subscriptions import ResourceUpdated
from mcp_types import ResourceUpdatedNotification

from schedtui.backend.library.catalogue import load_library
from schedtui.backend.model import Frame, KernelId, MachineInfo, Report
from schedtui.backend.store import Store
from schedtui.backend.verifier.edition import rules_version
from schedtui.mcp.resources import FRAME
from tests.mcp_server.over_http import Served, served

pytestmark = pytest.mark.slow
DIGEST = "ab" * 32
WAIT_S = 60


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    data = tmp_path_factory.mktemp("data")
    _remember(data)
    with served(data, "--machine", "host") as it:
        yield it


def _remember(data: Path) -> None:
    """A report and a request of earlier days."""
    kernel = KernelId(release="6.18.15", build_id="cd" * 20, btf_hash="ef" * 32)
    report = Report(
        name="fair",
        verdict="pass",
        digest=DIGEST,
        settings={"slice_us": 5000},
        kernel=kernel,
        stages=(),
        quick=False,
        made_at=1_700_000_000.0,
        rules=rules_version(),
    )
    folder = data / "schedtui" / "reports" / DIGEST
    folder.mkdir(parents=True)
    (folder / "one.json").write_bytes(msgspec.json.encode(report))
    Store(data / "schedtui" / "history.sqlite").add_request(
        words="builds in /home/somebody/work with token=abcdef123456 are slow",
        class_id="compile",
        mind="mcp:claude",
        machine="lab",
    )


async def _read(client: Client, uri: str) -> Any:
    (content,) = (await client.read_resource(uri)).contents
    assert content.mime_type == "application/json"
    return json.loads(content.text)


async def test_every_resource_that_is_listed_can_be_read(server: Served) -> None:
    async with server.client() as client:
        listed = (await client.list_resources()).resources
        assert {each.uri for each in listed} == {
            f"schedtui://{name}" for name in ("frame", "machine", "library", "reports", "history")
        }
        for each in listed:
            assert each.title and each.description
            assert await _read(client, each.uri)
        templates = (await client.list_resource_templates()).resource_templates
    assert [each.uri_template for each in templates] == ["schedtui://library/{name}", "schedtui://reports/{digest}"]


async def test_the_frame_is_the_machine_as_it_is_now(server: Served) -> None:
    async with server.client() as client:
        info = msgspec.convert(await _read(client, "schedtui://machine"), MachineInfo)
        first = msgspec.convert(await _read(client, FRAME), Frame)
        with anyio.fail_after(WAIT_S):
            while msgspec.convert(await _read(client, FRAME), Frame).sequence == first.sequence:
                await anyio.sleep(0.2)
    assert info.kind == "host"
    assert {each.cpu for each in first.cpus} <= {each.cpu for each in info.cpus}


async def test_a_policy_comes_with_its_source_and_its_tunables(server: Served) -> None:
    known = load_library().policy("fair")
    async with server.client() as client:
        listed = await _read(client, "schedtui://library")
        assert {each["name"] for each in listed["policies"]} >= {"fair"}
        found = await _read(client, "schedtui://library/fair")
    assert found["source"] == Path(known.source).read_text()
    assert [each["name"] for each in found["tunables"]] == [each.name for each in known.tunables]


async def test_reports_are_found_by_the_digest_that_names_them(server: Served) -> None:
    async with server.client() as client:
        (listed,) = await _read(client, "schedtui://reports")
        assert (listed["name"], listed["verdict"], listed["digest"]) == ("fair", "pass", DIGEST)
        (report,) = await _read(client, listed["uri"])
    assert msgspec.convert(report, Report).settings == {"slice_us": 5000}


async def test_history_is_masked_as_results_are(server: Served) -> None:
    async with server.client() as client:
        (entry,) = [each for each in await _read(client, "schedtui://history") if "builds in" in each["title"]]
    assert "somebody" not in entry["title"]
    assert "abcdef123456" not in entry["title"]
    assert "are slow" in entry["title"]


@pytest.mark.parametrize(
    "uri",
    [
        "",
        "schedtui://",
        "schedtui://nothing",
        "schedtui://library/",
        "schedtui://library/nothing",
        "schedtui://library/..",
        "schedtui://library/../../../etc/passwd",
        "schedtui://library/%2e%2e%2fetc",
        "schedtui://reports/..",
        "schedtui://reports/one",
        f"schedtui://reports/{'0' * 64}",
        "file:///etc/passwd",
        "SCHEDTUI://FRAME",
        "schedtui://frame\n",
        "x" * 100_000,
    ],
    ids=lambda uri: uri[:40].encode("unicode_escape").decode() or "empty",
)
async def test_nothing_else_can_be_read(server: Served, uri: str) -> None:
    async with server.client("hostile") as client:
        with pytest.raises(MCPError) as told:
            await client.read_resource(uri)
        assert "Traceback" not in told.value.message
        assert len(told.value.message) < 2000
        assert "/" + "etc" not in told.value.message.replace(uri, "")


@pytest.mark.filterwarnings("ignore:resources.*subscribe is removed")
async def test_a_subscriber_is_told_of_newer_frames_until_it_has_enough(server: Served) -> None:
    told = anyio.Event()

    async def heard(message: Any) -> None:
        if isinstance(message, ResourceUpdatedNotification) and message.params.uri == FRAME:
            told.set()

    async with server.client(message_handler=heard) as client:
        await client.subscribe_resource(FRAME)
        with anyio.fail_after(WAIT_S):
            await told.wait()
        await client.unsubscribe_resource(FRAME)
        with pytest.raises(MCPError, match="Only schedtui://frame"):
            await client.subscribe_resource("schedtui://history")


async def test_a_program_of_the_newer_protocol_listens_to_frames(server: Served) -> None:
    async with server.client(mode="auto") as client, client.listen(resource_subscriptions=[FRAME]) as subscription:
        with anyio.fail_after(WAIT_S):
            async for event in subscription:
                assert event == ResourceUpdated(FRAME)
                break


async def test_prompts_say_which_tools_to_call_and_quote_the_words(server: Served) -> None:
    async with server.client() as client:
        tools = {each.name for each in (await client.list_tools()).tools}
        listed = {each.name for each in (await client.list_prompts()).prompts}
        assert listed == {"schedule", "observe", "plan", "execute", "learn"}
        asked = {"words": "my game stutters", "folder": "/srv/game"}
        (message,) = (await client.get_prompt("schedule", asked)).messages
        for name in ("new_request", "submit_workload", "submit_plan", "verify", "canary", "finish"):
            assert name in tools
            assert name in message.content.text
        assert message.content.text.endswith(
            "The person wrote: “my game stutters”\n\nTheir project's folder: /srv/game"
        )
        for name, given in (
            ("schedule", {}),
            ("nothing", asked),
            ("plan", {"x": "y"}),
            ("plan", {"words": "x" * 5000}),
        ):
            with pytest.raises(MCPError):
                await client.get_prompt(name, given)
