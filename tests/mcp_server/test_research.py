"""A client that was written for the research system's server, and runs against ours unchanged: what needs no lab."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from schedtui.mcp.monitor import Counters, read_counters
from tests.mcp_server.raw_client import RawClient

pytestmark = pytest.mark.slow

THEIRS = {
    "list_schedulers": {"name", "production_ready"},
    "run_scheduler": {"name", "args"},
    "stop_scheduler": {"execution_id"},
    "get_execution_status": {"execution_id"},
    "create_and_verify_scheduler": {
        *("name", "source_code", "description", "algorithm", "use_cases"),
        *("characteristics", "limitations", "performance_profile"),
    },
    "system_monitor": {"command"},
    "workload": {"command", "description", "workload_id", "execution_id", "result_description"},
}
KINDS: dict[str, type] = {
    "name": str,
    "production_ready": bool,
    "description": str,
    "algorithm": str,
    "use_cases": list,
    "characteristics": str,
    "tuning_parameters": dict,
    "limitations": str,
    "performance_profile": str,
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the servers of this module keep what they know."""
    return tmp_path_factory.mktemp("client")


@pytest.fixture(scope="module")
def client(folder: Path) -> Iterator[RawClient]:
    """Of a server on this computer, which these tests only look at."""
    client = RawClient(folder, "--machine", "host", "--as", "autotune")
    yield client
    client.close()


def test_it_finds_the_tools_that_it_knows_with_their_arguments(client: RawClient) -> None:
    assert client.hello["protocolVersion"] == "2024-11-05"
    tools = {each["name"]: each for each in client.request("tools/list", {})["tools"]}
    for name, arguments in THEIRS.items():
        assert set(tools[name]["inputSchema"]["properties"]) == arguments, name
        assert tools[name]["inputSchema"].get("additionalProperties") is not False, "unknown fields are left out"
    assert tools["run_scheduler"]["inputSchema"]["required"] == ["name"]
    assert tools["run_scheduler"]["annotations"]["destructiveHint"]
    assert tools["list_schedulers"]["annotations"]["readOnlyHint"]


def test_it_reads_the_schedulers_with_what_it_knows_of_each(client: RawClient) -> None:
    schedulers = client.call("list_schedulers")["schedulers"]
    assert {"fair", "interactive", "scx_rusty", "scx_lavd"} <= {each["name"] for each in schedulers}
    for each in schedulers:
        assert {key: type(value) for key, value in each.items()} == KINDS, each["name"]
        for parameter in each["tuning_parameters"].values():
            assert parameter["type"] in ("integer", "boolean", "string")
            assert parameter["description"]
            assert "default" in parameter
    (rusty,) = (each for each in schedulers if each["name"] == "scx_rusty")
    slice_us = rusty["tuning_parameters"]["slice_us_underutil"]
    assert (slice_us["type"], slice_us["flag"]) == ("integer", "--slice-us-underutil")
    low, high = slice_us["range"]
    assert low <= slice_us["default"] <= high
    assert "compile" in rusty["use_cases"]


def test_schedulers_are_found_by_a_part_of_their_name_and_by_what_runs_here(client: RawClient) -> None:
    names = [each["name"] for each in client.call("list_schedulers", {"name": "RUST"})["schedulers"]]
    assert names == ["scx_rustland", "scx_rusty"]
    ready = client.call("list_schedulers", {"production_ready": True})["schedulers"]
    others = client.call("list_schedulers", {"production_ready": False, "name": None})["schedulers"]
    assert all(each["production_ready"] for each in ready)
    assert "fair" in {each["name"] for each in ready}
    assert not {each["name"] for each in ready} & {each["name"] for each in others}
    assert client.call("list_schedulers", {"name": "no such"}) == {"schedulers": []}


def test_unknown_fields_and_nulls_are_taken_as_absent(client: RawClient) -> None:
    listed = client.call("list_schedulers", {"name": None, "production_ready": None, "verbose": True})
    assert listed == client.call("list_schedulers", {})
    assert client.call("workload", {"command": "list", "description": None, "workload_id": None})["profiles"] == []


@pytest.mark.parametrize(
    ("tool", "arguments", "why"),
    [
        ("run_scheduler", {"name": "non_existent_scheduler", "args": []}, "not found"),
        ("run_scheduler", {"name": "custom:fair"}, "not found"),
        ("run_scheduler", {"name": "../../etc/passwd"}, "not found"),
        ("run_scheduler", {"name": "fair", "args": ["--no-such-flag"]}, "has no flag --no-such-flag"),
        ("run_scheduler", {"name": "fair", "args": ["x" * 5000]}, "too long"),
        ("run_scheduler", {"name": "fair", "args": "--slice-us"}, "args"),
        ("run_scheduler", {}, "name"),
        ("get_execution_status", {"execution_id": "invalid_id"}, "not found"),
        ("get_execution_status", {"execution_id": 7}, "execution_id"),
        ("stop_scheduler", {"execution_id": "invalid_id"}, "not found"),
        ("workload", {"command": "get_history", "workload_id": "invalid_id"}, "not found"),
        (
            "workload",
            {"command": "add_history", "workload_id": "x", "execution_id": "exec_123", "result_description": "y"},
            "not found",
        ),
        ("workload", {"command": "create"}, "description is required"),
        ("workload", {"command": "get_history"}, "workload_id is required"),
        ("workload", {"command": "add_history", "workload_id": "x"}, "execution_id is required"),
        ("workload", {"command": "erase"}, "Unknown command"),
        ("system_monitor", {"command": "stop"}, "no active monitoring session"),
        ("system_monitor", {"command": "pause"}, "Unknown command"),
        ("create_and_verify_scheduler", {"name": "../evil", "source_code": "x", "description": "d"}, "cannot be"),
        ("create_and_verify_scheduler", {"name": "scx_rusty", "source_code": "x", "description": "d"}, "has a scx_rus"),
        ("create_and_verify_scheduler", {"name": "empty", "source_code": " ", "description": "d"}, "holds no policy"),
    ],
    ids=[
        *("unknown scheduler", "not custom", "path", "flag", "long word", "no list", "no name", "unknown run"),
        *("number", "nothing to stop", "unknown workload", "unknown execution", "nothing to create", "no workload"),
        *("no execution", "command", "not watching", "pause", "hostile name", "taken name", "no source"),
    ],
)
def test_what_cannot_be_done_is_an_error_with_the_reason(
    client: RawClient, tool: str, arguments: dict[str, Any], why: str
) -> None:
    assert why in client.refusal(tool, arguments)


def test_the_machine_is_summed_up_between_start_and_stop(client: RawClient) -> None:
    began = client.call("system_monitor", {"command": "start"})
    assert began["status"] == "started"
    assert "already active" in client.refusal("system_monitor", {"command": "start"})
    ended = client.call("system_monitor", {"command": "stop"})
    assert ended["status"] == "stopped"
    summary = ended["summary"]
    assert summary["session_id"] == began["session_id"]
    assert summary["sample_count"] >= 1
    assert summary["duration_secs"] >= 0
    for group, keys in (("cpu", ("avg_percent", "max_percent")), ("memory", ("avg_percent", "max_percent"))):
        for key in keys:
            assert 0.0 <= float(summary[group][key]) <= 100.0
    assert float(summary["memory"]["avg_used_mb"]) > 0
    assert set(summary["scheduler"]) == {"total_timeslices", "avg_run_time_ns"}


def test_a_source_that_does_not_compile_is_told_with_the_place(client: RawClient) -> None:
    source = "#include <scx/common.bpf.h>\n\nUEI_DEFINE(uei);\n\nvoid broken(void) { no_such_function(); }\n"
    why = client.refusal(
        "create_and_verify_scheduler",
        {
            "name": "scx_broken",
            "source_code": source,
            "description": "Does nothing.",
            "algorithm": "None",
            "use_cases": [],
            "characteristics": "",
            "limitations": "It does not compile.",
            "performance_profile": "",
        },
    )
    assert "scx_broken did not pass the verifier" in why
    assert "scx_broken.bpf.c:5" in why
    assert "not found" in client.refusal("run_scheduler", {"name": "custom:scx_broken"})


def test_what_it_wrote_of_its_workloads_is_there_in_another_session(client: RawClient, folder: Path) -> None:
    """The history-driven story, as far as it needs no scheduler."""
    created = client.call("workload", {"command": "create", "description": "Linux kernel build, throughput-focused"})
    id = created["workload_id"]
    assert id in created["message"]

    later = RawClient(folder, "--machine", "host", "--as", "autotune")
    (profile,) = later.call("workload", {"command": "list"})["profiles"]
    assert set(profile) == {"id", "description", "created_at", "updated_at"}
    assert (profile["id"], profile["description"]) == (id, "Linux kernel build, throughput-focused")
    history = later.call("workload", {"command": "get_history", "workload_id": id})
    assert history == {"profile": profile, "history": []}
    assert later.close() == 0


def test_what_proc_does_not_say_is_not_guessed() -> None:
    told = (
        "MemTotal: 1000 kB\nMemFree: 100 kB\nMemAvailable: 400 kB\nversion 17\ntimestamp 4294892848\n"
        "cpu0 0 0 0 0 0 0 5000 70 10\ndomain0 SMT 3 0 0\ncpu1 0 0 0 0 0 0 1000 30 2\n"
    )
    assert read_counters(told) == Counters(memory_used_kib=600, memory_kib=1000, run_ns=6000, turns=12)
    assert read_counters("MemTotal: much kB\ncpu0 x\n") == Counters()
    assert json.dumps(read_counters("").turns) == "null"
