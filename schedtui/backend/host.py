"""This computer: everything about it can be watched by anybody; what changes it goes through the privileged helper.

Where there is no helper, or none that serves this user, it is watched only, and ``MachineInfo.reason`` says what to do.
The helper may come and go meanwhile. What is kept outlives this program; what is on trial goes when it ends. Panic asks
the helper first, then the kernel directly (sysrq S), which needs root.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec.structs import replace

from schedtui.backend.errors import HelperGone, NotPermitted, SchedtuiError
from schedtui.backend.helper import protocol
from schedtui.backend.helper_link import HelperLink
from schedtui.backend.lease import LEASE_S, LeaseKeeper
from schedtui.backend.machine import Progress
from schedtui.backend.model import (
    Completed,
    Event,
    Frame,
    Loadable,
    MachineInfo,
    Panic,
    ProbeResult,
    Program,
    Report,
    Sample,
    Scheduler,
    Setting,
)
from schedtui.backend.probes.counters import RunDelayCounters
from schedtui.backend.probes.owner import OwnerProbe
from schedtui.backend.probes.sampler import Sampler
from schedtui.backend.probes.scheduler import default_scheduler, describe_change, read_scheduler
from schedtui.backend.probes.topology import read_memory_mib, read_topology

if TYPE_CHECKING:
    from schedtui.backend.helper.client import HelperClient
    from schedtui.backend.helper.protocol import Body, Reply

ROOT = Path("/")
FIRST_FRAME_S = 0.15
"""The first frame comes early, so that a screen is alive at once."""
PANIC_TIMEOUT_S = 5.0
PANIC_PATIENCE_S = 3.0
"""For the helper's answer to a panic, before the kernel itself is asked."""
LOAD_LIMIT_S = 90.0
START_LIMIT_S = 150.0
"""For a program to become the scheduler: longer than the helper waits."""
PROBE_LIMIT_S = 120.0
_SHORTEST_S, _LONGEST_S = 0.1, 60.0
"""Between the helper's frames."""
ASK_THE_KERNEL = "echo S | sudo tee /proc/sysrq-trigger"


class HostMachine:
    """See machine.Machine."""

    def __init__(self, root: Path = ROOT) -> None:
        self._root = root
        self._info: MachineInfo | None = None
        self._closed = threading.Event()
        self._sampling = threading.Lock()
        self._sampler: Sampler | None = None
        self._counting = threading.Lock()
        self._counters: RunDelayCounters | None = None
        self._seen: Scheduler | None = None
        self._owners = OwnerProbe(root)
        self._link = HelperLink(root)
        self._lease = LeaseKeeper(lambda: self._ask(protocol.Renew(), 10))
        self._projects: dict[tuple[str, ...], Path] = {}
        """Where commands are run, by command."""

    def open(self, progress: Progress) -> MachineInfo:
        """Reads what does not change, and takes the baseline of the first frame.

        Called again, it returns the same, unless a helper has come or gone meanwhile.
        """
        if self._info is None:
            began = time.monotonic()
            progress("Looking at this computer", 0.0)
            with self._sampling:  # two threads may open it at once, and one sampler would be left over
                if self._info is None:
                    self._sampler = Sampler(root=self._root)
                    self._info = self._described()
            progress("Ready", time.monotonic() - began)
        elif self._info.can_load != (self._link.client() is not None and self._info.sched_ext):
            self._info = self._described()
        return self._info

    def frames(self, interval_s: float = 1.0) -> Iterator[Frame]:
        """Samples until ``close``, the helper's while there is one; the first of our own comes after 0.15 s."""
        wait_s = min(FIRST_FRAME_S, interval_s)
        due = time.monotonic()
        lost: Event | None = None
        while not self._closed.is_set():
            client = self._link.client()
            if client:
                with contextlib.suppress(HelperGone):
                    yield from client.frames(min(max(interval_s, _SHORTEST_S), _LONGEST_S))
                if not self._closed.is_set():
                    text = "The helper went away: the kernel is back on its own scheduler, and this computer is watched"
                    lost = Event(time=time.time(), kind="warning", text=text)
                self._seen, wait_s, due = None, min(FIRST_FRAME_S, interval_s), time.monotonic()
                continue
            due = max(due + wait_s, time.monotonic())
            self._closed.wait(due - time.monotonic())
            with self._sampling:
                if self._closed.is_set() or not self._sampler:
                    return
                frame = self._with_events(self._sampler.sample())
            yield replace(frame, events=(lost, *frame.events)) if lost else frame
            wait_s, lost = interval_s, None

    def scheduler(self) -> Scheduler:
        """Read from the kernel now; by the helper, which knows more, while there is one."""
        with contextlib.suppress(HelperGone):
            if client := self._link.client():
                return _scheduler_of(client.call(protocol.GetScheduler()))
        return self._with_owner(read_scheduler(self._root))

    def sample(self) -> Sample:
        """The helper's; without one, from the kernel's run delay of each task, which is a lower bound of latency.

        That tells nothing of what waits right now, and counting begins with the first call. Without privileges there is
        no better source.
        """
        if client := self._link.client():
            reply = client.call(protocol.TakeSample(), 10)
            assert reply.sample is not None
            return reply.sample
        counts = self._ready_counters().read()
        return Sample(
            time_s=time.monotonic(),
            scheduler=self.scheduler(),
            wakeups=counts.wakeups,
            focus_wakeups=counts.focus_wakeups,
            source=counts.source,
        )

    def focus(self, names: tuple[str, ...]) -> None:
        """See machine.Machine."""
        if client := self._link.client():
            client.call(protocol.Focus(names))
        else:
            self._ready_counters().focus(names)

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
        """See machine.Machine. None without a helper: nothing can be loaded then."""
        client = self._link.client()
        if client is None:
            return None
        from schedtui.backend.certifying import ask_helper

        return ask_helper(client, name, obj, settings, progress, quick=quick, generated=generated)

    def load(
        self, name: str, obj: Loadable, settings: dict[str, Setting], *, lease_s: float | None = None
    ) -> Scheduler:
        """See machine.Machine. What ``certify`` has not passed here is refused (NotProven).

        The helper's own lease is LEASE_S, and is renewed from here as long as ``renew`` is called within ``lease_s``.
        """
        if lease_s is None:
            self._lease.end()
            return self._load(name, obj, settings, None)
        self._lease.begin(lease_s)
        try:
            loaded = self._load(name, obj, settings, min(lease_s, LEASE_S))
        except BaseException:
            self._lease.end()
            raise
        self._lease.seen()
        return loaded

    def _load(self, name: str, obj: Loadable, settings: dict[str, Setting], lease_s: float | None) -> Scheduler:
        if isinstance(obj, Program):
            wanted = protocol.LoadProgram(
                name=name, goal=obj.goal, settings=settings, digest=obj.digest, lease_s=lease_s
            )
            return _scheduler_of(self._ask(wanted, START_LIMIT_S))
        from schedtui.backend.helper import jobs

        client = self._helper()
        memory = jobs.sealed(obj)
        try:
            asked = protocol.Load(name, settings=settings, lease_s=lease_s, sealed=True)
            return _scheduler_of(client.call(asked, LOAD_LIMIT_S, fds=(memory,)))
        finally:
            os.close(memory)

    def renew(self, lease_s: float | None = None) -> None:
        """See machine.Machine."""
        self._lease.seen(lease_s)
        self._ask(protocol.Renew(None if lease_s is None else min(lease_s, LEASE_S)), 10)

    def keep(self) -> Scheduler:
        """See machine.Machine."""
        kept = _scheduler_of(self._ask(protocol.Keep()))
        self._lease.end()
        return kept

    def output(self) -> str:
        """See machine.Machine; nothing, without the helper."""
        client = self._link.client()
        return (client.call(protocol.GetOutput()).output or "") if client else ""

    def tune(self, settings: dict[str, Setting]) -> Scheduler:
        """See machine.Machine."""
        return _scheduler_of(self._ask(protocol.Tune(settings)))

    def unload(self) -> Scheduler:
        """Refused while a scheduler runs that others loaded; without one there is nothing to do."""
        self._lease.end()
        client = self._link.client()
        scheduler = _scheduler_of(client.call(protocol.Unload())) if client else self.scheduler()
        if scheduler.sched_ext in ("unsupported", "disabled"):
            return scheduler
        raise NotPermitted(
            f"{scheduler.name} was loaded by {scheduler.owner}, not by schedtui.",
            f"Stop it where it was started, or tell the kernel: {ASK_THE_KERNEL}",
        )

    def panic(self) -> Panic:
        """Through the helper, which latches; when it does not answer, tell the kernel to throw out whatever runs.

        Raises NotPermitted, with the one command that does it, where there is neither a helper nor the right.
        """
        began = time.monotonic()
        answered = self._panic_by_helper()
        if answered and answered.scheduler.sched_ext in ("unsupported", "disabled"):
            return answered
        before = read_scheduler(self._root)
        if before.sched_ext in ("unsupported", "disabled"):
            return Panic(scheduler=before, before=before.name, path="nothing-to-do", took_ms=_ms_since(began))
        try:
            (self._root / "proc/sysrq-trigger").write_text("S")
        except OSError as error:
            alone = "The helper could not end it, and only" if answered else "No helper answers, and only"
            raise NotPermitted(
                f"{before.name} still runs. {alone} root may tell the kernel to throw it out ({error.strerror}).",
                f"This command does it: {ASK_THE_KERNEL}",
            ) from error
        after = self._wait_until_disabled(began)
        return Panic(scheduler=after, before=before.name, path="sysrq", took_ms=_ms_since(began))

    def _panic_by_helper(self) -> Panic | None:
        """What it answers; None when there is none, or it does not within its time."""
        with contextlib.suppress(SchedtuiError, OSError), self._link.for_panic() as client:
            return client.call(protocol.DoPanic(), PANIC_PATIENCE_S).panic
        return None

    def unlatch(self) -> None:
        """See machine.Machine; nothing is latched where nothing is loaded."""
        if client := self._link.client():
            client.call(protocol.Unlatch())

    def start_workload(self, kind: str) -> None:
        """Refused: this computer has its own work."""
        raise NotPermitted("Loads are not started on your own computer.", "Open the lab (m) and start one there.")

    def stop_workloads(self) -> None:
        """None were started."""

    def probe(self, name: str, pid: int, cgroup: str, seconds: float, progress: Progress) -> ProbeResult:
        """See ``dive``. Through the helper; without it, root looks itself."""
        if client := self._link.client():
            reply = client.call(protocol.RunProbe(name, pid, cgroup, seconds), seconds + PROBE_LIMIT_S)
            assert reply.probe is not None
            return reply.probe
        if os.geteuid() != 0:
            raise NotPermitted(
                "Looking at every switch of this computer needs the privileged helper.",
                "Set it up: sudo schedtui setup · or look once, as root: sudo schedtui probe · or in the lab.",
            )
        from schedtui.backend.helper.deep import run_probe

        progress(f"bcc: compiling, then looking for {seconds:g} s", 0.0)
        return run_probe(name, pid, cgroup, seconds)

    def run(self, command: list[str], timeout_s: float) -> Completed:
        """As the user who runs schedtui: it needs no privilege, and the helper runs no command."""
        from schedtui.backend.helper.commands import run_command

        folder = self._projects.get(tuple(command))
        if folder is None:
            return run_command(command, timeout_s)
        done = run_command(["env", "-C", str(folder), *command], timeout_s)
        return replace(done, command=tuple(command))

    def carry(self, folder: Path, command: tuple[str, ...]) -> None:
        """See ``Carrying``: it is run in the folder itself."""
        self._projects[command] = folder

    def close(self) -> None:
        """Ends ``frames`` and whatever the probes hold."""
        self._closed.set()
        self._lease.end()
        self._link.close()
        with self._sampling:
            if self._sampler:
                self._sampler.close()
                self._sampler = None

    def _ready_counters(self) -> RunDelayCounters:
        with self._counting:
            if self._counters is None:
                self._counters = RunDelayCounters(self._root)
            return self._counters

    def _helper(self) -> HelperClient:
        client = self._link.client()
        if client is None:
            info = self._info or self._described()
            raise NotPermitted(info.reason, "Open the lab (m, or --machine lab): a real kernel with sched_ext.")
        return client

    def _ask(self, body: Body, timeout_s: float = 30) -> Reply:
        return self._helper().call(body, timeout_s)

    def _described(self) -> MachineInfo:
        client = self._link.client()
        return _describe(self._root, self._link.info if client else None, self._link.problem)

    def _with_owner(self, scheduler: Scheduler) -> Scheduler:
        """Names who started a scheduler."""
        if scheduler.owner == "kernel":
            return scheduler
        return replace(scheduler, owner=self._owners.owner(scheduler).words)

    def _with_events(self, frame: Frame) -> Frame:
        scheduler = self._with_owner(frame.scheduler)
        event = describe_change(self._seen, scheduler, frame.time) if self._seen else None
        if event:
            scheduler = replace(scheduler, since=frame.time)
        elif self._seen:
            scheduler = replace(scheduler, since=self._seen.since)
        self._seen = scheduler
        events: tuple[Event, ...] = (event,) if event else ()
        return replace(frame, scheduler=scheduler, events=events)

    def _wait_until_disabled(self, began: float) -> Scheduler:
        after = read_scheduler(self._root)
        while after.sched_ext != "disabled":
            if time.monotonic() - began > PANIC_TIMEOUT_S:
                raise NotPermitted(
                    f"The kernel was told to throw {after.name} out and has not done it in {PANIC_TIMEOUT_S:.0f} s.",
                    "End the program that loaded it; the kernel takes over when it dies.",
                )
            time.sleep(0.005)
            after = read_scheduler(self._root)
        return after


def _scheduler_of(reply: Reply) -> Scheduler:
    assert reply.scheduler is not None
    return reply.scheduler


def _describe(root: Path, helper: MachineInfo | None, problem: SchedtuiError | None) -> MachineInfo:
    sched_ext = read_scheduler(root).sched_ext != "unsupported"
    can_load = sched_ext and helper is not None
    return MachineInfo(
        kind="host",
        name=os.uname().nodename,
        kernel=os.uname().release,
        sched_ext=sched_ext,
        default_scheduler=default_scheduler(root),
        can_load=can_load,
        reason="" if can_load else _why_not(sched_ext, os.uname().release, problem),
        cpus=read_topology(root),
        memory_mib=read_memory_mib(root),
        kernel_id=helper.kernel_id if helper else None,
    )


def _why_not(sched_ext: bool, release: str, problem: SchedtuiError | None) -> str:
    if not sched_ext:
        return (
            f"This kernel ({release}) was built without sched_ext, so no other scheduler can be loaded on it. "
            "The lab can."
        )
    if problem:
        return f"{problem.message} {problem.remedy}".rstrip() + " The lab can load everything."
    from schedtui.backend.setup.sudo import program

    return (
        f"Loading on this computer needs the privileged helper: sudo {program()} setup (schedtui doctor says what that "
        "changes). The lab can load everything."
    )


def _ms_since(began: float) -> float:
    return (time.monotonic() - began) * 1000
