"""Records, in the lab, the sessions that snapshot tests play. ``make recordings`` runs it; it takes some minutes.

    python -m tests.recordings.make [NAME]…

A recording is made anew only when the shape of a Frame or the policies have changed enough to matter: the pictures
of every snapshot test change with it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from schedtui.backend.bpf.compiler import compile_bpf
from schedtui.backend.deploy import apply, resolve
from schedtui.backend.lab import LabMachine
from schedtui.backend.library.catalogue import load_library
from schedtui.backend.recording import Recorder

FOLDER = Path(__file__).parent
STALLING = FOLDER.parent / "bpf" / "stall.bpf.c"
FRAMES = 40


def main(names: list[str]) -> None:
    """Make the recordings named, or all."""
    for name in names or RECORDINGS:
        RECORDINGS[name](FOLDER / f"{name}.jsonl.gz")


def idle(file: Path) -> None:
    """Nothing runs but the guest itself."""
    with opened(cpus=4) as machine:
        record(machine, file)


def busy(file: Path) -> None:
    """Every load at once on four CPUs, under the kernel's own scheduler."""
    with opened(cpus=4) as machine:
        start_everything(machine)
        record(machine, file)


def interactive(file: Path) -> None:
    """The same under ``interactive``, applied after a third, so that the change shows."""
    with opened(cpus=4) as machine:
        start_everything(machine)

        def act(number: int) -> None:
            if number == FRAMES // 3:
                apply(machine, resolve(load_library(), "interactive"), say)

        record(machine, file, act)


def thrown_out(file: Path) -> None:
    """A policy that forgets tasks: the kernel's watchdog throws it out."""
    with opened(cpus=2) as machine:
        machine.start_workload("hogs")

        def act(number: int) -> None:
            if number == 5:
                machine.load("stall", compile_bpf(STALLING), {})

        record(machine, file, act)


def many_cpus(file: Path) -> None:
    """64 CPUs and a frame-like load; hogs on each would starve an emulated guest. The boot takes a minute."""
    with opened(cpus=64) as machine:
        machine.start_workload("frames")
        record(machine, file)


RECORDINGS: dict[str, Callable[[Path], None]] = {
    "idle-4": idle,
    "busy-4-eevdf": busy,
    "busy-4-interactive": interactive,
    "thrown-out": thrown_out,
    "busy-64": many_cpus,
}


@contextmanager
def opened(*, cpus: int) -> Iterator[LabMachine]:
    """A fresh lab, closed at the end."""
    machine = LabMachine(cpus=cpus)
    try:
        machine.open(say)
        yield machine
    finally:
        machine.close()


def start_everything(machine: LabMachine) -> None:
    """All loads that there are."""
    for kind in ("hogs", "frames", "forks"):
        machine.start_workload(kind)


def record(machine: LabMachine, file: Path, act: Callable[[int], None] = lambda number: None) -> None:
    """FRAMES frames, one a second; ``act`` is called with each number before its frame is awaited."""
    with Recorder(file, machine.open(say)) as recorder:
        frames = machine.frames(1.0)
        for number in range(FRAMES):
            act(number)
            recorder.add(next(frames))
    print(f"{file.name}: {recorder.frames} frames, {file.stat().st_size >> 10} KB")


def say(stage: str, seconds: float) -> None:
    """Progress for whoever waits."""
    print(f"{seconds:6.1f} s  {stage}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
