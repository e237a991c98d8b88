"""A Machine is a place where tasks are scheduled: this computer, the lab, or a recording.

The screens, the commands and (later) the agent know only this protocol. Its methods block and may be
called from any thread; ``panic`` never waits for another call. Every method but ``close`` raises a
``SchedtuiError`` when it cannot do what was asked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

from schedtui.backend.errors import UnknownName
from schedtui.backend.model import Completed, Frame, Loadable, MachineInfo, Panic, Report, Sample, Scheduler, Setting

Progress = Callable[[str, float], None]
"""Called with a stage in plain words and the seconds since opening began."""


class Machine(Protocol):
    """What can be seen of a machine, and done to it."""

    def open(self, progress: Progress) -> MachineInfo:
        """Make it ready; reports stages. Calling it again returns the same information."""
        ...

    def frames(self, interval_s: float = 1.0) -> Iterator[Frame]:
        """Samples, one for each interval, until the machine is closed. One consumer at a time."""
        ...

    def scheduler(self) -> Scheduler:
        """Which scheduler runs, read from the kernel now."""
        ...

    def sample(self) -> Sample:
        """The machine's counters now; cheap enough for ten times a second, beside ``frames`` and each other."""
        ...

    def focus(self, names: tuple[str, ...]) -> None:
        """Count the waits of processes of these names, and of their descendants, apart from now on; () ends it."""
        ...

    def certify(
        self,
        name: str,
        obj: Loadable,
        settings: dict[str, Setting],
        progress: Progress,
        *,
        quick: bool = False,
        generated: bool = False,
    ) -> Report | None:
        """Have the machine itself prove exactly this, so that ``load`` takes it, and tell what it found.

        None where nothing is asked for: in the lab, and where nothing can be loaded. ``quick`` is a wish;
        ``generated`` says that a model or a person wrote it, so that a person is asked. What was proven before is
        found at once. Raises NotPermitted when they did not permit it, and what kept it from being proven.
        """
        ...

    def load(
        self, name: str, obj: Loadable, settings: dict[str, Setting], *, lease_s: float | None = None
    ) -> Scheduler:
        """Load a compiled policy called ``name``, or start a program, in place of what runs.

        Returns what the kernel reports then.

        With ``lease_s`` (0.2 to 600) it is taken away again when ``renew`` was not called for so many seconds,
        or the connection ends: whoever watches it may die. ``keep`` ends the lease. Without one, what nobody kept
        goes with the connection all the same.
        """
        ...

    def renew(self, lease_s: float | None = None) -> None:
        """Whoever watches is still there; sets the lease's length anew when it is given.

        Raises LeaseEnded when what was loaded under a lease does not run any more.
        """
        ...

    def keep(self) -> Scheduler:
        """What runs under a lease stays. Raises LeaseEnded when it does not run any more."""
        ...

    def output(self) -> str:
        """What the scheduler's program printed last, up to 64 KiB; empty for a scheduler that is none."""
        ...

    def tune(self, settings: dict[str, Setting]) -> Scheduler:
        """Change live tunables of the policy that runs, without loading it again; all of them, or none."""
        ...

    def unload(self) -> Scheduler:
        """Give the machine back to the kernel's own scheduler."""
        ...

    def panic(self) -> Panic:
        """At once, whatever else is going on: the kernel's own scheduler, and nothing loaded until ``unlatch``."""
        ...

    def unlatch(self) -> None:
        """A person allows schedulers to be loaded again after a panic."""
        ...

    def start_workload(self, kind: str) -> None:
        """Start one of ``workloads.KINDS`` on the machine, or add another of it."""
        ...

    def stop_workloads(self) -> None:
        """End everything that ``start_workload`` started."""
        ...

    def run(self, command: list[str], timeout_s: float) -> Completed:
        """Run a command to its end, in the machine."""
        ...

    def close(self) -> None:
        """Let go of it and of everything it started. Never raises; may be called twice."""
        ...


def open_machine(spec: str, *, kernel: Path | None = None, cpus: int | None = None, compiler: bool = False) -> Machine:
    """The machine that ``spec`` names: ``host``, ``lab`` or ``replay:FILE``. It still wants ``open``.

    ``kernel`` (an image), ``cpus`` and ``compiler`` (see LabMachine) are for the lab only. Imports only what that
    machine needs, because start-up time is a budget.
    """
    kind, _, rest = spec.partition(":")
    if kind == "host" and not rest:
        from schedtui.backend.host import HostMachine

        return HostMachine()
    if kind == "lab" and not rest:
        from schedtui.backend.lab import LabMachine

        return LabMachine(kernel=kernel, cpus=cpus, compiler=compiler)
    if kind == "replay" and rest:
        from schedtui.backend.replay import ReplayMachine

        return ReplayMachine(Path(rest))
    raise UnknownName(f"There is no machine called “{spec}”.", "Use host, lab or replay:FILE.")
