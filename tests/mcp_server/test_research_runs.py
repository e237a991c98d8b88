"""What becomes of a scheduler that a program runs by itself: on a computer in memory, with everything else real."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from schedtui.agent.trust import Trust
from schedtui.backend import deploy
from schedtui.backend.deploy import compiled
from schedtui.backend.library.catalogue import load_library
from schedtui.backend.model import Report, Setting, Stage, digest_of
from schedtui.backend.verifier import reports
from schedtui.mcp.client import Client
from schedtui.mcp.place import Place
from tests.conftest import until
from tests.deploy.computer import KERNEL, Computer

pytestmark = pytest.mark.slow


class Caller:
    """A connected program, whose answers are read as JSON."""

    def __init__(self, client: Client) -> None:
        self.client = client

    def call(self, tool: str, **arguments: object) -> dict[str, Any]:
        """What a tool answers."""
        result = self.client.call(tool, json.dumps(arguments))
        assert result.ok, result.text
        answer: dict[str, Any] = json.loads(result.text)
        return answer

    def refusal(self, tool: str, **arguments: object) -> str:
        """Why it does not."""
        result = self.client.call(tool, json.dumps(arguments))
        assert not result.ok, result.text
        return result.text

    def run(self, name: str, *args: str) -> str:
        """The id of an execution that was begun."""
        id: str = self.call("run_scheduler", name=name, args=args)["execution_id"]
        return id

    def status(self, id: str) -> dict[str, Any]:
        """Of an execution."""
        return self.call("get_execution_status", execution_id=id)


@pytest.fixture
def computer(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Computer:
    """The one machine, on which two policies are proven already."""
    for name in ("CONFIG", "DATA"):
        monkeypatch.setenv(f"XDG_{name}_HOME", str(tmp_path / name))
    monkeypatch.setattr(deploy, "_HOLD_S", 0.02)
    made = Computer(kind="lab")
    monkeypatch.setattr("schedtui.backend.machine.open_machine", lambda *_, **__: made)
    for policy, settings in (("fair", {}), ("fair", {"slice_us": 4000}), ("fifo", {})):
        _proven(policy, settings)
    return made


@pytest.fixture
def place(computer: Computer) -> Iterator[Place]:
    """Where it is."""
    place = Place("lab")
    yield place
    place.close()


@pytest.fixture
def connect(place: Place) -> Callable[[str], Caller]:
    """Connects a program of a name."""
    return lambda name: Caller(Client(place, name))


def test_a_scheduler_runs_with_its_flags_until_the_program_stops_it(
    computer: Computer, connect: Callable[[str], Caller]
) -> None:
    program = connect("tuner")
    id = program.run("fair", "--slice-us", "4000")
    now = computer.scheduler()
    assert (now.name, now.settings) == ("fair", {"slice_us": 4000})

    status = program.status(id)
    assert (status["scheduler_name"], status["command"]) == ("fair", "fair")
    assert (status["args"], status["status"]) == (["--slice-us", "4000"], "running")
    assert (status["exit_code"], status["end_time"], status["duration"], status["pid"]) == (None, None, None, None)
    assert abs(status["start_time"] - time.time()) < 600
    assert any(line.startswith("verifier: pass") for line in status["output"])
    assert "loaded: fair with slice_us=4000" in status["output"]

    assert program.call("stop_scheduler", execution_id=id)["status"] == "stopped"
    assert computer.scheduler().name == "EEVDF"
    status = program.status(id)
    assert (status["status"], status["exit_code"]) == ("stopped", 0)
    assert status["duration"] == status["end_time"] - status["start_time"]
    assert status["output"][-1] == "tuner stopped it. EEVDF runs."
    assert program.call("stop_scheduler", execution_id=id)["status"] == "stopped", "twice is the same as once"


def test_another_one_takes_the_place_of_what_the_program_ran(
    computer: Computer, connect: Callable[[str], Caller]
) -> None:
    program = connect("tuner")
    first = program.run("fair")
    second = program.run("fifo")
    assert computer.scheduler().name == "fifo"
    assert (program.status(first)["status"], program.status(second)["status"]) == ("stopped", "running")


def test_what_the_kernel_throws_out_has_failed_with_the_reason_and_costs_trust(
    computer: Computer, connect: Callable[[str], Caller]
) -> None:
    program = connect("tuner")
    id = program.run("fair")
    computer.end("The kernel threw fair out (runnable task stall)")
    assert until(lambda: program.status(id)["status"] == "failed")
    status = program.status(id)
    assert status["exit_code"] == 1
    assert "runnable task stall" in status["output"][-1]
    assert Trust("mcp:tuner")._file.standing("mcp:tuner").reverts == 1
    program.run("fifo")


def test_panic_and_a_person_who_takes_the_machine_back_are_told_as_a_failure(
    computer: Computer, connect: Callable[[str], Caller]
) -> None:
    program = connect("tuner")
    id = program.run("fair")
    program.client.take_back("A person took the machine back.")
    assert computer.scheduler().name == "EEVDF"
    status = program.status(id)
    assert (status["status"], status["output"][-1]) == ("failed", "A person took the machine back. EEVDF runs.")

    id = program.run("fair")
    computer.panic()
    assert until(lambda: program.status(id)["status"] == "failed")
    assert "Panic was pressed" in program.status(id)["output"][-1]
    assert "Panic was pressed" in program.refusal("run_scheduler", name="fair")


def test_a_program_that_vanishes_leaves_the_kernels_own_scheduler(
    computer: Computer, connect: Callable[[str], Caller], place: Place
) -> None:
    program = connect("tuner")
    program.run("fair")
    program.client.close("It hung up.")
    assert computer.scheduler().name == "EEVDF"
    assert place.at_work is None


def test_while_one_program_runs_a_scheduler_another_cannot(
    computer: Computer, connect: Callable[[str], Caller], place: Place
) -> None:
    first, second = connect("first"), connect("second")
    id = first.run("fair")
    assert "“first” is at work on this machine: it runs fair" in second.refusal("run_scheduler", name="fifo")
    assert "not found" in second.refusal("stop_scheduler", execution_id=id)
    assert computer.scheduler().name == "fair"
    first.call("stop_scheduler", execution_id=id)
    assert place.at_work is None
    second.run("fifo")
    assert computer.scheduler().name == "fifo"


def test_what_a_person_kept_is_theirs_and_not_stopped_by_the_program(
    computer: Computer, connect: Callable[[str], Caller]
) -> None:
    program = connect("tuner")
    id = program.run("fair")
    bench = program.client.bench
    assert bench is not None
    bench.deployer.keep(bench.executions[id].deployment)
    assert "A person kept fair" in program.refusal("stop_scheduler", execution_id=id)
    assert computer.scheduler().name == "fair"
    assert program.status(id)["status"] == "running"


def test_on_a_desktop_nothing_runs_that_nobody_agreed_to(
    computer: Computer, connect: Callable[[str], Caller], place: Place
) -> None:
    computer.kind = "host"
    program = connect("tuner")
    assert "fair was proven, and not tried" in program.refusal("run_scheduler", name="fair")
    assert computer.scheduler().name == "EEVDF"
    assert place.at_work is None


def test_a_runs_result_is_kept_with_the_workload_it_belongs_to(
    computer: Computer, connect: Callable[[str], Caller]
) -> None:
    program = connect("tuner")
    id = program.run("fair", "--slice-us=4000")
    workload = program.call("workload", command="create", description="A kernel build.")["workload_id"]
    added = program.call(
        "workload", command="add_history", workload_id=workload, execution_id=id, result_description="36.2 s"
    )
    (run,) = program.call("workload", command="get_history", workload_id=workload)["history"]
    assert run.pop("created_at") <= time.time()
    assert run == {
        "id": added["history_id"],
        "execution_id": id,
        "scheduler_name": "fair",
        "args": ["--slice-us=4000"],
        "result_description": "36.2 s",
    }
    assert "not found" in connect("other").refusal("workload", command="get_history", workload_id=workload)


def _proven(name: str, settings: Mapping[str, Setting]) -> None:
    """It passed on the computer's kernel before."""
    reports.save(
        Report(
            name=name,
            verdict="pass",
            digest=digest_of(compiled(load_library().policies[name])),
            settings=dict(settings),
            kernel=KERNEL,
            stages=(Stage(name="kernel", verdict="pass", seconds=1.0),),
            quick=False,
            made_at=0.0,
            rules=reports.rules_version(),
        )
    )
