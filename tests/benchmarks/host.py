"""What schedtui costs on a person's own computer, by section: ``python -m tests.benchmarks.host [SECTION]``.

The guest of a lab stands for the computer; what the helper costs where nothing is emulated is measured on this one.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import click

from schedtui.backend.bpf.compiler import compile_bpf
from schedtui.backend.breaker import INTERVAL_S, Breaker
from schedtui.backend.deploy import Deployer, compiled
from schedtui.backend.helper import protocol
from schedtui.backend.helper.client import HelperClient, connect
from schedtui.backend.helper.places import Places
from schedtui.backend.lab import LabMachine
from schedtui.backend.library.catalogue import load_library
from schedtui.backend.microvm.image import probe_source
from schedtui.backend.model import Deployment, digest_of
from schedtui.backend.store import Store
from tests.benchmarks import panic
from tests.host.desktop import DesktopGuest

_WATCHED_S = 30.0
_STARTED_S = 5.0
_TICKS = 100.0
"""Of /proc's CPU time, in a second."""
_HELPER = "for p in /proc/[0-9]*; do read name < $p/comm; [ $name = schedtui-helper ] && cat $p/stat; done"


def breaker() -> None:
    """The circuit breaker of a kept scheduler: its share of a core here, and what it adds to the helper's."""
    machine = LabMachine(cpus=2)
    try:
        machine.open(lambda _text, _seconds: None)
        machine.start_workload("hogs")
        with tempfile.TemporaryDirectory() as folder:
            store = Store(Path(folder) / "history.sqlite")
            deployer = Deployer(machine, store)
            kept = _kept(deployer, store, machine)
            machine.sample()  # the probe is loaded now, and is not the breaker's cost
            idle = _cost(machine, lambda: time.sleep(_WATCHED_S))
            it = Breaker(deployer, kept)
            it.start()
            watching = _cost(machine, lambda: time.sleep(_WATCHED_S))
            it.stop()
            assert deployer.current(kept).state == "kept", deployer.current(kept).reason
    finally:
        machine.close()
    own, helper = (100 * (with_it - without) for with_it, without in zip(watching, idle, strict=True))
    click.echo(f"circuit breaker, a sample a second: {own:.2f} % of a core (≤ 0.2 %), over {_WATCHED_S:.0f} s")
    click.echo(f"  and {helper:.2f} % of an emulated one in the helper (what that is elsewhere: section idle)")


def helper() -> None:
    """The helper's memory, and what it costs while nobody asks anything of it."""
    with DesktopGuest() as desktop:
        pid = desktop.start_helper("--allow", "1000").pid
        desktop.schedtui("status").good()
        _tell_memory(desktop, pid, "just started")
        _tell_idle(desktop, pid, "nobody connected")
        desktop.user_python("from schedtui.backend.host import HostMachine; machine = HostMachine()")
        desktop.user_python("machine.open(print); frames = machine.frames(0.5); [next(frames) for _ in range(6)]; 0")
        _tell_memory(desktop, pid, "a client watches, the probe is loaded")
        desktop.user_python("machine.close()")
        desktop.start_verifier()
        desktop.schedtui("apply", "fair", "--for", "1s", timeout_s=300).good()
        _tell_memory(desktop, pid, "a policy was proven, loaded and taken away")
        _tell_idle(desktop, pid, "the same, nobody connected")


def idle() -> None:
    """What the helper costs this computer, which is not emulated: asked for nothing, and for a sample a second."""
    sched_ext = "with" if Path("/sys/kernel/sched_ext").is_dir() else "without"
    click.echo(f"helper, on this computer, {sched_ext} sched_ext, over {_WATCHED_S:.0f} s each:")
    with tempfile.TemporaryDirectory() as folder:
        probe = Places.given(Path(folder)).probe
        probe.parent.mkdir(mode=0o700, parents=True)
        probe.write_bytes(compile_bpf(probe_source()))
        probe.chmod(0o600)
        module = [sys.executable, "-I", "-m", "schedtui.backend.helper.daemon", "--root", folder]
        with subprocess.Popen(module, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as it:
            time.sleep(_STARTED_S)
            alone = _percent_of(it.pid, lambda: time.sleep(_WATCHED_S))
            click.echo(f"  nobody connected: {alone:.3f} % of a core (≤ 0.1 %)")
            socket = Places.given(Path(folder)).socket
            with contextlib.closing(connect(socket, owner=os.geteuid())) as client:
                client.hello()
                source = _sampled(client, 2)
                asked = _percent_of(it.pid, lambda: _sampled(client, _WATCHED_S))
            click.echo(f"  a sample a second, as a circuit breaker asks for ({source}): {asked - alone:.3f} % more")
            it.terminate()


def _sampled(client: HelperClient, seconds: float) -> str:
    """Ask for a sample every second; where the latencies came from."""
    over = time.monotonic() + seconds
    source = ""
    while time.monotonic() < over:
        reply = client.call(protocol.TakeSample(), 10)
        assert reply.sample is not None
        source = reply.sample.source
        time.sleep(INTERVAL_S)
    return source


def _percent_of(pid: int, act: Callable[[], object]) -> float:
    """CPU time of all threads of a process of this computer while ``act`` goes on, in percent of a core."""
    began, before = time.monotonic(), _used_here_s(pid)
    act()
    return 100 * (_used_here_s(pid) - before) / (time.monotonic() - began)


def _used_here_s(pid: int) -> float:
    """CPU time of all threads of a process of this computer, in seconds, to the nanosecond."""
    each = Path(f"/proc/{pid}/task").glob("*/schedstat")
    return sum(int(path.read_text().split()[0]) for path in each) / 1e9


def _tell_memory(desktop: DesktopGuest, pid: int, when: str) -> None:
    fields = dict(each.split(":", 1) for each in desktop.read(f"/proc/{pid}/status").decode().splitlines())
    now, most = (int(fields[name].split()[0]) / 1024 for name in ("VmRSS", "VmHWM"))
    click.echo(f"helper, {when}: {now:.1f} MB (≤ 25 MB), {most:.1f} MB at most so far")


def _tell_idle(desktop: DesktopGuest, pid: int, when: str) -> None:
    before = _used_s(desktop.read(f"/proc/{pid}/stat"))
    time.sleep(_WATCHED_S)
    percent = 100 * (_used_s(desktop.read(f"/proc/{pid}/stat")) - before) / _WATCHED_S
    click.echo(f"helper, {when}: {percent:.2f} % of an emulated core (elsewhere: section idle)")


def _used_s(stat: bytes) -> float:
    fields = stat.rpartition(b")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def _kept(deployer: Deployer, store: Store, machine: LabMachine) -> Deployment:
    """Kept before, and loaded again as it was."""
    policy = load_library().policies["fair"]
    obj, now = compiled(policy), time.time()
    before = Deployment(
        id=0,
        state="kept",
        reason="",
        policy=policy.name,
        settings={},
        machine="lab",
        kernel=machine.open(lambda _text, _seconds: None).kernel,
        asked_by="person",
        digest=digest_of(obj),
        created=now,
        changed=now,
    )
    return deployer.resume(store.add_deployment(before), obj)


def _cost(machine: LabMachine, act: Callable[[], None]) -> tuple[float, float]:
    """CPU seconds a second, of this process and of the guest's helper, while ``act`` goes on."""
    began, own, helper = time.monotonic(), time.process_time(), _helper_s(machine)
    act()
    seconds = time.monotonic() - began
    return (time.process_time() - own) / seconds, (_helper_s(machine) - helper) / seconds


def _helper_s(machine: LabMachine) -> float:
    return _used_s(machine.run(["sh", "-c", _HELPER], 30).output.encode())


SECTIONS: dict[str, Callable[[], None]] = {"helper": helper, "idle": idle, "breaker": breaker, "panic": panic.main}


def main(names: list[str]) -> None:
    """Print the numbers of these sections, or of all."""
    for name in names or SECTIONS:
        SECTIONS[name]()


if __name__ == "__main__":
    main(sys.argv[1:])
