"""Compile a policy or a probe with clang, once for each content.

The object depends on the source's bytes, its headers, the compiler and the flags, and on nothing else: not on the
folder, the time or the user. clang sees here what the user sees, so this is for sources that are trusted; any other
goes through ``verifier.sandbox``, which makes the same object of it. Loading it is ``loader``'s.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import platform
import re
import resource
import select
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from schedtui import paths
from schedtui.backend.errors import BadFile, CompileFailed, MissingTool

OLDEST_CLANG = 16
TIME_LIMIT_S = 20.0
_MEMORY_LIMIT_BYTES = 4 << 30
OBJECT_LIMIT_BYTES = 3 << 20
"""What fits into one message to the helper."""
SOURCE_LIMIT_BYTES = 1 << 20
_CACHE_LIMIT_BYTES = 64 << 20
_MOST_DETAIL_LINES = 40

_INSTALL_CLANG = (
    "Debian, Ubuntu: sudo apt install clang-19 · Fedora: sudo dnf install clang · Arch: sudo pacman -S clang"
)
_INSTALL_HEADERS = (
    "Debian, Ubuntu: sudo apt install libbpf-dev · Fedora: sudo dnf install libbpf-devel · Arch: sudo pacman -S libbpf"
)
_INSTALL_LIBC = (
    "Debian, Ubuntu: sudo apt install libc6-dev · Fedora: sudo dnf install glibc-devel · Arch: glibc has them"
)

_TARGET_ARCH = {
    "x86_64": "x86",
    "aarch64": "arm64",
    "riscv64": "riscv",
    "ppc64le": "powerpc",
    "s390x": "s390",
    "loongarch64": "loongarch",
}
_HEADER_FOLDERS = (Path("/usr/include"), Path("/usr/local/include"))
_CLANG_NAME = re.compile(r"clang(?:-(\d+))?")
_VERSION = re.compile(r"\bclang version (\d+)")
_LOCATED_ERROR = re.compile(r"^(?P<file>[^\s:][^:]*):(?P<line>\d+):\d+: (?:fatal )?error: (?P<text>.*)$", re.MULTILINE)
_ANY_ERROR = re.compile(r"\berror: (?P<text>.*)$", re.MULTILINE)
_HERE = re.compile(r"(?<![\w./])\./")
_ENTRY_MAGIC = b"schedtui object 1\n"


class Clang(NamedTuple):
    """A compiler that is new enough; ``version`` is the first line it says of itself."""

    path: str
    version: str


def compile_bpf(source: Path, *, cache: Path | None = None, time_limit_s: float = TIME_LIMIT_S) -> bytes:
    """The object of a ``.bpf.c`` file, for this machine's architecture.

    ``cache`` is a folder of earlier objects, by default the user's; one that cannot be written is done without.
    Where the compiler or libbpf's headers have gone since, the object that was last made of the same source and headers
    of ours still serves.
    A compiler that needs longer than ``time_limit_s`` (of waiting) or 20 s (of computing) is stopped.
    Raises BadFile, MissingTool, CompileFailed (its message begins ``NAME.bpf.c:LINE:``).
    """
    folder = cache or cache_folder()
    made_of = _source_key(source)
    try:
        clang = _find_clang(folder)
        options = object_options(our_headers())
    except MissingTool:
        known = _made_before(folder, made_of)
        if known is None:
            raise
        return known
    key = _key(source, clang, options)
    entry = folder / key
    known = read_entry(entry)
    if known is None:
        known = _run_clang(source, [clang.path, *options, f"./{source.name}"], time_limit_s)
        if _key(source, clang, options) != key:  # it was edited under the compiler
            return known
        write_entry(entry, known)
    if read_entry(folder / made_of) != key.encode():
        write_entry(folder / made_of, key.encode())
    return known


def compile_native(source: Path, *, cache: Path | None = None) -> bytes:
    """The program of a ``.c`` file of ours, for this machine, linked with its C library and nothing else.

    Kept like objects are. Raises MissingTool, also when the C library's headers are not installed, and CompileFailed.
    """
    folder = cache or cache_folder()
    clang = _find_clang(folder)
    command = [clang.path, "-O2", "-Wall", "-pthread", "-o", "/proc/self/fd/1", f"./{source.name}"]
    parts = (source.read_bytes(), clang.version.encode(), *(each.encode() for each in command[1:]))
    entry = folder / hashlib.sha256(b"\0".join(parts)).hexdigest()
    known = read_entry(entry)
    if known is None:
        try:
            known = _run_clang(source, command, TIME_LIMIT_S)
        except CompileFailed as error:
            if "file not found" in error.message:
                raise MissingTool("The headers of the C library are not installed.", _INSTALL_LIBC) from error
            raise
        write_entry(entry, known)
    return known


def find_clang() -> Clang:
    """The newest clang of at least version 16 in PATH. Raises MissingTool."""
    return _find_clang(cache_folder())


def cache_folder() -> Path:
    """Where objects are kept, and what compilers say of themselves. All of it can be made again."""
    return paths.cache_dir() / "objects"


def _find_clang(folder: Path) -> Clang:
    best, best_major, too_old = None, 0, 0
    for candidate in _clangs_in_path():
        version = _version_of(candidate, folder)
        found = _VERSION.search(version)
        major = int(found[1]) if found else 0
        too_old = max(too_old, major)
        if major >= OLDEST_CLANG and major > best_major:
            best, best_major = Clang(candidate, version), major
    if best is None:
        what = f"clang {too_old} is too old" if too_old else "clang is not installed"
        raise MissingTool(f"{what}: compiling policies needs clang {OLDEST_CLANG} or newer.", _INSTALL_CLANG)
    return best


def _clangs_in_path() -> list[str]:
    found = []
    for folder in os.get_exec_path():
        with contextlib.suppress(OSError):
            found += [
                each.path
                for each in os.scandir(folder or ".")
                if _CLANG_NAME.fullmatch(each.name) and os.access(each.path, os.X_OK)
            ]
    return sorted(found)


def _version_of(clang: str, folder: Path) -> str:
    """What a compiler says of itself; remembered as long as its file does not change, for asking takes 50 ms."""
    with contextlib.suppress(OSError):
        real = Path(clang).resolve(strict=True)
        status = real.stat()
        identity = f"{clang} {real} {status.st_size} {status.st_mtime_ns}"
        entry = folder / f"clang-{hashlib.sha256(identity.encode()).hexdigest()[:16]}"
        known = read_entry(entry)
        if known is not None:
            return known.decode("utf-8", "replace")
        version = _ask_version(clang)
        write_entry(entry, version.encode())
        return version
    return ""


def _ask_version(clang: str) -> str:
    try:
        asked = subprocess.run(
            [clang, "--version"], capture_output=True, text=True, timeout=TIME_LIMIT_S, env=environment(), check=False
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return asked.stdout.partition("\n")[0].strip()


def environment() -> dict[str, str]:
    """Nothing of the user's that could change what comes out."""
    return {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C.UTF-8", "SOURCE_DATE_EPOCH": "0"}


def object_options(include: Path) -> list[str]:
    """clang's options for an object on standard output, where our headers lie in ``include``."""
    return [*language_options(include), "-c", "-o", "-"]


def language_options(include: Path) -> list[str]:
    """What a policy's source means: everything but what is to be made of it. Raises MissingTool."""
    machine = platform.machine()
    if machine not in _TARGET_ARCH:
        raise MissingTool(f"Policies cannot be compiled for {machine} processors.")
    return [
        *("-g", "-O2", "-Wall", "-target", "bpf", "-mcpu=v3"),
        f"-D__TARGET_ARCH_{_TARGET_ARCH[machine]}",
        f"-I{include}",
        f"-idirafter{libbpf_headers()}",
        f"-ffile-prefix-map={include}=include",
        "-ffile-prefix-map=./=",
        *("-fdebug-compilation-dir=.", "-fno-ident", "-fno-color-diagnostics", "-fno-crash-diagnostics"),
        "-ferror-limit=10",
    ]


def our_headers() -> Path:
    """The folder of the header that a policy includes, and of its aliases."""
    return paths.shipped("bpf") / "include"


@functools.cache
def libbpf_headers() -> Path:
    """The folder above ``bpf/bpf_helpers.h``. Raises MissingTool."""
    for folder in _HEADER_FOLDERS:
        if (folder / "bpf" / "bpf_helpers.h").is_file():
            return folder
    raise MissingTool("The headers of libbpf are not installed: compiling policies needs them.", _INSTALL_HEADERS)


def _key(source: Path, clang: Clang, options: list[str]) -> str:
    beside = sorted(source.parent.glob("*.h"))
    with _named(source):
        return object_key(source.name, _text(source), clang, options, beside)


def _source_key(source: Path) -> str:
    """Names what an object is made of, whichever compiler makes it: its entry holds the key of the last such object."""
    headers = [*sorted(our_headers().rglob("*.h")), *sorted(source.parent.glob("*.h"))]
    with _named(source):
        parts = [platform.machine().encode(), source.name.encode(), _text(source)]
        parts += [part for each in headers for part in (each.name.encode(), each.read_bytes())]
    return f"source-{_digest(parts)}"


def _text(source: Path) -> bytes:
    if source.stat().st_size > SOURCE_LIMIT_BYTES:
        raise BadFile(f"{source.name} is longer than {SOURCE_LIMIT_BYTES >> 20} MB: that is no policy.")
    return source.read_bytes()


@contextlib.contextmanager
def _named(source: Path) -> Iterator[None]:
    """What cannot be read is told by its name."""
    try:
        yield
    except OSError as error:
        raise BadFile(f"{error.filename or source} cannot be read: {error.strerror}.") from error


def _made_before(folder: Path, made_of: str) -> bytes | None:
    key = read_entry(folder / made_of)
    return read_entry(folder / key.decode("ascii", "replace").replace("/", "")) if key else None


def object_key(name: str, text: bytes, clang: Clang, options: list[str], beside: Sequence[Path] = ()) -> str:
    """Names an object by everything that it is made of; ``beside`` are further headers that its source can see."""
    ours, installed = our_headers(), libbpf_headers() / "bpf"
    headers = [*sorted(ours.rglob("*.h")), *sorted(installed.glob("*.h")), *beside]
    parts = [name.encode(), text, *(each.read_bytes() for each in headers), clang.version.encode()]
    parts += [each.replace(str(ours), "include").encode() for each in options]
    parts += [each.name.encode() for each in headers]
    return _digest(parts)


def _digest(parts: Sequence[bytes]) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8, "little") + part)
    return digest.hexdigest()


def read_entry(entry: Path) -> bytes | None:
    """What was stored, or None when it is not there or not what was stored."""
    with contextlib.suppress(OSError):
        content = entry.read_bytes()
        digest, _, payload = content.removeprefix(_ENTRY_MAGIC).partition(b"\n")
        if (
            content.startswith(_ENTRY_MAGIC)
            and digest.decode("ascii", "replace") == hashlib.sha256(payload).hexdigest()
        ):
            return payload
    return None


def write_entry(entry: Path, payload: bytes) -> None:
    """Store for the next time, whole or not at all; a cache that cannot be written costs time and nothing else."""
    with contextlib.suppress(OSError):
        entry.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=entry.parent, prefix=".new-", delete=False) as new:
            try:
                new.write(_ENTRY_MAGIC + hashlib.sha256(payload).hexdigest().encode() + b"\n" + payload)
                new.close()
                Path(new.name).replace(entry)
            except OSError:
                Path(new.name).unlink(missing_ok=True)
                raise
        _forget_oldest(entry.parent)


def _forget_oldest(folder: Path) -> None:
    """Keep what was written last. A half-written file of a process that was killed is as old as any other."""
    kept = 0
    with os.scandir(folder) as found:
        files = [(each.stat().st_mtime_ns, each.stat().st_size, each.path) for each in found if each.is_file()]
    for _, size, path in sorted(files, reverse=True):
        kept += size
        if kept > _CACHE_LIMIT_BYTES:
            Path(path).unlink(missing_ok=True)


def _run_clang(source: Path, command: list[str], time_limit_s: float) -> bytes:
    """Compile in the source's own folder. Output goes to memory files, so that nothing is left behind."""
    with os.fdopen(os.memfd_create("object"), "w+b") as out, os.fdopen(os.memfd_create("messages"), "w+b") as err:
        try:
            process = subprocess.Popen(
                command, cwd=source.parent, stdin=subprocess.DEVNULL, stdout=out, stderr=err, env=environment()
            )
        except OSError as error:
            raise MissingTool(f"{command[0]} cannot be started: {error.strerror}.", _INSTALL_CLANG) from error
        with process:
            _limit(process.pid)
            ended = _wait(process, time_limit_s)
        out.seek(0)
        err.seek(0)
        messages = err.read(256 << 10).decode("utf-8", "replace")
        if not ended:
            raise CompileFailed(
                f"{source.name}: clang did not finish within {time_limit_s:g} s, so it was stopped.",
                "Look for macros or includes that expand without end.",
            )
        if process.returncode != 0:
            raise _failed(source, process.returncode, messages)
        return out.read()


def _limit(pid: int) -> None:
    """Set from outside: a fork hook of Python's is not safe in a program with threads."""
    limits = (
        (resource.RLIMIT_CPU, round(TIME_LIMIT_S)),
        (resource.RLIMIT_AS, _MEMORY_LIMIT_BYTES),
        (resource.RLIMIT_FSIZE, OBJECT_LIMIT_BYTES),
        (resource.RLIMIT_CORE, 0),
    )
    with contextlib.suppress(ProcessLookupError):
        for what, most in limits:
            _, allowed = resource.prlimit(pid, what)
            most = most if allowed == resource.RLIM_INFINITY else min(most, allowed)
            resource.prlimit(pid, what, (most, most))


def _wait(process: subprocess.Popen[bytes], time_limit_s: float) -> bool:
    """Whether it ended by itself in time."""
    pidfd = os.pidfd_open(process.pid)
    try:
        readable, _, _ = select.select([pidfd], [], [], time_limit_s)
    finally:
        os.close(pidfd)
        process.kill()
    return bool(readable)


def _failed(source: Path, code: int, messages: str) -> CompileFailed:
    if code == -signal.SIGXFSZ:
        return CompileFailed(f"{source.name}: the object would be larger than {OBJECT_LIMIT_BYTES >> 20} MB.")
    text = messages.replace(f"{our_headers()}/", "").replace(f"{source.parent}/", "")
    return rejected(source.name, text, f"signal {-code}" if code < 0 else f"exit code {code}")


def rejected(name: str, messages: str, stopped: str) -> CompileFailed:
    """clang's first error, as a sentence; ``stopped`` says how it ended, for when it said nothing."""
    text = _HERE.sub("", messages)
    details = "\n".join(text.splitlines()[:_MOST_DETAIL_LINES])
    located, anywhere = _LOCATED_ERROR.search(text), _ANY_ERROR.search(text)
    if located:
        return CompileFailed(f"{located['file']}:{located['line']}: {located['text']}", details=details)
    if anywhere:
        return CompileFailed(f"{name}: {anywhere['text']}", details=details)
    return CompileFailed(f"{name}: clang gave up ({stopped}).", details=details)
