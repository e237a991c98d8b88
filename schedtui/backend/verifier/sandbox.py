"""Run clang on a source that nobody trusts: it sees its libraries, our header and that source, and nothing else.

bubblewrap makes the room: no home, no /etc, no /proc, no network, no other process; and limits on time, memory and
output. Where there is no such room, nothing is compiled. What a source may say is ``source``'s.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import re
import resource
import select
import shutil
import signal
import stat
import subprocess
import time
from pathlib import Path
from typing import IO, NamedTuple

from schedtui.backend.bpf import compiler
from schedtui.backend.bpf.compiler import Clang
from schedtui.backend.errors import BadFile, CompileFailed, MissingTool

TIME_LIMIT_S = 10.0
_LDD_LIMIT_S = 60.0
MEMORY_LIMIT_BYTES = 1 << 30
_LONGEST_MESSAGES_BYTES = 256 << 10
_MOST_PROCESSES = 16
_PROCESSES_COUNTED_APART = (5, 14)
"""Since this kernel, a limit on processes counts those of the room, and not all of the user's."""

BPF_HEADERS = ("bpf_core_read.h", "bpf_helper_defs.h", "bpf_helpers.h", "bpf_tracing.h")
"""Those of libbpf's headers that ours brings."""
INCLUDE = Path("/include")
"""Where our headers lie in the room."""
_ROOM = "/source"
_SURROUNDINGS = {"LC_ALL": "C.UTF-8", "SOURCE_DATE_EPOCH": "0"}

_INSTALL = "Run: schedtui lab install (the package is called bubblewrap)"
ALLOW_NAMESPACES = (
    "Allow user namespaces: sudo sysctl -w kernel.unprivileged_userns_clone=1 user.max_user_namespaces=15000 "
    "kernel.apparmor_restrict_unprivileged_userns=0 (those that your system knows)"
)
_NAME = re.compile(r"[\w+.-][\w+. -]{0,200}", re.ASCII)
_OUR_PATH = re.compile(rf"(?<![\w./-]){INCLUDE}/")
_ALONE = ("--unshare-all", "--die-with-parent", "--new-session", "--cap-drop", "ALL", "--clearenv")
_LIBRARY = re.compile(r"(?:^|=>)\s+(/\S+) \(0x", re.MULTILINE)
_TOO_MUCH = "Look for macros that expand without end, and for huge tables."
_REFUSED = b"bwrap: "
_KILLED_BY = 128
"""bubblewrap's exit code for a signal N is 128 + N, as a shell's is."""


class TooMuch(CompileFailed):
    """A source that clang was stopped at: it needs more time, memory or space than any policy does."""


class Finished(NamedTuple):
    """How a run of clang ended. In its messages, our headers are named as a source names them."""

    exit_code: int
    output: bytes
    messages: str


def compile_sandboxed(source: Path) -> bytes:
    """The object of a source that is not trusted: the same bytes that ``compile_bpf`` makes of it.

    Headers beside the source are not seen. Raises BadFile, CompileFailed, and MissingTool where there is no sandbox.
    """
    return compile_text(source.name, read_source(source))


def compile_text(name: str, text: bytes) -> bytes:
    """Like ``compile_sandboxed``, for bytes that the caller has; ``name`` ends in ``.bpf.c``."""
    _check(name, text)
    entry = compiler.cache_folder() / source_key(name, text)
    known = compiler.read_entry(entry)
    if known is None:
        finished = run_clang(compiler.find_clang(), compiler.object_options(INCLUDE), name, text)
        if finished.exit_code:
            raise compiler.rejected(name, finished.messages, f"exit code {finished.exit_code}")
        known = finished.output
        compiler.write_entry(entry, known)
    return known


def source_key(name: str, text: bytes) -> str:
    """Names a source by everything that decides what becomes of it: headers and compiler, too. Raises MissingTool."""
    return compiler.object_key(name, text, compiler.find_clang(), ["sandbox", *compiler.object_options(INCLUDE)])


def read_source(source: Path) -> bytes:
    """The bytes of a plain file of sane length. A link is not followed: it may point at a secret. Raises BadFile."""
    try:
        descriptor = os.open(source, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if source.is_symlink():
            raise BadFile(f"{source.name} is a link to another file.", "Name the file itself.") from error
        raise BadFile(f"{source} cannot be read: {error.strerror}.") from error
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise BadFile(f"{source} is not a plain file.")
        return os.read(descriptor, compiler.SOURCE_LIMIT_BYTES + 1)
    except OSError as error:
        raise BadFile(f"{source} cannot be read: {error.strerror}.") from error
    finally:
        os.close(descriptor)


def _check(name: str, text: bytes) -> None:
    if not _NAME.fullmatch(name):
        raise BadFile(f"“{ascii(name)[1:-1][:60]}” cannot be the name of a source.", "Use letters, digits, - and _.")
    if len(text) > compiler.SOURCE_LIMIT_BYTES:
        raise BadFile(f"{name} is longer than {compiler.SOURCE_LIMIT_BYTES >> 20} MB: that is no policy.")


def find_bubblewrap() -> str:
    """The program that makes the room. Raises MissingTool."""
    found = shutil.which("bwrap")
    if found is None:
        raise MissingTool("bubblewrap is not installed: policies that are not trusted are compiled in it.", _INSTALL)
    return found


def sandbox_refused() -> str:
    """Why bubblewrap cannot make a room here, in its own words; empty when it can. Takes 10 ms. Raises MissingTool."""
    command = [find_bubblewrap(), *_ALONE, "--ro-bind", "/", "/", "--", "/proc/self/exe", "--version"]
    tried = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=TIME_LIMIT_S, check=False)
    return tried.stderr.strip()[:200] if tried.returncode else ""


class _Room:
    """A clang in its room. It is a context: when that ends, so does clang."""

    def __init__(self, clang: Clang, options: list[str], name: str, text: bytes) -> None:
        self._deadline = time.monotonic() + TIME_LIMIT_S
        bubblewrap = find_bubblewrap()
        with contextlib.ExitStack() as opened:
            self._output = opened.enter_context(os.fdopen(os.memfd_create("object"), "w+b"))
            self._messages = opened.enter_context(os.fdopen(os.memfd_create("messages"), "w+b"))
            self._status, status_end = _pipe(opened)
            gate_end, gate = _pipe(opened)
            source = opened.enter_context(os.fdopen(os.memfd_create("source"), "w+b"))
            source.write(text)
            source.seek(0)
            self._process = _start(
                [
                    *(bubblewrap, *_room(clang)),
                    *("--ro-bind-data", str(source.fileno()), f"{_ROOM}/{name}"),
                    *("--remount-ro", "/", "--chdir", _ROOM),
                    *("--json-status-fd", str(status_end.fileno()), "--block-fd", str(gate_end.fileno())),
                    *("--", os.path.realpath(clang.path), *options, f"./{name}"),
                ],
                (source.fileno(), status_end.fileno(), gate_end.fileno()),
                self._output,
                self._messages,
            )
            opened.callback(self._end)
            status_end.close()
            gate_end.close()
            self._said = self._status.readline()
            _limit(_child_pid(self._said))
            with contextlib.suppress(BrokenPipeError):
                gate.write(b"!")
            self._opened = opened.pop_all()

    def __enter__(self) -> _Room:
        return self

    def __exit__(self, *_: object) -> None:
        self._opened.close()

    def finish(self) -> tuple[Finished, bool]:
        """Its end, and whether it came in time. Raises MissingTool when the room could not be made."""
        in_time = _wait(self._process, self._deadline - time.monotonic())
        self._end()
        self._messages.seek(0)
        messages = self._messages.read(_LONGEST_MESSAGES_BYTES)
        if in_time and (messages.startswith(_REFUSED) or b"exit-code" not in self._status.read()):
            raise MissingTool(
                "No sandbox can be made here, so nothing that is not trusted is compiled.",
                ALLOW_NAMESPACES,
                messages.decode("utf-8", "replace"),
            )
        self._output.seek(0)
        said = _OUR_PATH.sub("", messages.decode("utf-8", "replace"))
        return Finished(self._process.returncode, self._output.read(), said), in_time

    def _end(self) -> None:
        self._process.kill()
        self._process.wait()


def run_clang(clang: Clang, options: list[str], name: str, text: bytes) -> Finished:
    """Run clang on ``text``, as the file ``name``, to its end. Raises BadFile, MissingTool and TooMuch."""
    _check(name, text)
    with _Room(clang, options, name, text) as room:
        finished, in_time = room.finish()
    killed_by = max(finished.exit_code - _KILLED_BY, 0)
    if not in_time or killed_by == signal.SIGXCPU:
        raise TooMuch(f"{name}: clang did not finish within {TIME_LIMIT_S:g} s, so it was stopped.", _TOO_MUCH)
    if killed_by == signal.SIGXFSZ:
        raise TooMuch(f"{name}: the object would be larger than {compiler.OBJECT_LIMIT_BYTES >> 20} MB.", _TOO_MUCH)
    if killed_by:
        raise TooMuch(f"{name}: clang needed more than {MEMORY_LIMIT_BYTES >> 30} GB of memory, or broke.", _TOO_MUCH)
    return finished


def _start(
    command: list[str], passed: tuple[int, ...], output: IO[bytes], messages: IO[bytes]
) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=messages, env={}, pass_fds=passed
        )
    except OSError as error:
        raise MissingTool(f"{command[0]} cannot be started: {error.strerror}.", _INSTALL) from error


def _pipe(opened: contextlib.ExitStack) -> tuple[IO[bytes], IO[bytes]]:
    read, write = os.pipe()
    return (
        opened.enter_context(os.fdopen(read, "rb", buffering=0)),
        opened.enter_context(os.fdopen(write, "wb", buffering=0)),
    )


def _room(clang: Clang) -> list[str]:
    """What clang sees, read-only, where it looks for it; and nothing of whoever started it."""
    libraries = _libraries(clang)
    headers = compiler.libbpf_headers() / "bpf"
    seen = [os.path.realpath(clang.path), *libraries, *(str(headers / each) for each in BPF_HEADERS)]
    shown = [word for path in seen for word in ("--ro-bind", path, path)]
    surroundings = compiler.environment() | {
        "LD_LIBRARY_PATH": ":".join({str(Path(each).parent) for each in libraries})
    }
    return [
        *_ALONE,
        *(word for name, value in surroundings.items() for word in ("--setenv", name, value)),
        *(*shown, "--ro-bind", str(compiler.our_headers()), str(INCLUDE)),
    ]


def _libraries(clang: Clang) -> list[str]:
    """The shared libraries of a compiler, by the paths under which the loader looks for them."""
    command = ["ldd", os.path.realpath(clang.path)]
    try:
        asked = subprocess.run(command, capture_output=True, text=True, timeout=_LDD_LIMIT_S, check=False)
    except subprocess.TimeoutExpired as error:
        raise MissingTool(
            f"What {clang.path} needs to run was not said within {_LDD_LIMIT_S:g} s.",
            "Try again when the computer is less busy.",
        ) from error
    found = [os.path.normpath(each) for each in _LIBRARY.findall(asked.stdout)]
    if asked.returncode and not found:
        raise MissingTool(
            f"{clang.path} is a script: what a sandbox must hold for it is not known.",
            "Put the compiler itself into PATH before it.",
        )
    return found


def _child_pid(said: bytes) -> int:
    try:
        return int(json.loads(said)["child-pid"])
    except (ValueError, KeyError, TypeError):
        return 0  # it could not make the room: ``finish`` says why


def _limit(pid: int) -> None:
    """Set from outside, before clang starts: bubblewrap waits at its gate."""
    limits = [
        (resource.RLIMIT_CPU, math.ceil(TIME_LIMIT_S)),
        (resource.RLIMIT_AS, MEMORY_LIMIT_BYTES),
        (resource.RLIMIT_FSIZE, compiler.OBJECT_LIMIT_BYTES),
        (resource.RLIMIT_CORE, 0),
    ]
    if _kernel_version() >= _PROCESSES_COUNTED_APART:
        limits.append((resource.RLIMIT_NPROC, _MOST_PROCESSES))
    with contextlib.suppress(ProcessLookupError):
        for what, most in limits if pid else ():
            _, allowed = resource.prlimit(pid, what)
            most = most if allowed == resource.RLIM_INFINITY else min(most, allowed)
            resource.prlimit(pid, what, (most, most))


def _kernel_version() -> tuple[int, ...]:
    return tuple(int(each) for each in re.findall(r"\d+", os.uname().release)[:2])


def _wait(process: subprocess.Popen[bytes], time_limit_s: float) -> bool:
    """Whether it ended by itself in time."""
    pidfd = os.pidfd_open(process.pid)
    try:
        return bool(select.select([pidfd], [], [], max(time_limit_s, 0))[0])
    finally:
        os.close(pidfd)
