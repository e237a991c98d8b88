"""What policies promise beyond carrying a load, and changing one while it runs, on a real kernel."""

from __future__ import annotations

import contextlib
import threading
import time

import pytest

from schedtui.backend.deploy import apply, resolve
from schedtui.backend.errors import BadTunable, NotPermitted, SchedtuiError
from schedtui.backend.lab import LabMachine
from schedtui.backend.library.catalogue import load_library
from schedtui.backend.model import Scheduler, Setting
from tests.conftest import quiet, until

pytestmark = [pytest.mark.soak, pytest.mark.matrix]

SPIN = "while :; do :; done"


@pytest.fixture
def spinners(lab: LabMachine) -> list[str]:
    """Four equal programs that compute, by their process numbers."""

    return started(lab, f'for n in 1 2 3 4; do sh -c "{SPIN}" & echo $! >> pids; done')


def started(lab: LabMachine, script: str) -> list[str]:
    """The four processes whose numbers a script writes down; they run until the lab is closed."""
    threading.Thread(target=run_to_the_end, args=(lab, f"cd /tmp; {script}; sleep 300"), daemon=True).start()
    assert until(lambda: len(lab.run(["cat", "/tmp/pids"], 20).output.split()) == 4)
    return lab.run(["cat", "/tmp/pids"], 20).output.split()


def run_to_the_end(lab: LabMachine, script: str) -> None:
    with contextlib.suppress(SchedtuiError):
        lab.run(["sh", "-c", script], 300)


def run_by(lab: LabMachine, settings: dict[str, Setting], policy: str = "focus") -> Scheduler:
    return apply(lab, resolve(load_library(), policy, settings), quiet)


def shares(lab: LabMachine, pids: list[str]) -> list[float]:
    """How the CPU time of a second was shared among these processes."""
    before = ticks(lab, pids)
    time.sleep(1)
    used = [now - then for then, now in zip(before, ticks(lab, pids), strict=True)]
    return [each / sum(used) for each in used]


def ticks(lab: LabMachine, pids: list[str]) -> list[int]:
    lines = lab.run(["cat", *(f"/proc/{pid}/stat" for pid in pids)], 30).output.splitlines()
    return [sum(map(int, line.rsplit(")", 1)[1].split()[11:13])) for line in lines]


def test_the_focus_moves_from_one_program_to_another_without_a_load(lab: LabMachine, spinners: list[str]) -> None:
    first = run_by(lab, {"focus_pid": int(spinners[0])})
    assert shares(lab, spinners)[0] > 0.4, "it alone can use half of two CPUs"

    moved = run_by(lab, {"focus_pid": int(spinners[2])})
    assert (moved.enable_seq, moved.settings) == (first.enable_seq, {"focus_pid": int(spinners[2])})
    after = shares(lab, spinners)
    assert after[2] > 0.4
    assert max(after[0], after[1], after[3]) < 0.3
    assert min(after) > 0.02, "the rest goes on"

    again = run_by(lab, {"focus_pid": int(spinners[2]), "patience_ms": 100})
    assert again.enable_seq > first.enable_seq, "what cannot change while it runs is loaded anew"


def test_the_focus_is_chosen_by_control_group_and_inherited_from_a_parent(lab: LabMachine, spinners: list[str]) -> None:
    run_by(lab, {})
    lab.run(["mkdir", "-p", "/sys/fs/cgroup/front/most"], 20)
    lab.run(["sh", "-c", f"echo {spinners[3]} > /sys/fs/cgroup/front/most/cgroup.procs"], 20)
    lab.tune({"focus_cgroup": "/front"})
    assert shares(lab, spinners)[3] > 0.4

    parent = lab.run(["sed", "s/.*) . //;s/ .*//", f"/proc/{spinners[0]}/stat"], 20).output.strip()
    lab.tune({"focus_cgroup": "", "focus_pid": int(parent)})
    assert max(shares(lab, spinners)) < 0.35, "all four have that parent, so all are in the focus"


def test_only_live_tunables_of_a_policy_that_runs_are_changed_and_all_or_none(lab: LabMachine) -> None:
    with pytest.raises(NotPermitted):
        lab.tune({"focus_pid": 1})
    run_by(lab, {})
    with pytest.raises(BadTunable, match="while the policy runs"):
        lab.tune({"focus_pid": 1, "patience_ms": 100})
    with pytest.raises(BadTunable, match="no control group"):
        lab.tune({"focus_pid": 1, "focus_cgroup": "/nowhere"})
    with pytest.raises(BadTunable, match="no tunable"):
        lab.tune({"focus_pit": 1})
    assert lab.scheduler().settings == {}
    assert lab.tune({"focus_name": "game"}).settings == {"focus_name": "game"}


def test_the_background_yields_to_the_rest_but_is_never_shut_out(lab: LabMachine, spinners: list[str]) -> None:
    lab.run(["renice", "-n", "10", "-p", spinners[0]], 20)
    lab.run(["renice", "-n", "-10", "-p", spinners[1]], 20)
    run_by(lab, {}, "layers")
    found = shares(lab, spinners)
    assert found[1] > 0.4, "the foreground has a CPU to itself"
    assert 0 < found[0] < min(found[2], found[3])


def test_a_layer_is_told_by_one_of_several_names(lab: LabMachine) -> None:
    named = f"(printf %s $n > /proc/self/comm; {SPIN})"
    pids = started(lab, f"for n in alpha beta gamma delta; do {named} & echo $! >> pids; done")
    run_by(lab, {"foreground_names": "none gam", "background_names": "alp,bet"}, "layers")
    found = shares(lab, pids)
    assert found[2] > 0.4
    assert max(found[0], found[1]) < found[3]
