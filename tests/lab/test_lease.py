"""A scheduler under a lease goes when nobody watches it any more: a watcher that stalls, one that is killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from schedtui.backend.bpf.compiler import compile_bpf
from schedtui.backend.errors import BadMessage, LeaseEnded
from schedtui.backend.lab import LabMachine
from schedtui.paths import shipped
from tests.conftest import DEFAULT, kernel_image, until, wait_for_event

pytestmark = pytest.mark.lab

FAIR = shipped("library") / "fair" / "fair.bpf.c"

STALLING = """
import json, sys, time
from pathlib import Path
from schedtui.backend.bpf.compiler import compile_bpf
from schedtui.backend.errors import LeaseEnded
from schedtui.backend.lab import LabMachine

machine = LabMachine(kernel=Path(sys.argv[1]), cpus=2)
machine.open(lambda _text, _seconds: None)
try:
    frames = machine.frames(0.3)
    next(frames)
    machine.load("fair", compile_bpf(Path(sys.argv[2])), {}, lease_s=2.0)
    print("loaded", flush=True)
    try:
        while True:
            machine.renew()
            time.sleep(0.2)
    except LeaseEnded as error:
        told = error.message
    texts = [event.text for _, frame in zip(range(8), frames) for event in frame.events]
    print(json.dumps({"told": told, "runs": machine.scheduler().name, "texts": texts}), flush=True)
finally:
    machine.close()
"""

KILLED = """
import json, os, signal, socket, struct, sys, time
sys.path.insert(0, "/schedtui")
from pathlib import Path
from schedtui.backend.helper.client import HelperClient
from schedtui.backend.helper.protocol import Keep, Load
from schedtui.backend.helper.handlers import Handling
from schedtui.backend.helper.server import Server
from schedtui.backend.helper.session import Limits, SocketChannel
from schedtui.backend.model import MachineInfo
from schedtui.backend.probes.sampler import Samplers

ours, theirs = socket.socketpair()
client = os.fork()
if not client:
    ours.close()
    helper = HelperClient(theirs)
    lease_s = 60.0 if "leased" in sys.argv[2] else None
    helper.call(Load("fair", Path(sys.argv[1]).read_bytes(), {}, lease_s), 60)
    if "kept" in sys.argv[2]:
        helper.call(Keep(), 60)
    os.kill(os.getpid(), signal.SIGKILL)
theirs.close()
info = MachineInfo(kind="host", name="guest", kernel="", sched_ext=True, default_scheduler="EEVDF", can_load=True)
handling = Handling()
handling.server = server = Server(info, Samplers(), handling.lab())
server.add(SocketChannel(ours), Limits())
server.run()
ended = os.waitpid(client, 0)[1]
deadline = time.monotonic() + (0.5 if "kept" in sys.argv[2] else 40)
while server.control.scheduler().name == "fair" and time.monotonic() < deadline:
    time.sleep(0.02)  # the lease's end is another thread's
print(json.dumps({"runs": server.control.scheduler().name, "killed": os.WTERMSIG(ended)}), flush=True)
server.close()
os._exit(0)  # the guest lacks what Python needs to end the server's threads
"""


def is_over(lab: LabMachine) -> bool:
    """A renewal that comes while the helper looks at its scheduler is told nothing: the next one is."""
    try:
        lab.renew()
    except LeaseEnded:
        return True
    return False


def test_a_lease_that_is_renewed_goes_on_and_one_that_is_kept_ends(lab: LabMachine) -> None:
    obj = compile_bpf(FAIR)
    with pytest.raises(BadMessage, match="outside"):
        lab.load("fair", obj, {}, lease_s=0.001)
    with pytest.raises(LeaseEnded):
        lab.renew()

    lab.load("fair", obj, {}, lease_s=3.0)
    for _ in range(10):
        time.sleep(0.4)
        lab.renew()
    assert lab.scheduler().policy == "fair"

    lab.keep()
    time.sleep(4)
    assert lab.scheduler().policy == "fair", "nobody needs to watch it any more"
    assert until(lambda: is_over(lab)), "there is no lease any more"


def test_a_silent_watcher_loses_the_scheduler_and_the_helper_says_so(lab: LabMachine) -> None:
    frames = lab.frames(0.3)
    next(frames)
    lab.load("fair", compile_bpf(FAIR), {}, lease_s=0.5)
    assert until(lambda: lab.scheduler().name == "EEVDF")
    assert "silent" in wait_for_event(frames, "fair was taken away").text
    with pytest.raises(LeaseEnded, match="silent"):
        lab.renew()
    with pytest.raises(LeaseEnded, match="silent"):
        lab.keep()


@pytest.mark.soak
@pytest.mark.matrix
def test_a_watcher_that_is_stopped_for_a_while_finds_its_scheduler_gone() -> None:
    command = [sys.executable, "-c", STALLING, str(kernel_image(DEFAULT)), str(FAIR)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as watcher:
        assert watcher.stdout is not None
        try:
            assert watcher.stdout.readline() == "loaded\n"
            os.kill(watcher.pid, signal.SIGSTOP)
            time.sleep(5)
            os.kill(watcher.pid, signal.SIGCONT)
            told = json.loads(watcher.stdout.readline())
        finally:
            os.kill(watcher.pid, signal.SIGCONT)
            watcher.terminate()
    assert "silent" in told["told"]
    assert told["runs"] == "EEVDF"
    assert any("fair was taken away" in text for text in told["texts"]), told


@pytest.mark.parametrize(("how", "runs"), [("leased", "EEVDF"), ("held", "EEVDF"), ("leased, kept", "fair")])
def test_when_the_client_is_killed_only_what_was_kept_stays(lab: LabMachine, how: str, runs: str) -> None:
    put(lab, "/tmp/fair.bpf.o", compile_bpf(FAIR))
    put(lab, "/tmp/killed.py", KILLED.encode())
    done = lab.run(["python3", "/tmp/killed.py", "/tmp/fair.bpf.o", how], 200)
    told = json.loads(done.output.splitlines()[-1])
    assert told == {"runs": runs, "killed": signal.SIGKILL}, done.output


def put(machine: LabMachine, path: str, content: bytes) -> None:
    """Write a file in the guest."""
    machine.run(["python3", "-c", f"import pathlib; pathlib.Path({path!r}).write_bytes(b'')"], 100)
    for start in range(0, len(content), 30_000):
        piece = content[start : start + 30_000].hex()
        append = f"open({path!r}, 'ab').write(bytes.fromhex({piece!r}))"
        machine.run(["python3", "-c", append], 100)
