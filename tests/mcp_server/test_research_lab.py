"""The research system's stories on a real kernel, as its own clients tell them; one lab for all of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.mcp_server.raw_client import RawClient

pytestmark = [pytest.mark.lab, pytest.mark.soak, pytest.mark.matrix]

NUMA_AWARE = (Path(__file__).parent / "numa_aware.bpf.c").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RawClient]:
    """Of a lab in which a quick look is proof enough, so that these tests are not about the verifier."""
    client = RawClient(tmp_path_factory.mktemp("client"), "--machine", "lab", "--as", "autotune")
    try:
        client.text("new_request", {"words": "make a build faster", "quick": True})
        yield client
    finally:
        client.close()


def test_the_complete_optimization_workflow(client: RawClient) -> None:
    workload = client.call("workload", {"command": "create", "description": "Linux kernel build"})["workload_id"]
    ready = client.call("list_schedulers", {"production_ready": True})["schedulers"]
    assert "slice_us" in next(each for each in ready if each["name"] == "fair")["tuning_parameters"]

    client.call("system_monitor", {"command": "start"})
    first = client.run("fair", ["--slice-us", "20000"])
    status = client.status(first)
    assert (status["status"], status["scheduler_name"], status["args"]) == ("running", "fair", ["--slice-us", "20000"])
    assert "loaded: fair with slice_us=20000" in status["output"]
    assert any(line.startswith("kernel: fair") for line in status["output"])
    added = client.call(
        "workload",
        {
            "command": "add_history",
            "workload_id": workload,
            "execution_id": first,
            "result_description": "36.2 s, 20 % better than the default",
        },
    )

    second = client.run("fifo")
    assert client.status(first)["status"] == "stopped", "a new one stops what ran"
    assert client.status(second)["status"] == "running"
    assert client.call("stop_scheduler", {"execution_id": second})["status"] == "stopped"
    assert client.status(second)["exit_code"] == 0
    assert "Runs now: fifo" not in client.text("status")

    summary = client.call("system_monitor", {"command": "stop"})["summary"]
    assert float(summary["cpu"]["max_percent"]) > 0
    assert float(summary["memory"]["avg_used_mb"]) > 0
    assert summary["scheduler"]["total_timeslices"] > 0
    assert summary["scheduler"]["avg_run_time_ns"] > 0

    (run,) = client.call("workload", {"command": "get_history", "workload_id": workload})["history"]
    assert (run["id"], run["execution_id"], run["scheduler_name"]) == (added["history_id"], first, "fair")


def test_the_custom_scheduler_creation_workflow(client: RawClient) -> None:
    described = {
        "name": "scx_numa_aware",
        "description": "Shares one queue among all CPUs",
        "algorithm": "FIFO",
        "use_cases": ["memory-intensive", "NUMA systems"],
        "characteristics": "One queue",
        "limitations": "Knows no node yet",
        "performance_profile": "Balanced",
    }
    starving = NUMA_AWARE.replace("scx_bpf_dsq_move_to_local(SHARED_DSQ);", "")
    why = client.refusal("create_and_verify_scheduler", {**described, "source_code": starving})
    assert "scx_numa_aware did not pass the verifier" in why
    assert "not found" in client.refusal("run_scheduler", {"name": "custom:scx_numa_aware"})

    told = client.text("create_and_verify_scheduler", {**described, "source_code": NUMA_AWARE})
    assert "scx_numa_aware" in told
    assert "successful" in told
    (listed,) = client.call("list_schedulers", {"name": "numa"})["schedulers"]
    assert not listed["production_ready"]
    assert (listed["algorithm"], listed["performance_profile"]) == ("FIFO", "Balanced")
    assert listed["use_cases"] == ["memory-intensive", "NUMA systems"]

    id = client.run("custom:scx_numa_aware", ["--slice-ns", "5000000"])
    status = client.status(id)
    assert (status["command"], status["status"]) == ("custom:scx_numa_aware", "running")
    assert any(line.startswith("kernel: ") and line.endswith(" is enabled") for line in status["output"])
    client.call("stop_scheduler", {"execution_id": id})
    assert client.status(id)["output"][-1].startswith("autotune stopped it.")
