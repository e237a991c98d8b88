"""How long panic takes: from the message, or the key, that reaches the helper to the kernel's ``disabled``.

In a guest with two emulated CPUs, the helper's own parts run in a process of the real-time class, beside 200 busy
processes of the normal one, under a policy that is fair and under one that forgets every task. Whoever asks, and
whoever takes the time, is in the real-time class too: what is measured begins when the kernel has the message or key.
"""

from __future__ import annotations

import base64
import json
import threading
import time
from typing import Any

import click

from schedtui.backend.bpf.compiler import compile_bpf
from schedtui.backend.lab import LabMachine
from schedtui.paths import shipped
from tests.conftest import SOURCES, kernel_image
from tests.lab.keyboard import plug_in, press

HOGS = 200
GOAL_MS = 300.0
HEARTBEAT_GOAL_S = 1.5
_KEY_EACH_S = 4.0

_IN_THE_GUEST = """
import json, os, select, socket, struct, sys, threading, time
sys.path.insert(0, "/schedtui")
from pathlib import Path
from schedtui.backend.errors import SchedtuiError
from schedtui.backend.helper import heartbeat, protocol
from schedtui.backend.helper.control import become_realtime
from schedtui.backend.helper.handlers import Handling
from schedtui.backend.helper.hotkey import EVENT, F12, HotKey
from schedtui.backend.helper.memory import hold_memory
from schedtui.backend.helper.server import Server
from schedtui.backend.helper.session import Limits, SocketChannel
from schedtui.backend.model import MachineInfo
from schedtui.backend.probes.sampler import Samplers

how, policy, times, hogs = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
STATE = "/sys/kernel/sched_ext/state"

def state():
    with open(STATE) as file:
        return file.read().strip()

def until_disabled():
    while state() != "disabled":
        time.sleep(0.0005)

def ask(link, told):
    become_realtime()
    message = protocol.encode(protocol.Request(1, protocol.DoPanic()))
    while os.read(told[0], 1):
        began = time.monotonic()
        link.sendall(message)
        until_disabled()
        link.recv(1 << 16)
        os.write(told[1], struct.pack("d", time.monotonic() - began))

def watch_key(told):
    become_realtime()
    keyboard = os.open("/dev/input/event0", os.O_RDONLY)
    while os.read(told[0], 1):
        while select.select([keyboard], [], [], 0)[0]:  # pressed before
            os.read(keyboard, EVENT.size * 64)
        while True:
            seconds, micros, kind, code, value = EVENT.unpack(os.read(keyboard, EVENT.size))
            if (kind, code, value) == (1, F12, 1):
                break
        until_disabled()
        os.write(told[1], struct.pack("d", time.time() - seconds - micros / 1e6))

pids = []
def apart(work, *arguments):
    pid = os.fork()
    if not pid:
        try:
            work(*arguments)
        finally:
            os._exit(0)
    pids.append(pid)

def hog():
    while True:
        pass

become_realtime()  # before them: otherwise it takes minutes to start the last ones
for _ in range(hogs):
    apart(hog)
ours, theirs = socket.socketpair()
go, answer = os.pipe(), os.pipe()
if how == "key":
    apart(watch_key, (go[0], answer[1]))
elif how == "message":
    apart(ask, theirs, (go[0], answer[1]))
hold_memory()
info = MachineInfo(kind="host", name="guest", kernel="", sched_ext=True, default_scheduler="EEVDF", can_load=True)
handling = Handling()
server = Server(info, Samplers(None), handling.lab(), watch_heartbeat=how == "heartbeat")
handling.server = server
control = server.control
server.add(SocketChannel(ours), Limits())
threading.Thread(target=server.run, daemon=True).start()
if how == "key":
    key = HotKey(control.panic, Path("/tmp/hot-key"))
    key.turn(on=True)
    while not key.keyboards:
        time.sleep(0.05)
obj = Path("/tmp/policy.o").read_bytes()
found = []
while len(found) < times:
    try:
        control.load("policy", obj, {}, control.panics)
    except SchedtuiError as error:  # a key came while it was being loaded
        control.unlatch()
        continue
    began = time.monotonic()
    if how == "heartbeat":
        until_disabled()
        found.append(time.monotonic() - began)
    else:
        time.sleep(0.3)
        if state() != "enabled":
            control.unlatch()
            continue
        os.write(go[1], b".")
        (taken,) = struct.unpack("d", os.read(answer[0], 8))
        found.append(taken)
    control.unlatch()
    time.sleep(0.2)
print(json.dumps(found), flush=True)
for each in pids:
    os.kill(each, 9)
os._exit(0)
"""


def main(times: int = 30) -> None:
    """Print panic's numbers."""
    machine = LabMachine(kernel=kernel_image("6.18"), cpus=2)
    try:
        machine.open(lambda _text, _seconds: None)
        plug_in(machine)
        fair = compile_bpf(shipped("library") / "fair" / "fair.bpf.c")
        starves = compile_bpf(SOURCES / "starves.bpf.c")
        for name, obj in (("a fair policy", fair), ("a starving policy", starves)):
            told = f"beside {HOGS} hogs, {name}"
            _report(f"panic by a message {told}", measured(machine, "message", obj, times))
            _report(f"panic by the hot key {told}", measured(machine, "key", obj, max(10, times // 4)))
        seconds = measured(machine, "heartbeat", starves, max(10, times // 10), hogs=0)
        click.echo(
            f"the helper's own revert of a starving policy: {max(seconds):.2f} s at most of {len(seconds)}, "
            f"{min(seconds):.2f} at least (≤ {HEARTBEAT_GOAL_S} s)"
        )
    finally:
        machine.close()


def measured(machine: LabMachine, how: str, obj: bytes, times: int, hogs: int = HOGS) -> list[float]:
    """Seconds of so many tries. ``how``: message, key or heartbeat."""
    write = "import base64,sys; open('/tmp/policy.o','wb').write(base64.b64decode(sys.argv[1]))"
    machine.run(["python3", "-c", write, base64.b64encode(obj).decode()], 120)
    over = threading.Event()
    keys = threading.Thread(target=_press_keys, args=(machine, over))
    if how == "key":
        keys.start()
    try:
        command = ["python3", "-c", _IN_THE_GUEST, how, "policy", str(times), str(hogs)]
        ended = machine.run(command, 60 + 15 * times)
    finally:
        over.set()
        if how == "key":
            keys.join()
    if ended.exit_code:
        raise click.ClickException(ended.output)
    found: list[float] = json.loads(ended.output.splitlines()[-1])
    return found


def _press_keys(machine: LabMachine, over: threading.Event) -> None:
    while not over.wait(_KEY_EACH_S):
        press(machine, "meta_l", "shift", "f12")


def _report(what: str, seconds: list[float]) -> None:
    found: list[Any] = sorted(1000 * each for each in seconds)
    p99 = found[min(len(found) - 1, round(0.99 * len(found)) - 1 if len(found) >= 100 else len(found) - 1)]
    middle = found[len(found) // 2]
    rest = f"median {middle:.0f}, longest {found[-1]:.0f}, n={len(found)}"
    click.echo(f"{what}: p99 {p99:.0f} ms, {rest} (≤ {GOAL_MS:.0f})")


if __name__ == "__main__":
    began = time.monotonic()
    main()
    click.echo(f"{time.monotonic() - began:.0f} s")
