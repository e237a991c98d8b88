"""The lab: a Machine that is a micro-VM with a real sched_ext kernel. Needs QEMU; no root, no KVM."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from schedtui import paths
from schedtui.backend.bpf.compiler import compile_bpf
from schedtui.backend.errors import HelperGone, Interrupted, LabFailed, SchedtuiError, UnknownName
from schedtui.backend.helper import protocol
from schedtui.backend.helper.protocol import Body, Reply
from schedtui.backend.machine import Progress
from schedtui.backend.microvm.deep_image import MEMORY_MIB as DEEP_MEMORY_MIB
from schedtui.backend.microvm.deep_image import with_bcc
from schedtui.backend.microvm.guest import Guest
from schedtui.backend.microvm.image import plan_image, probe_source
from schedtui.backend.microvm.kernels import find_kernel
from schedtui.backend.microvm.snapshot import Shape, Snapshots
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
from schedtui.backend.probes.deep import LIMIT_S as PROBE_LIMIT_S
from schedtui.backend.provision import find_qemu

if TYPE_CHECKING:
    from schedtui.backend.microvm.project import CarriedProject

MEMORY_MIB = 768
_MAX_CPUS = 256
_PANIC_PATIENCE_S = 3.0
_READ_BACK_S = 12.0
_START_LIMIT_S = 150.0
"""For a program to become the scheduler: longer than its helper waits."""


def default_cpus() -> int:
    """Virtual CPUs of a lab: as many as this computer has, from 2 to 4."""
    return max(2, min(4, os.cpu_count() or 2))


class LabMachine:
    """Each has a guest of its own, which ends with it.

    Its CPUs share one last-level cache, or are spread evenly over ``sockets`` with one each.
    """

    def __init__(
        self,
        *,
        kernel: Path | None = None,
        cpus: int | None = None,
        sockets: int = 1,
        deep: bool = False,
        compiler: bool = False,
    ) -> None:
        """``deep``, ``compiler``: a larger guest, with bcc, or with this computer's C compiler and make in it.

        Either takes half a minute to build the first time.
        """
        self._kernel = kernel
        self._cpus = cpus or default_cpus()
        if not 1 <= self._cpus <= _MAX_CPUS:
            raise UnknownName(f"A lab has 1 to {_MAX_CPUS} CPUs, not {self._cpus}.")
        if sockets < 1 or self._cpus % sockets:
            raise UnknownName(f"{self._cpus} CPUs cannot be spread evenly over {sockets} sockets.")
        self._sockets = sockets
        self._deep = deep
        self._compiler = compiler
        self._project: CarriedProject | None = None
        self._loaded: tuple[str, Loadable, dict[str, Setting]] | None = None
        self._workloads: list[str] = []
        self._like: LabMachine | None = None
        """Another guest that is like this one, while it is looked at in its place."""
        """What was last loaded and started, for a guest that must be like this one."""
        self._guest: Guest | None = None
        self._carried: dict[str, str] = {}
        """Programs that are in the guest: where each lies, by the SHA-256 of its bytes."""
        self._info: MachineInfo | None = None
        self._note: Event | None = None
        self._opening = threading.Lock()
        self._closed = False

    def open(self, progress: Progress) -> MachineInfo:
        """Restore a guest, building it the first time: kernel, guest image, boot, snapshot."""
        with self._opening:
            if self._info:
                return self._info
            began = time.monotonic()

            def stage(text: str, _since: float) -> None:
                if self._closed:
                    raise Interrupted("The lab was closed while it was opening.")
                progress(text, time.monotonic() - began)

            qemu = find_qemu()
            stage("kernel: looking for one with sched_ext", 0)
            kernel = find_kernel(self._kernel, stage)
            plan, memory_mib = plan_image(compile_bpf(probe_source())), MEMORY_MIB
            if self._compiler:
                from schedtui.backend.microvm.compiler_image import MEMORY_MIB as BUILD_MEMORY_MIB
                from schedtui.backend.microvm.compiler_image import with_compiler

                plan, memory_mib = with_compiler(plan), BUILD_MEMORY_MIB
            if self._deep:
                plan, memory_mib = with_bcc(plan), DEEP_MEMORY_MIB
            version = ".".join(map(str, qemu.version))
            shape = Shape(qemu.path, version, kernel.image, self._cpus, memory_mib, plan, self._sockets)
            prepared = paths.prepared_dir()
            snapshots = Snapshots(paths.cache_dir() / "lab", prepared / "lab" if prepared else None)
            guest, hello, mended = snapshots.open(shape, stage)
            self._guest = guest
            if self._closed or hello.info is None:
                self.close()
                raise Interrupted("The lab was closed while it was opening.")
            if mended:
                self._note = Event(time=time.time(), kind="warning", text=mended)
            accelerated = "KVM" if guest.qemu.config.accelerator == "kvm" else "emulated"
            self._info = msgspec.structs.replace(hello.info, note=f"a micro-VM, {accelerated}")
            return self._info

    @property
    def guest(self) -> Guest:
        """The running guest. Raises LabFailed when there is none."""
        if self._guest is None or self._closed:
            raise LabFailed("The lab is not open.", "Press m and choose the lab.")
        return self._guest

    def frames(self, interval_s: float = 1.0) -> Iterator[Frame]:
        """Frames of the guest until it is closed. Raises LabFailed when the guest ends by itself."""
        while not self._closed:
            try:
                for frame in self.guest.client.frames(interval_s):
                    note, self._note = self._note, None
                    yield msgspec.structs.replace(frame, events=(note, *frame.events)) if note else frame
            except HelperGone as error:
                if not self._closed:
                    raise self.guest.lost() from error
            return

    def scheduler(self) -> Scheduler:
        """See Machine."""
        reply = self._call(protocol.GetScheduler())
        assert reply.scheduler is not None
        return reply.scheduler

    def sample(self) -> Sample:
        """See Machine."""
        reply = self._call(protocol.TakeSample(), 10)
        assert reply.sample is not None
        return reply.sample

    def focus(self, names: tuple[str, ...]) -> None:
        """See Machine."""
        self._call(protocol.Focus(names))

    def renew(self, lease_s: float | None = None) -> None:
        """See Machine."""
        self._call(protocol.Renew(lease_s), 10)

    def keep(self) -> Scheduler:
        """See Machine."""
        reply = self._call(protocol.Keep())
        assert reply.scheduler is not None
        return reply.scheduler

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
        """None: the lab is where things are proven."""
        return None

    def load(
        self, name: str, obj: Loadable, settings: dict[str, Setting], *, lease_s: float | None = None
    ) -> Scheduler:
        """See Machine. A program is carried into the guest, the first time."""
        if isinstance(obj, Program):
            scheduler = self._start(obj, settings, lease_s)
        else:
            reply = self._call(protocol.Load(name, obj, settings, lease_s), 60)
            assert reply.scheduler is not None
            scheduler = reply.scheduler
        self._loaded = (name, obj, settings)
        return scheduler

    def output(self) -> str:
        """See Machine."""
        return self._call(protocol.GetOutput()).output or ""

    def tune(self, settings: dict[str, Setting]) -> Scheduler:
        """See Machine."""
        reply = self._call(protocol.Tune(settings))
        if self._loaded:
            name, obj, before = self._loaded
            self._loaded = (name, obj, {**before, **settings})
        assert reply.scheduler is not None
        return reply.scheduler

    def unload(self) -> Scheduler:
        """See Machine."""
        reply = self._call(protocol.Unload())
        assert reply.scheduler is not None
        return reply.scheduler

    def panic(self) -> Panic:
        """Through the helper; when it does not answer, magic SysRq over the guest's console, then read back."""
        began = time.monotonic()
        guest = self.guest
        like, self._like = self._like, None
        if like is not None:
            threading.Thread(target=like.close, name="end dive", daemon=True).start()
        with contextlib.suppress(SchedtuiError):  # also what the helper failed with: the kernel is still to be asked
            reply = guest.client.call(protocol.DoPanic(), _PANIC_PATIENCE_S)
            assert reply.panic is not None
            return reply.panic
        try:
            guest.qemu.send_sysrq("S")
        except LabFailed as error:
            if not guest.qemu.has_ended():
                raise
            raise guest.lost() from error
        after = self._read_back()
        if not after.latched:  # by the helper that the panic did not reach
            with contextlib.suppress(SchedtuiError):
                guest.client.call(protocol.DoPanic(), _PANIC_PATIENCE_S)
                after = self._read_back()
        return Panic(scheduler=after, before="", path="sysrq", took_ms=(time.monotonic() - began) * 1000)

    def unlatch(self) -> None:
        """See Machine."""
        self._call(protocol.Unlatch())

    def start_workload(self, kind: str) -> None:
        """See Machine."""
        self._call(protocol.StartWorkload(kind))
        self._workloads.append(kind)

    def stop_workloads(self) -> None:
        """See Machine."""
        self._call(protocol.StopWorkloads())
        self._workloads.clear()

    def probe(self, name: str, pid: int, cgroup: str, seconds: float, progress: Progress) -> ProbeResult:
        """See ``dive``. A guest without bcc is looked at through its like: same kernel, loads and scheduler."""
        if self._deep:
            return self._probe(name, pid, cgroup, seconds)
        task = self.run(["cat", f"/proc/{pid}/comm"], 5).output.strip() if pid else ""
        like = self._like = LabMachine(kernel=self._kernel, cpus=self._cpus, sockets=self._sockets, deep=True)
        try:
            like.open(progress)
            for kind in self._workloads:
                like.start_workload(kind)
            if self._loaded and self.scheduler().owner == "schedtui":
                like.load(*self._loaded)
            if pid:
                pid = like.process_called(task)
            progress(f"bcc: compiling, then looking for {seconds:g} s", 0)
            return like._probe(name, pid, cgroup, seconds)
        except SchedtuiError as error:
            if self._like is not like:
                raise Interrupted("The deep dive was ended: panic was pressed.") from error
            raise
        finally:
            self._like = None
            like.close()

    def process_called(self, name: str) -> int:
        """The oldest process of this name in the guest. Raises UnknownName."""
        found = self.run(["pgrep", "-o", "-x", name], 5).output.split() if name else []
        if not found:
            raise UnknownName(f"No task called “{name}” runs in the lab now.", "Look at all tasks instead.")
        return int(found[0])

    def run(self, command: list[str], timeout_s: float) -> Completed:
        """See Machine. The guest has Python and, where this computer has busybox, its tools.

        The command of the project that was carried in runs in a new copy of it, whose making is not timed.
        """
        project = self._project
        if project and tuple(command) == project.command:
            project.make_copy()
            done = self._run(project.in_copy(), timeout_s)
            return msgspec.structs.replace(done, command=project.command)
        return self._run(command, timeout_s)

    def carry(self, folder: Path, command: tuple[str, ...]) -> None:
        """See ``Carrying``."""
        from schedtui.backend.microvm.project import CarriedProject

        self._project = CarriedProject(self.guest, folder, command)

    def close(self) -> None:
        """End the guest."""
        self._closed = True
        like, self._like = self._like, None
        if like:
            like.close()
        guest, self._guest = self._guest, None
        if guest:
            guest.close()

    def _start(self, program: Program, settings: dict[str, Setting], lease_s: float | None) -> Scheduler:
        place = self._carried.get(program.sha256)
        if place is None:
            from schedtui.backend.microvm.carry import carry_program, read_program

            path = Path(program.path)
            content = read_program(path, program.sha256)
            place = self._carried[program.sha256] = carry_program(self.guest, program.name, content)
        body = protocol.StartProgram(
            name=program.name,
            path=place,
            arguments=program.arguments,
            digest=program.digest,
            settings=settings,
            lease_s=lease_s,
        )
        reply = self._call(body, _START_LIMIT_S)
        assert reply.scheduler is not None
        return reply.scheduler

    def _run(self, command: list[str], timeout_s: float) -> Completed:
        reply = self._call(protocol.Run(command, timeout_s), timeout_s + 15)
        assert reply.completed is not None
        return reply.completed

    def _probe(self, name: str, pid: int, cgroup: str, seconds: float) -> ProbeResult:
        reply = self._call(protocol.RunProbe(name, pid, cgroup, seconds), seconds + PROBE_LIMIT_S)
        assert reply.probe is not None
        return reply.probe

    def _call(self, body: Body, timeout_s: float = 30) -> Reply:
        try:
            return self.guest.client.call(body, timeout_s)
        except HelperGone as error:
            guest = self.guest
            if not guest.qemu.has_ended():
                raise
            raise guest.lost() from error

    def _read_back(self) -> Scheduler:
        try:
            reply = self._call(protocol.GetScheduler(), _READ_BACK_S)
            assert reply.scheduler is not None
            return reply.scheduler
        except HelperGone as error:
            self.close()
            raise LabFailed(
                "The guest did not answer after the panic, so it was ended; nothing of it runs any more.",
                "Press m to open a fresh lab.",
            ) from error
