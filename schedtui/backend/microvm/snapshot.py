"""Guests kept on disk, ready to run: built once for each kernel, image and shape, restored in a fraction of a second.

A snapshot is named by everything that matters: QEMU, kernel, every file of the guest, CPUs, memory, accelerator.
It appears by renaming a finished folder, so a killed build leaves nothing that counts.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import platform
import shutil
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec

from schedtui.backend.errors import KernelUnsuitable, LabFailed, MissingTool, SchedtuiError
from schedtui.backend.helper.protocol import Reply
from schedtui.backend.machine import Progress
from schedtui.backend.microvm.guest import ClockWrong, Guest, restore, wait_for_agent
from schedtui.backend.microvm.image import ImagePlan, write_image
from schedtui.backend.microvm.lock import locked
from schedtui.backend.microvm.qemu import GuestConfig, Qemu

_Stage = Callable[[str], None]
_NEEDED_BYTES = 900 << 20
_KEPT = 12
_BOOTS = 3
_KVM_LIMIT_S = 25
_USUAL_MEMORY_MIB = 768
_UNREADABLE = (OSError, msgspec.DecodeError, UnicodeDecodeError)


class Meta(msgspec.Struct, frozen=True):
    """What a snapshot's folder says of itself."""

    snapshot_bytes: int
    snapshot_mtime_ns: int
    port: str


@dataclass(frozen=True)
class Shape:
    """The guest that is wanted. Its accelerator is found out, not chosen."""

    qemu: Path
    qemu_version: str
    kernel: Path
    cpus: int
    memory_mib: int
    plan: ImagePlan
    sockets: int = 1
    ports: tuple[str, ...] = ()
    """See GuestConfig."""


class Snapshots:
    """The folder of snapshots."""

    def __init__(self, folder: Path, prepared: Path | None = None) -> None:
        """``prepared`` is another folder of snapshots, which is only read."""
        self.folder = folder
        self._prepared = prepared

    def open(self, shape: Shape, progress: Progress) -> tuple[Guest, Reply, str]:
        """A running guest of this shape, its helper's greeting, and a sentence when something had to be mended.

        Raises LabFailed (no space, boot failed, …) and KernelUnsuitable.
        """
        began = time.monotonic()

        def stage(text: str) -> None:
            progress(text, time.monotonic() - began)

        ready = self._open_prepared(shape, stage)
        if ready is not None:
            return *ready, ""
        self._make_folder()
        note = ""
        for attempt in (1, 2, 3):  # KVM may turn out not to work, and a snapshot to be damaged
            accelerator = self._accelerator(shape)
            key = _key(shape, accelerator)
            place = self.folder / key
            config = _config(shape, place / "initrd", accelerator)
            meta = self._usable(place)
            if meta is None:
                if place.exists():
                    note = "The lab's snapshot was damaged, and was built again."
                with locked(self._lock(key), lambda: stage("waiting: another schedtui builds this guest")):
                    meta = self._usable(place)
                    if meta is None:
                        meta = self._build(shape, config, place, stage)
                        if meta is None:  # KVM turned out not to work: the shape has another key now
                            continue
            stage("snapshot: restoring")
            try:
                guest, hello = restore(config, place / "snapshot", meta.port)
            except LabFailed:
                if attempt == 3:
                    raise
                note = "The lab's snapshot could not be restored, and was built again."
                shutil.rmtree(place, ignore_errors=True)
                continue
            with contextlib.suppress(OSError):
                os.utime(place)
            return guest, hello, note
        raise LabFailed("The lab could not be opened in three attempts.", "Run: schedtui doctor")

    def _open_prepared(self, shape: Shape, stage: _Stage) -> tuple[Guest, Reply] | None:
        """A guest from a snapshot that somebody else keeps; None when there is none of this shape, or it is damaged."""
        if self._prepared is None:
            return None
        accelerator = self._accelerator(shape)
        place = self._prepared / _key(shape, accelerator)
        meta = self._usable(place)
        if meta is None:
            return None
        stage("snapshot: restoring")
        with contextlib.suppress(LabFailed):
            return restore(_config(shape, place / "initrd", accelerator), place / "snapshot", meta.port)
        return None

    def _make_folder(self) -> None:
        try:
            str(self.folder).encode()  # QEMU's monitor speaks nothing else
            self.folder.mkdir(parents=True, exist_ok=True)
            if not os.access(self.folder, os.W_OK | os.X_OK):
                raise PermissionError(f"{self.folder} is not writable")
        except (OSError, UnicodeEncodeError) as error:
            raise LabFailed(
                f"The cache folder cannot be used: {error}.", "Set XDG_CACHE_HOME to a folder you own."
            ) from error

    def _usable(self, place: Path) -> Meta | None:
        try:
            meta = msgspec.json.decode((place / "meta.json").read_bytes(), type=Meta)
            found = (place / "snapshot").stat()
            initrd = (place / "initrd").is_file()
        except _UNREADABLE:
            return None
        same = (found.st_size, found.st_mtime_ns) == (meta.snapshot_bytes, meta.snapshot_mtime_ns)
        return meta if same and initrd else None

    def _build(self, shape: Shape, config: GuestConfig, place: Path, stage: _Stage) -> Meta | None:
        self._tidy()
        free = shutil.disk_usage(self.folder).free
        if free < _NEEDED_BYTES:
            raise LabFailed(
                f"The lab needs {_NEEDED_BYTES >> 20} MB in {self.folder}, and {free >> 20} MB are free.",
                "Free some space, or set XDG_CACHE_HOME to a larger disk.",
            )
        building = self.folder / f".building-{place.name}"
        shutil.rmtree(building, ignore_errors=True)
        try:
            building.mkdir()
            stage("guest image: packing")
            with (building / "initrd").open("wb") as archive:
                write_image(shape.plan, archive)
            port = self._booted(replace(config, initrd=building / "initrd"), building / "snapshot", stage)
            if port is None:
                return None
            saved = (building / "snapshot").stat()
            meta = Meta(saved.st_size, saved.st_mtime_ns, port)
            (building / "meta.json").write_bytes(msgspec.json.encode(meta))
            shutil.rmtree(place, ignore_errors=True)
            building.rename(place)
        except OSError as error:
            raise LabFailed(
                f"The lab's guest could not be built: {error}.", "Free some space and try again."
            ) from error
        finally:
            shutil.rmtree(building, ignore_errors=True)
        self._prune(place.name)
        return meta

    def _booted(self, config: GuestConfig, snapshot: Path, stage: _Stage) -> str | None:
        """See _boot_and_save; boots again when the guest's kernel could not measure its clock."""
        for _ in range(_BOOTS - 1):
            try:
                return self._boot_and_save(config, snapshot, stage)
            except ClockWrong:
                stage("boot: once more, because the guest's clock runs wrongly")
        return self._boot_and_save(config, snapshot, stage)

    def _boot_and_save(self, config: GuestConfig, snapshot: Path, stage: _Stage) -> str | None:
        """The port that the booted guest's helper uses; None when KVM turned out not to work."""
        kvm = config.accelerator == "kvm"
        stage(f"boot: starting the kernel ({'KVM' if kvm else 'emulated: ten seconds or so'})")
        guest: Guest | None = None
        qemu: Qemu | None = None
        try:
            qemu = Qemu(config)
            port = wait_for_agent(qemu, _KVM_LIMIT_S if kvm else _emulated_limit_s(config))
            guest = Guest(qemu, port)
            hello = guest.greet(60)
            if not (hello.info and hello.info.sched_ext):
                raise _without_sched_ext(config.kernel)
            stage("snapshot: saving")
            guest.qemu.save(snapshot)
        except SchedtuiError as error:
            killed = qemu is not None and qemu.process.poll() == -signal.SIGKILL
            if not kvm or guest is not None or killed or isinstance(error, (MissingTool, ClockWrong)):
                raise  # no fault of KVM's, which is remembered
            self._remember_kvm(config.qemu, works=False)
            return None
        finally:
            if guest:
                guest.close()
            elif qemu:
                qemu.quit()
        if kvm:
            self._remember_kvm(config.qemu, works=True)
        return port

    def _accelerator(self, shape: Shape) -> str:
        if not os.access("/dev/kvm", os.R_OK | os.W_OK):
            return "tcg"
        answer = self._kvm_answers().get(_kvm_key(shape.qemu))
        return "tcg" if answer is False else "kvm"

    def _kvm_answers(self) -> dict[str, bool]:
        answers: dict[str, bool] = {}
        for folder in filter(None, (self._prepared, self.folder)):
            with contextlib.suppress(*_UNREADABLE):
                answers |= msgspec.json.decode((folder / "kvm.json").read_bytes(), type=dict[str, bool])
        return answers

    def _remember_kvm(self, qemu: Path, *, works: bool) -> None:
        answers = {**self._kvm_answers(), _kvm_key(qemu): works}
        part = self.folder / f".kvm-{os.getpid()}"
        with contextlib.suppress(OSError):
            part.write_bytes(msgspec.json.encode(answers))
            part.replace(self.folder / "kvm.json")

    def _lock(self, key: str) -> Path:
        """Its lock file stays when the snapshot goes: somebody may be waiting for it."""
        return self.folder / f"{key}.lock"

    def _tidy(self) -> None:
        """Remove what killed builds left; a build that still runs holds its lock."""
        for each in self.folder.glob(".building-*"):
            key = each.name.removeprefix(".building-")
            with contextlib.suppress(BlockingIOError), locked(self._lock(key)):
                shutil.rmtree(each, ignore_errors=True)

    def _prune(self, newest: str) -> None:
        with contextlib.suppress(OSError):  # another schedtui tidies at the same time
            places = [each for each in self.folder.iterdir() if (each / "meta.json").exists() and each.name != newest]
            places.sort(key=lambda each: each.stat().st_mtime, reverse=True)
            for old in places[_KEPT - 1 :]:
                shutil.rmtree(old, ignore_errors=True)


def _emulated_limit_s(config: GuestConfig) -> float:
    """A larger guest has a larger image to unpack."""
    return 90 + 6 * config.cpus + max(0, config.memory_mib - _USUAL_MEMORY_MIB) / 10


def _without_sched_ext(kernel: Path) -> KernelUnsuitable:
    return KernelUnsuitable(
        f"{kernel} boots, but was built without sched_ext.",
        "Choose another kernel image; schedtui lab kernels lists those that can be had.",
    )


def _config(shape: Shape, initrd: Path, accelerator: str) -> GuestConfig:
    return GuestConfig(
        shape.qemu,
        shape.kernel,
        initrd,
        shape.cpus,
        shape.memory_mib,
        accelerator,
        sockets=shape.sockets,
        ports=shape.ports,
    )


def _key(shape: Shape, accelerator: str) -> str:
    kernel = shape.kernel.stat()
    parts = [
        "3",
        shape.qemu_version,
        str(shape.qemu.stat().st_mtime_ns),
        f"{shape.kernel} {kernel.st_size} {kernel.st_mtime_ns}",
        str(shape.cpus),
        str(shape.memory_mib),
        accelerator,
        _cpu_model() if accelerator == "kvm" else "",
        " ".join(replace(_config(shape, Path(), accelerator), qemu=Path(), kernel=Path()).arguments()),
        shape.plan.digest(),
        *shape.ports,
    ]
    return hashlib.sha256("\n".join(parts).encode(errors="surrogateescape")).hexdigest()[:24]


def _kvm_key(qemu: Path) -> str:
    return f"{qemu} {qemu.stat().st_mtime_ns} {platform.release()} {_cpu_model()}"


def _cpu_model() -> str:
    with contextlib.suppress(OSError), Path("/proc/cpuinfo").open() as lines:
        for line in lines:
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return ""
