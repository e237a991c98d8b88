"""Kernel images that the lab can boot: found on this machine, kept in the cache, or fetched from Debian.

A kernel is one file; no module of it is needed, because everything that the lab's guest uses must be built in.
Booting it is left to others.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import gzip
import lzma
import os
import platform
import re
import shutil
import struct
import subprocess
import tarfile
import tempfile
import time
import zlib
from collections.abc import Callable
from pathlib import Path

from msgspec import Struct

from schedtui.backend.apt import Apt, Source, debian_architecture, distribution, machine_sources, main_archive
from schedtui.backend.errors import KernelUnsuitable, LabFailed, UnknownName
from schedtui.backend.machine import Progress
from schedtui.backend.microvm.lock import locked
from schedtui.paths import cache_dir, prepared_dir

DEFAULT_SERIES = "6.18"
"""A long-term kernel with sched_ext."""

NEEDED_BUILT_IN = (
    "SCHED_CLASS_EXT",
    "BPF_SYSCALL",
    "BPF_JIT",
    "DEBUG_INFO_BTF",
    "BLK_DEV_INITRD",
)
"""What a lab kernel must have as ``=y``: the guest has no modules. Without virtio it speaks over a serial line."""

_SUITES = ("trixie-backports", "sid")
_FAULTY = re.compile(r"7\.[12]\.\d+\+deb13")
"""Builds whose BTF describes scx kfuncs with their hidden argument, so that few schedulers load or none.

Seen on 7.1.13, 7.2.11 and 7.2.12; later builds, for deb14, are sound.
"""
_MOST_UNPACKED = 512 << 20
_SPACE_NEEDED = 400 << 20


class Kernel(Struct, frozen=True):
    """A bootable image. ``release`` is what ``uname -r`` says in it."""

    image: Path
    release: str
    origin: str
    """Where it came from, in words: 'given', 'this machine', 'fetched from Debian'."""


def listed_kernels() -> list[Kernel]:
    """The kernels here that a lab can boot, the one that ``find_kernel`` takes first."""
    own, default = _own_kernel(), _cached_of(DEFAULT_SERIES)
    first = [each for each in (own, default) if each]
    return first + [each for each in cached_kernels() if each not in first]


def find_kernel(explicit: Path | None, progress: Progress) -> Kernel:
    """The kernel for the lab: the one given, else this machine's own, else a cached one, else a fetched one.

    Raises KernelUnsuitable for an image given that cannot serve, and LabFailed when none is to be had.
    """
    if explicit is not None:
        return inspect_image(explicit)
    here = listed_kernels()
    return here[0] if here else fetch_kernel(DEFAULT_SERIES, progress)


def cached_kernels() -> list[Kernel]:
    """The kernels fetched before, or set up by root, newest first."""
    found = _kernels_in(_kernel_folder(), "fetched from Debian")
    if prepared := prepared_dir():
        here = {each.release for each in found}
        found += [each for each in _kernels_in(prepared / "kernels", "set up by root") if each.release not in here]
    return sorted(found, key=lambda each: _version(each.release), reverse=True)


def _kernels_in(folder: Path, origin: str) -> list[Kernel]:
    with contextlib.suppress(PermissionError):  # somebody else's folder
        return [Kernel(image, image.parent.name, origin) for image in folder.glob("[0-9]*/vmlinuz")]
    return []


def fetch_kernel(series: str, progress: Progress, *, renew: bool = False) -> Kernel:
    """The newest kernel of a series such as ``6.18`` in the cache, fetched when there is none.

    ``renew`` looks for a newer one than the cached. The package comes from the machine's own Debian mirror, and apt
    checks its signature. ``progress`` gets stages and the seconds since the call. Raises LabFailed with what
    stopped it, and UnknownName for what is no series; nothing half-fetched is ever used.
    """
    if not re.fullmatch(r"\d+(\.\d+)*", series):
        raise UnknownName(f"“{series}” is not a kernel series.", f"Give a number such as {DEFAULT_SERIES}.")
    if not renew and (cached := _cached_of(series)):
        return cached
    began = time.monotonic()

    def stage(words: str) -> None:
        progress(words, time.monotonic() - began)

    folder = _kernel_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with locked(folder / ".lock", lambda: stage("kernel: waiting for another schedtui that fetches one")):
            if not renew and (cached := _cached_of(series)):
                return cached
            _clear_leftovers(folder)
            _check_space(folder)
            return _fetch(series, folder, stage)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise _no_space(folder) from error
        raise LabFailed(f"The kernel could not be kept in {folder}: {error.strerror}.", _GIVE_ONE) from error
    except LabFailed as failed:
        raise LabFailed(failed.message, " ".join(filter(None, (failed.remedy, _GIVE_ONE))), failed.details) from failed


def inspect_image(path: Path, origin: str = "given") -> Kernel:
    """What an image is. Raises KernelUnsuitable when it is no kernel for this machine, or has no sched_ext.

    Where the image does not tell whether it has sched_ext, the boot will.
    """
    image = _read_image(path)
    if image[0x202:0x206] == b"HdrS":
        release, payload = _read_bzimage(path, image)
    elif image[0x38:0x3C] == b"ARM\x64" or image[4:8] == b"zimg":
        release, payload = _read_arm64(path, image)
    else:
        raise KernelUnsuitable(f"{path} is not a Linux kernel image: it is {_looks_like(image)}.", _GIVE_ONE)
    lacking = _lacking(path, release, payload)
    if lacking:
        raise KernelUnsuitable(
            f"Linux {release} ({path}) cannot serve the lab: it was built without {', '.join(lacking)}.",
            "Give another image with --kernel PATH, or leave it out.",
        )
    return Kernel(path.resolve(), release, origin)


_GIVE_ONE = "Give a kernel image that has sched_ext with --kernel PATH."


def _kernel_folder() -> Path:
    return cache_dir() / "kernels"


def _cached_of(series: str) -> Kernel | None:
    return next((each for each in cached_kernels() if _in_series(each.release, series)), None)


def _version(release: str) -> tuple[int, ...]:
    numbers = re.match(r"[0-9.]+", release)
    return tuple(int(each) for each in numbers[0].split(".") if each) if numbers else ()


def _in_series(release: str, series: str) -> bool:
    return _version(release)[: len(_version(series))] == _version(series)


def _own_kernel() -> Kernel | None:
    release = os.uname().release
    places = [Path(f"/boot/vmlinuz-{release}"), Path(f"/usr/lib/modules/{release}/vmlinuz")]
    if prepared := prepared_dir():
        places.append(prepared / f"vmlinuz-{release}")  # setup's copy, where the system's is readable for root alone
    for path in places:
        # Only a configuration that says so is enough: the distribution's kernel may have no sched_ext.
        if os.access(path, os.R_OK) and configuration_beside(path, release):
            with contextlib.suppress(KernelUnsuitable):
                return inspect_image(path, "this machine")
    return None


def _lacking(path: Path, release: str, payload: bytes) -> list[str]:
    """The options that the image was built without; empty when nothing is known to be lacking."""
    config = configuration_beside(path, release)
    kernel = b"" if config else _unpacked(payload)
    config = config or _config_inside(kernel)
    if config:
        built_in = set(re.findall(r"^CONFIG_(\w+)=y$", config, re.MULTILINE))
        return [f"CONFIG_{each}" for each in NEEDED_BUILT_IN if each not in built_in]
    # The BTF of every kernel with sched_ext names this type.
    return ["CONFIG_SCHED_CLASS_EXT"] if kernel and b"sched_ext_ops" not in kernel else []


def configuration_beside(path: Path, release: str) -> str:
    """The options that a kernel was built with, where they lie beside its image or are this computer's; else empty."""
    places = [path.parent / f"config-{release}", path.parent / "config", Path(f"/boot/config-{release}")]
    for place in places:
        with contextlib.suppress(OSError):
            return place.read_text(encoding="utf-8", errors="replace")
    if release == os.uname().release:
        with contextlib.suppress(OSError, EOFError, zlib.error), gzip.open("/proc/config.gz", "rt") as config:
            return config.read()
    return ""


def _config_inside(kernel: bytes) -> str:
    start, end = kernel.find(b"IKCFG_ST\x1f\x8b"), kernel.find(b"IKCFG_ED")
    if start < 0 or end < 0:
        return ""
    with contextlib.suppress(OSError, EOFError, zlib.error):
        return gzip.decompress(kernel[start + 8 : end]).decode(errors="replace")
    return ""


def _read_image(path: Path) -> bytes:
    try:
        if path.exists() and not path.is_file():
            raise KernelUnsuitable(f"{path} is not a Linux kernel image: it is no file.", _GIVE_ONE)
        if path.stat().st_size > _MOST_UNPACKED:
            raise KernelUnsuitable(f"{path} is not a Linux kernel image: it is far too large.", _GIVE_ONE)
        return path.read_bytes()
    except OSError as error:
        raise KernelUnsuitable(f"The kernel image {path} cannot be read: {error.strerror}.", _GIVE_ONE) from error


def _read_bzimage(path: Path, image: bytes) -> tuple[str, bytes]:
    """Release and compressed payload; see Documentation/arch/x86/boot.rst for the header."""
    if platform.machine() != "x86_64":
        raise KernelUnsuitable(f"{path} is a kernel for x86, and this machine is {platform.machine()}.", _GIVE_ONE)
    setup_bytes = ((image[0x1F1] or 4) + 1) * 512
    (paragraphs,) = struct.unpack_from("<I", image, 0x1F4)
    if len(image) < setup_bytes + paragraphs * 16:
        raise KernelUnsuitable(f"The kernel image {path} is cut short.", "Copy or fetch it again.")
    (version_at,) = struct.unpack_from("<H", image, 0x20E)
    words = image[version_at + 0x200 : version_at + 0x300].split(b"\0")[0].decode(errors="replace").split()
    offset, length = struct.unpack_from("<II", image, 0x248)
    return (words[0] if words else "unknown"), image[setup_bytes + offset : setup_bytes + offset + length]


def _read_arm64(path: Path, image: bytes) -> tuple[str, bytes]:
    """Release and payload of an Image or of an EFI zboot image; see Documentation/arch/arm64/booting.rst."""
    if platform.machine() != "aarch64":
        raise KernelUnsuitable(f"{path} is a kernel for ARM, and this machine is {platform.machine()}.", _GIVE_ONE)
    payload = image
    if image[4:8] == b"zimg":
        offset, length = struct.unpack_from("<II", image, 8)
        payload = _unpacked(image[offset : offset + length])
    named = re.search(rb"Linux version (\S+)", payload)
    return (named[1].decode(errors="replace") if named else "unknown"), payload


def _looks_like(image: bytes) -> str:
    kinds = {
        b"\x7fELF": "an ELF file; the lab boots the packed image, such as arch/x86/boot/bzImage",
        b"!<arch>": "a Debian package; unpack it first with dpkg -x",
        b"070701": "an initramfs",
        b"\x1f\x8b": "a gzip file",
        b"\x28\xb5\x2f\xfd": "a zstd file",
        b"\xfd7zXZ": "an xz file",
        b"#!": "a script",
    }
    if not image:
        return "empty"
    for magic, words in kinds.items():
        if image.startswith(magic):
            return words
    return "a text file" if image[:512].isascii() else "data of another kind"


def _unpacked(payload: bytes) -> bytes:
    """The kernel inside a compressed payload; empty when it cannot be unpacked here."""
    with contextlib.suppress(OSError, EOFError, ValueError, zlib.error, lzma.LZMAError):
        if payload.startswith(b"\x1f\x8b"):
            return zlib.decompressobj(31).decompress(payload, _MOST_UNPACKED)
        if payload.startswith((b"\xfd7zXZ\0", b"\x5d\0\0")):
            return lzma.LZMADecompressor().decompress(payload, _MOST_UNPACKED)
        if payload.startswith(b"\x28\xb5\x2f\xfd"):
            return _zstd_unpacked(payload)
    return payload if payload.startswith(b"\x7fELF") or payload[0x38:0x3C] == b"ARM\x64" else b""


class _Buffer(ctypes.Structure):
    _fields_ = (("address", ctypes.c_void_p), ("size", ctypes.c_size_t), ("position", ctypes.c_size_t))


def _zstd_unpacked(payload: bytes) -> bytes:
    """Through libzstd, which dpkg and systemd bring along: Python 3.11 has no zstd, and distributions pack with it."""
    library = ctypes.CDLL("libzstd.so.1")
    library.ZSTD_createDStream.restype = stream_type = ctypes.c_void_p
    library.ZSTD_decompressStream.argtypes = [stream_type, ctypes.POINTER(_Buffer), ctypes.POINTER(_Buffer)]
    library.ZSTD_decompressStream.restype = ctypes.c_size_t
    library.ZSTD_freeDStream.argtypes = [stream_type]
    stream = library.ZSTD_createDStream()
    block = ctypes.create_string_buffer(4 << 20)
    source = _Buffer(ctypes.cast(ctypes.c_char_p(payload), ctypes.c_void_p), len(payload), 0)
    unpacked = bytearray()
    try:
        while len(unpacked) < _MOST_UNPACKED:
            target = _Buffer(ctypes.addressof(block), len(block), 0)
            left = library.ZSTD_decompressStream(stream, ctypes.byref(target), ctypes.byref(source))
            unpacked += memoryview(block)[: target.position]
            if library.ZSTD_isError(ctypes.c_size_t(left)) or not left or not target.position:
                break
    finally:
        library.ZSTD_freeDStream(stream)
    return bytes(unpacked)


def _clear_leftovers(folder: Path) -> None:
    """What a killed fetch left behind; only called while the lock is held."""
    for leftover in folder.glob(".fetching-*"):
        shutil.rmtree(leftover, ignore_errors=True)


def _check_space(folder: Path) -> None:
    if shutil.disk_usage(folder).free < _SPACE_NEEDED:
        raise _no_space(folder)


def _no_space(folder: Path) -> LabFailed:
    return LabFailed(f"No space is left in {folder} for a kernel.", f"Free {_SPACE_NEEDED >> 20} MB, and try again.")


def _fetch(series: str, folder: Path, stage: Callable[[str], None]) -> Kernel:
    where = distribution()
    archive = main_archive(machine_sources(), where.codename) if where.is_debian else None
    if archive is None:
        raise LabFailed("Kernels can be fetched on Debian only, and this machine's apt sources name no Debian mirror.")
    failed: LabFailed | None = None
    for suite in _SUITES:
        stage(f"kernel: reading the list of {suite}")
        apt = Apt(cache_dir() / "apt" / suite, [Source(archive.uris, (suite,), ("main",), archive.options)])
        apt.update()
        for package, release in _candidates(apt, series):
            kept = folder / release / "vmlinuz"
            if kept.exists():
                return Kernel(kept, release, "fetched from Debian")
            stage(f"kernel: fetching {package}")
            try:
                return _keep(apt, package, release, folder, stage)
            except LabFailed as error:
                failed = error
    raise failed or LabFailed(f"No kernel of the series {series} was found in {' or '.join(_SUITES)}.")


def _candidates(apt: Apt, series: str) -> list[tuple[str, str]]:
    """Packages that may hold a kernel of the series, and their releases: the newest release first.

    From 6.19 on, ``linux-image-*`` only draws in the others, and some releases exist unsigned alone.
    """
    flavour = f"cloud-{debian_architecture()}"
    pattern = rf"^linux-(binary|binary-unsigned|image)-({re.escape(series)}(\.[0-9]+)*\+deb[0-9]+)-{flavour}$"
    found = []
    for package in apt.names(pattern):
        matched = re.fullmatch(pattern[1:-1], package)
        if matched and not _FAULTY.fullmatch(matched[2]):
            found.append((package, f"{matched[2]}-{flavour}", matched[1]))
    found.sort(key=lambda each: ("image" not in each[2], each[2] == "binary"), reverse=True)
    found.sort(key=lambda each: _version(each[1]), reverse=True)
    return [(package, release) for package, release, _ in found]


def _keep(apt: Apt, package: str, release: str, folder: Path, stage: Callable[[str], None]) -> Kernel:
    with tempfile.TemporaryDirectory(prefix=".fetching-", dir=folder) as temporary:
        work = Path(temporary)
        deb = apt.download(package, work)
        stage(f"kernel: unpacking {package}")
        unpacked = work / "kernel"
        unpacked.mkdir()
        _unpack(deb, unpacked)
        inspect_image(unpacked / "vmlinuz")
        # The rename makes it count; before it, nothing does.
        unpacked.rename(folder / release)
    return Kernel(folder / release / "vmlinuz", release, "fetched from Debian")


_KEPT = {"vmlinuz": "vmlinuz", "config-": "config", "evdev.ko": "evdev.ko.xz"}
"""Files of a package by how their names begin, and what they are called beside the kernel. The driver is for whoever
wants to press keys in a guest."""


def _unpack(deb: Path, into: Path) -> None:
    """The kernel, and of its configuration and the driver of input devices what the package has, out of a package."""
    process = subprocess.Popen(["dpkg-deb", "--fsys-tarfile", deb], stdout=subprocess.PIPE, stdin=subprocess.DEVNULL)
    assert process.stdout
    with process, tarfile.open(fileobj=process.stdout, mode="r|") as archive:
        for member in archive:
            name = member.name.rsplit("/", 1)[-1]
            target = next((kept for begin, kept in _KEPT.items() if name.startswith(begin)), "")
            content = archive.extractfile(member) if target and member.isfile() else None
            if content:
                with (into / target).open("wb") as kept:
                    shutil.copyfileobj(content, kept)
                    kept.flush()
                    os.fsync(kept.fileno())
    if not (into / "vmlinuz").exists():
        raise LabFailed(f"{deb.name} holds no kernel.")
