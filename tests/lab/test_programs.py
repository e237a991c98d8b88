"""Schedulers that are programs of others, run in the lab as any policy: scx_bpfland, and all that make scx builds."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from schedtui.backend.deploy import apply, resolve
from schedtui.backend.errors import HelperGone, LoadRejected, SchedtuiError
from schedtui.backend.lab import LabMachine
from schedtui.backend.library.catalogue import load_library
from schedtui.backend.library.starting import in_mode, program_of
from schedtui.backend.model import Scheduler
from tests.conftest import DEFAULT, kernel_image, quiet, until, wait_for_event
from tests.schedulers import FOLDER, NAMES, built

pytestmark = pytest.mark.lab
BPFLAND = "scx_bpfland"


@pytest.fixture(scope="module")
def machine() -> Iterator[LabMachine]:
    """A guest that programs are carried into once."""
    it = LabMachine(kernel=kernel_image(DEFAULT), cpus=2)
    it.open(quiet)
    yield it
    it.close()


@pytest.fixture(autouse=True)
def schedulers_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that were built come before whatever this computer has."""
    monkeypatch.setenv("SCHEDTUI_SCX", str(FOLDER))


def start(machine: LabMachine, name: str = BPFLAND) -> Scheduler:
    """By its name, or that of a preset."""
    built(BPFLAND)
    return apply(machine, resolve(load_library(), name), quiet)


def processes(machine: LabMachine, name: str = BPFLAND) -> list[str]:
    """Their numbers, in the guest."""
    return machine.run(["pidof", name], 10).output.split()


def test_a_preset_runs_the_scheduler_that_it_prefers_in_its_mode(machine: LabMachine) -> None:
    now = start(machine, "streaming")

    assert now.name.startswith("bpfland")
    assert (now.owner, now.policy, now.sched_ext) == ("schedtui", BPFLAND, "enabled")
    assert "--primary-domain performance" in machine.output(), "its output is readable, and names its arguments"
    (pid,) = processes(machine)
    script = (
        f"cat /proc/{pid}/environ; ls -l /proc/{pid}/fd; cat /proc/{pid}/cgroup; grep NoNewPrivs /proc/{pid}/status"
    )
    seen = machine.run(["sh", "-c", script], 10).output
    assert "=" not in seen.partition("\n")[0], "its environment is empty"
    assert "carried" not in seen and "vport" not in seen, "nothing of the helper's is open in it"
    assert "0::/schedtui-program" in seen
    assert "NoNewPrivs:\t1" in seen
    assert machine.unload().sched_ext == "disabled"
    assert not processes(machine)


def test_panic_ends_it(machine: LabMachine) -> None:
    start(machine)
    machine.start_workload("hogs")
    found = machine.panic()
    machine.stop_workloads()
    machine.unlatch()
    assert found.scheduler.sched_ext == "disabled"
    assert found.path in ("helper", "sysrq")
    assert until(lambda: not processes(machine))


def test_its_death_is_noticed_and_told_with_what_it_printed(machine: LabMachine) -> None:
    frames = machine.frames(0.3)
    next(frames)
    start(machine)
    machine.run(["kill", "-9", *processes(machine)], 10)
    event = wait_for_event(frames, "its program was ended by SIGKILL")
    frames.close()  # type: ignore[attr-defined]
    assert "scheduler options: scx_bpfland" in event.details
    assert machine.scheduler().sched_ext == "disabled"
    assert "scheduler options" in machine.output(), "what it printed stays readable"


def test_what_nobody_watches_any_more_is_killed(machine: LabMachine) -> None:
    program = program_of(load_library().policy(BPFLAND), {})
    machine.load(BPFLAND, program, {}, lease_s=0.5)
    assert until(lambda: machine.scheduler().sched_ext == "disabled")
    assert until(lambda: not processes(machine))


def test_one_that_ends_at_once_is_explained_by_what_it_printed(machine: LabMachine) -> None:
    program = program_of(load_library().policy(BPFLAND), {"primary-domain": "nonsense"})
    with pytest.raises(LoadRejected, match="its program ended by itself") as caught:
        machine.load(BPFLAND, program, {})
    assert "nonsense" in caught.value.details
    assert machine.scheduler().sched_ext == "disabled"


def test_it_dies_with_the_helper(machine: LabMachine) -> None:
    start(machine)
    helper = machine.run(["sh", "-c", "echo $PPID"], 10).output.strip()
    with pytest.raises(HelperGone):
        machine.run(["sh", "-c", f"kill -9 {helper}; sleep 5"], 10)

    def is_back() -> bool:
        try:
            return machine.scheduler().sched_ext == "disabled" and not processes(machine)
        except SchedtuiError:
            return False

    assert until(is_back)
    assert start(machine).owner == "schedtui", "the next helper starts it again"
    machine.unload()


@pytest.mark.soak
@pytest.mark.parametrize("name", [each for each in NAMES if (FOLDER / each).is_file()] or [BPFLAND])
def test_each_runs_in_each_of_its_modes(lab: LabMachine, name: str) -> None:
    """Each in a guest of its own: all of them are too much for the memory of one."""
    built(name)
    library = load_library()
    policy = library.policies[name]
    for goal in [each.goal for each in policy.modes] or [""]:
        chosen, lacking = in_mode(policy, goal)
        assert not lacking
        now = lab.load(name, program_of(chosen, {}), {})
        assert (now.policy, now.sched_ext) == (name, "enabled"), goal
        lab.start_workload("hogs")
        assert until(lambda: lab.sample().work.get("hogs", 1) > 0)
        lab.stop_workloads()
        assert lab.output()
        assert lab.panic().scheduler.sched_ext == "disabled"
        lab.unlatch()
        assert not processes(lab, name)
