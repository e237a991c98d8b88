"""What a hostile program writes to stdin: the server goes on and answers the next good call, and nothing leaks out."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from schedtui.mcp.stdio import LONGEST_LINE
from tests.mcp_server.over_stdio import RECORDING, Raw, raw

pytestmark = pytest.mark.slow
WRONG = {
    "no JSON": b"GET / HTTP/1.1",
    "half a message": b'{"jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": {',
    "no version": b'{"id": 8, "method": "ping"}',
    "a list": b'[{"jsonrpc": "2.0", "id": 9, "method": "ping"}]',
    "a number": b"17",
    "an odd id": b'{"jsonrpc": "2.0", "id": {"a": 1}, "method": "ping"}',
    "odd params": b'{"jsonrpc": "2.0", "id": 10, "method": "tools/call", "params": [1, 2]}',
    "no name": b'{"jsonrpc": "2.0", "id": 11, "method": "tools/call", "params": {"arguments": {}}}',
    "a name that is a number": b'{"jsonrpc": "2.0", "id": 12, "method": "tools/call", "params": {"name": 5}}',
    "odd arguments": b'{"jsonrpc":"2.0","id":13,"method":"tools/call","params":{"name":"more","arguments":1}}',
    "not UTF-8": b'{"jsonrpc": "2.0", "id": 14, "method": "p\xff\xfe"}',
    "a NUL": b'{"jsonrpc": "2.0", "id": 15, "method": "ping\x00"}',
    "nested deeply": b"[" * 200_000,
    "an answer to nothing": b'{"jsonrpc": "2.0", "id": 99, "result": {}}',
    "a cancellation of nothing": b'{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":12345}}',
    "a second introduction": b'{"jsonrpc":"2.0","id":16,"method":"initialize","params":{}}',
    "an unknown method": b'{"jsonrpc": "2.0", "id": 17, "method": "root/shell"}',
    "too long": b'{"jsonrpc": "2.0", "id": 18, "method": "' + b"x" * (LONGEST_LINE + 10) + b'"}',
    "nothing": b"",
    "spaces": b"   \t ",
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Raw]:
    """One for all, on a recorded machine."""
    with raw(tmp_path_factory.mktemp("hostile"), "--machine", f"replay:{RECORDING}") as it:
        it.introduce()
        yield it


@pytest.mark.parametrize("line", WRONG.values(), ids=WRONG.keys())
def test_a_wrong_message_ends_nothing(server: Raw, line: bytes) -> None:
    server.write(line)
    assert not server.answer(server.call("status"))["result"]["isError"]


def test_arguments_of_every_wrong_kind_are_refused_in_words(server: Raw) -> None:
    for arguments in (
        {"words": ["x"]},
        {"words": {"$ref": "#"}},
        {"words": "x" * 300_000},
        {"words": "a\x00b"},
        {"__class__": "x"},
        {},
    ):
        result = server.answer(server.call("search_library", **arguments))["result"]
        assert result["isError"], arguments
        text = result["content"][0]["text"]
        assert "Traceback" not in text and len(text) < 500


def test_names_never_become_paths(server: Raw) -> None:
    for name in ("../../etc/passwd", "/etc/passwd", "fair/../../..", "fair\n", "", ".", "%2e%2e/x", "~"):
        for tool, argument in (("show_policy", "name"), ("policy_source", "name"), ("more", "handle")):
            result = server.answer(server.call(tool, **{argument: name}))["result"]
            text = result["content"][0]["text"]
            assert result["isError"] and "root:" not in text, (tool, name)


def test_a_flood_is_answered_or_refused_one_by_one_and_costs_no_memory(server: Raw) -> None:
    process = psutil.Process(server.process.pid)
    server.answer(server.call("status"))
    before = process.memory_info().rss
    ids: list[int] = []
    read: list[int] = []

    def write() -> None:
        for _ in range(400):
            ids.append(server.call("history"))

    writer = threading.Thread(target=write)
    writer.start()
    while len(read) < 400:
        read.append(server.next()["id"])
    writer.join(60)
    assert sorted(read) == ids
    assert process.memory_info().rss - before < 64 << 20
    assert "Runs now" in json.dumps(server.answer(server.call("status")))


def test_one_that_writes_and_never_reads_is_not_read_any_further(tmp_path: Path) -> None:
    with raw(tmp_path, "--machine", f"replay:{RECORDING}") as server:
        server.introduce()
        server.answer(server.call("status"))
        before = psutil.Process(server.process.pid).memory_info().rss

        def ask() -> None:
            with contextlib.suppress(BrokenPipeError):  # it was ended
                for _ in range(5000):
                    server.call("show_policy", name="fair")

        writer = threading.Thread(target=ask)
        writer.daemon = True
        writer.start()
        writer.join(3)
        assert psutil.Process(server.process.pid).memory_info().rss - before < 64 << 20
        server.process.terminate()
        assert server.process.wait(60) == 143


def test_one_that_closes_its_ears_ends_the_server(tmp_path: Path) -> None:
    with raw(tmp_path, "--machine", f"replay:{RECORDING}") as server:
        server.introduce()
        assert server.process.stdout is not None
        server.process.stdout.close()
        server.call("status")
        server.process.wait(60)
        assert b"Traceback" not in (tmp_path / "stderr").read_bytes()
