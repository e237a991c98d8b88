"""The helper's own watch: a scheduler that starves normal tasks goes within one and a half seconds, and says why."""

from __future__ import annotations

import base64
import json
import re
from typing import Any

import pytest

from schedtui.backend.bpf.compiler import compile_bpf
from schedtui.backend.lab import LabMachine
from schedtui.paths import shipped
from tests.conftest import SOURCES

pytestmark = pytest.mark.lab

WATCHED = """
import json, os, signal, sys, threading, time
sys.path.insert(0, "/schedtui")
from pathlib import Path
from schedtui.backend.helper import heartbeat
from schedtui.backend.helper.control import SchedulerControl, become_realtime

policy, victim = sys.argv[1:]
told = []
control = SchedulerControl(lambda event: told.append((event.kind, event.text)))
heart = heartbeat.Heartbeat()
heartbeat.Heartbeat = lambda: heart

def watch():
    become_realtime()
    heartbeat.watch(control.held, control.wait_for_load, control.starved)

threading.Thread(target=watch, daemon=True).start()
become_realtime()
control.load(policy, Path("/tmp/policy.o").read_bytes(), {}, 0)
loaded = time.monotonic()
first = 0
while time.monotonic() - loaded < 60 and control.held():
    time.sleep(0.02)
    if victim and heart.pid and not first:
        first = heart.pid
        os.kill(first, getattr(signal, victim))
    if first and heart.pid not in (0, first):
        time.sleep(1)
        break
print(json.dumps({
    "runs": control.scheduler().name, "told": told,
    "replaced": heart.pid not in (0, first), "held": os.readlink(f"/proc/{heart.pid}/exe"),
}), flush=True)
control.close()
os._exit(0)
"""


def watched(lab: LabMachine, policy: str, obj: bytes, *, victim: str = "") -> dict[str, Any]:
    """What a helper's watch in the guest did while the policy ran; ``victim`` is a signal for the child that beats."""
    write = "import base64,sys; open('/tmp/policy.o','wb').write(base64.b64decode(sys.argv[1]))"
    assert lab.run(["python3", "-c", write, base64.b64encode(obj).decode()], 30).exit_code == 0
    ended = lab.run(["python3", "-c", WATCHED, policy, victim], 120)
    assert ended.exit_code == 0, ended.output
    found: dict[str, Any] = json.loads(ended.output.splitlines()[-1])
    return found


def test_a_scheduler_that_starves_normal_tasks_goes_after_a_second(lab: LabMachine) -> None:
    found = watched(lab, "starves", compile_bpf(SOURCES / "starves.bpf.c"))
    assert found["runs"] == "EEVDF"
    assert any(kind == "bad" and re.search(r"normal tasks were not run for \d\.", text) for kind, text in found["told"])


@pytest.mark.parametrize("victim", ["SIGKILL", "SIGSTOP"])
def test_a_child_that_is_killed_or_stopped_is_replaced_and_alarms_nobody(lab: LabMachine, victim: str) -> None:
    fair = compile_bpf(shipped("library") / "fair" / "fair.bpf.c")
    found = watched(lab, "fair", fair, victim=victim)
    assert found["runs"] == "fair"
    assert found["replaced"]
