"""The verifying machine: built by a user without rights, and kept where only root can change it."""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import subprocess
from base64 import b64decode
from collections.abc import Iterator
from pathlib import Path

import msgspec
from msgspec import Struct

from schedtui.backend.errors import SetupFailed
from schedtui.backend.machine import Progress
from schedtui.backend.setup import system
from schedtui.backend.setup.copying import LAUNCHER
from schedtui.backend.setup.interpreter import FLAGS
from schedtui.backend.setup.kernel import copy_kernel
from schedtui.backend.setup.prepare import Told
from schedtui.backend.setup.targets import Targets

_LIMIT_S = 60
_LARGEST_LINE = 32 << 20


class Preparer(Struct, frozen=True):
    """Prepares what verifying needs. ``user`` is whom the compiler and QEMU run as."""

    targets: Targets
    python: Path
    user: str

    def compile(self, progress: Progress, *, kernel: bool) -> list[str]:
        """What ships, so that the helper knows its own library again; with ``kernel``, one to boot as well.

        Returns what did not work, in sentences with remedies. Raises SetupFailed.
        """
        targets, problems = self.targets, list[str]()
        digests: dict[str, str] = {}
        probes: dict[str, bytes] = {}
        image: Path | None = None
        with self._keeping():
            if kernel:
                copy_kernel(targets.prepared, self._ids()[1])
            for told in self._told("--kernel" if kernel else "--compile", progress):
                if told.policy:
                    digests[told.digest] = told.policy
                elif told.probe:
                    probes[Path(told.probe).name] = b64decode(told.object)
                elif told.kernel:
                    image = Path(told.kernel)
                elif told.problem:
                    problems.append(f"{told.problem} {told.remedy}".rstrip())
            write(targets.library, msgspec.json.format(msgspec.json.encode(digests), indent=1))
            targets.objects.mkdir(mode=0o755, exist_ok=True)
            for name, content in probes.items():
                write(targets.objects / f"{name}.bpf.o", content)
            if image and image.is_relative_to(targets.verify):
                self._take_folder(image.parent, targets.prepared / "kernels" / image.parent.name)
        return list(dict.fromkeys(problems))

    def build(self, progress: Progress) -> list[str]:
        """The machine itself: guest image, boot, snapshot; a minute where there is no KVM. As ``compile``."""
        told = self._told("--machine", progress)
        problems = [f"{each.problem} {each.remedy}".rstrip() for each in told if each.problem]
        built = self.targets.verify / "schedtui" / "lab"
        place, new = self.targets.prepared / "lab", self.targets.prepared / ".lab.new"
        with self._keeping():
            shutil.rmtree(new, ignore_errors=True)
            new.mkdir(mode=0o755)
            for each in built.iterdir() if built.is_dir() else ():
                if each.is_dir() and not each.is_symlink() and not each.name.startswith("."):
                    self._take_folder(each, new / each.name)
            with contextlib.suppress(FileNotFoundError):
                _take(built / "kvm.json", new / "kvm.json")
            if place.exists():
                shutil.rmtree(place)
            new.rename(place)
            for name in ("lab", "kernels", "apt"):
                shutil.rmtree(self.targets.verify / "schedtui" / name, ignore_errors=True)
        return problems

    @contextlib.contextmanager
    def _keeping(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise SetupFailed(
                f"What verifying needs could not be kept: {error.strerror}.", "Free some space, then run setup again."
            ) from error

    def _ids(self) -> tuple[int, int]:
        return system.ids_of(self.user, self.targets.root)

    def _told(self, what: str, progress: Progress) -> Iterator[Told]:
        """What the process says, but for its stages. Raises SetupFailed when it fails."""
        uid, gid = self._ids()
        kvm = system.group_id("kvm", self.targets.root)
        with subprocess.Popen(
            [str(self.python), FLAGS, str(self.targets.current.resolve() / LAUNCHER), "prepare", what],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={},
            cwd="/",
            user=uid,
            group=gid,
            extra_groups=[kvm] if kvm is not None else [],
            umask=0o077,
        ) as process:
            assert process.stdout
            try:
                while line := process.stdout.readline(_LARGEST_LINE):
                    told = msgspec.json.decode(line, type=Told)
                    if told.stage:
                        progress(f"verifying machine: {told.stage}", told.seconds)
                    else:
                        yield told
                code = process.wait(_LIMIT_S)
            except (msgspec.DecodeError, UnicodeDecodeError, subprocess.TimeoutExpired) as error:
                raise SetupFailed("What verifies ended badly.", "Run setup again.", str(error)) from error
            finally:
                process.kill()
        if code != 0:
            raise SetupFailed("What verifies could not be prepared.", "Run setup again.", f"It ended with {code}.")

    def _take_folder(self, source: Path, place: Path) -> None:
        place.mkdir(mode=0o755, parents=True, exist_ok=True)
        for each in source.iterdir():
            _take(each, place / each.name)


def _take(source: Path, place: Path) -> None:
    """A copy of what another user wrote, with its time; nothing that it may link to."""
    descriptor = os.open(source, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            return
        place.unlink(missing_ok=True)
        with place.open("xb") as copy:
            shutil.copyfileobj(file, copy, 1 << 20)
        place.chmod(0o644)
        os.utime(place, ns=(found.st_atime_ns, found.st_mtime_ns))


def write(path: Path, content: bytes) -> None:
    """A whole file of root's that everybody may read."""
    part = path.with_name(f".{path.name}.new")
    part.unlink(missing_ok=True)
    part.write_bytes(content)
    part.chmod(0o644)
    part.replace(path)
