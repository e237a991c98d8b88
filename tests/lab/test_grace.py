"""The kernel's grace periods do not wait for a scheduler that is to go, and are put back as they were."""

from __future__ import annotations

import json
from typing import Any

import pytest

from schedtui.backend.lab import LabMachine

pytestmark = pytest.mark.lab

HURRIED = """
import json, os, subprocess, sys, time
sys.path.insert(0, "/schedtui")
from schedtui.backend.helper.grace import GracePeriods

def classes():
    found = {}
    for pid in filter(str.isdecimal, os.listdir("/proc")):
        name = open(f"/proc/{pid}/comm").read().strip()
        if name.startswith("rcu_"):
            found[name + (" of a user" if pid == str(pretends.pid) else "")] = os.sched_getscheduler(int(pid))
    return found

pretends = subprocess.Popen(["python3", "-c", "open('/proc/self/comm','w').write('rcu_preempt'); print(flush=True);"
    "import time; time.sleep(60)"], stdout=subprocess.PIPE)
pretends.stdout.readline()
for pid in filter(str.isdecimal, os.listdir("/proc")):  # whatever an earlier load has made of them
    if open(f"/proc/{pid}/comm").read().startswith("rcu_"):
        os.sched_setscheduler(int(pid), os.SCHED_OTHER, os.sched_param(0))
before, it = classes(), GracePeriods()
it.hurry()
during = classes()
it.rest()
after = classes()
pretends.kill()
print(json.dumps([before, during, after]))
"""
NORMAL, REAL_TIME = 0, 1


def test_the_threads_of_grace_periods_hurry_and_are_put_back_and_no_program_passes_for_one(lab: LabMachine) -> None:
    ended = lab.run(["python3", "-c", HURRIED], 60)
    assert ended.exit_code == 0, ended.output
    found: list[dict[str, Any]] = json.loads(ended.output.splitlines()[-1])
    before, during, after = found
    assert set(before.values()) == {NORMAL} and after == before
    assert during["rcu_preempt"] == REAL_TIME
    assert during["rcu_preempt of a user"] == NORMAL
    assert during["rcu_tasks_kthread"] == NORMAL, "nothing waits for it"
