"""What schedtui costs on a person's own computer, by section: ``python -m tests.benchmarks.host [SECTION]``.

The guest of a lab stands for the computer. What is emulated there costs about ten times what it costs elsewhere.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import click

from schedtui.backend.breaker import Breaker
from schedtui.backend.deploy import Deployer, compiled
from schedtui.backend.lab import LabMachine
from schedtui.backend.library.catalogue import load_library
from schedtui.backend.model import Deployment, digest_of
from schedtui.backend.store import Store

_WATCHED_S = 60.0
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
    click.echo(
        f"  and {helper:.2f} % of an emulated one in the helper, where it is about {helper / 10:.2f} % elsewhere"
    )


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
    fields = machine.run(["sh", "-c", _HELPER], 30).output.rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


SECTIONS: dict[str, Callable[[], None]] = {"breaker": breaker}


def main(names: list[str]) -> None:
    """Print the numbers of these sections, or of all."""
    for name in names or SECTIONS:
        SECTIONS[name]()


if __name__ == "__main__":
    main(sys.argv[1:])
