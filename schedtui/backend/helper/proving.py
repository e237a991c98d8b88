"""The helper's own verification: has an unprivileged process judge an object, and signs what passed.

What that process says is read with limits and believed in one thing alone, its judgement: the report must be about the
very bytes, settings and rules that the helper sent, and is held against the kernel that runs here. How it judges is
``verifier``'s. Runs as root: the standard library and msgspec only.

What counts as generated, so that a person is asked before it runs: every object that is not one of the library's, as
this computer's clang compiled it when setup ran (``library.json``). That something is generated, a client is believed;
that it is not, it is not.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import pwd
import select
import shutil
import signal
import socket
import stat
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from schedtui.backend.errors import (
    BY_KIND,
    BadFile,
    BadMessage,
    BadTunable,
    CompileFailed,
    Interrupted,
    KernelUnsuitable,
    LabFailed,
    LoadRejected,
    MissingTool,
    NotPermitted,
    NotProven,
    SchedtuiError,
)
from schedtui.backend.helper import jobs, protocol
from schedtui.backend.helper.jobs import Job, Word
from schedtui.backend.helper.polkit import Asker, Permissions
from schedtui.backend.helper.tokens import Tokens, Wanted, check
from schedtui.backend.model import KernelId, Program, Report, Setting, worst
from schedtui.backend.probes.kernel_id import read_kernel_id
from schedtui.backend.verifier.edition import rules_version
from schedtui.backend.verifier.findings import presentable
from schedtui.backend.verifier.holding import on_kernel

LIMIT_S = 900.0
"""For one verification; most take 10 to 60 s, and one that must build its guest first a minute more."""
USERS = ("schedtui-verify", "nobody")
LONGEST_NAME = 64
LONGEST_WORDS = 400
_LOOK_S = 0.25
_LAST_WORDS_BYTES = 2048
_DETAILS = 8192
_SEND_LIMIT_S = 20.0
_LIBRARY_LIMIT_BYTES = 1 << 20
_STAGES = ("object", "bytecode", "kernel")
_STAGES_OF_PROGRAMS = ("kernel",)
_TRY_AGAIN = "Try again; if it happens again, run: schedtui doctor"
_SETUP = "Set it up again: sudo schedtui setup"
_ITS_ERRORS = (BadTunable, CompileFailed, KernelUnsuitable, LabFailed, LoadRejected, MissingTool, NotPermitted)
_BECOME = (
    "import json, sys; sys.path[:] = json.loads(sys.argv.pop(1)); from schedtui.backend.helper.confined import main; "
    "main()"
)
_SERVE = (
    "import json, sys; sys.path[:] = json.loads(sys.argv.pop(1)); from schedtui.backend.verifier.service import main; "
    "sys.exit(main())"
)
_FLAGS = "-ISB"

Told = Callable[[str], None]
Gone = Callable[[], bool]


class Proven(Struct, frozen=True, kw_only=True):
    """What came of a verification. Without a token, nothing may be loaded."""

    report: Report
    token: str = ""


class Prover:
    """Proves, and knows what was proven. Methods may be called from any thread; one verification runs at a time."""

    def __init__(
        self,
        state: Path,
        verifier: Verifier,
        *,
        permissions: Permissions | None = None,
        kernel: Callable[[], KernelId | None] = read_kernel_id,
        rules: Callable[[], str] = rules_version,
    ) -> None:
        """``state`` is the helper's own folder. Raises BadFile when it cannot be used, or its key not be trusted."""
        self.tokens = Tokens(state)
        self._verifier = verifier
        self._permissions = permissions or Permissions(state)
        self._library = state / "library.json"
        self._read_kernel = kernel
        self._rules = rules
        self._known_kernel: KernelId | None = None
        self._turn = threading.Lock()

    def prove(
        self,
        name: str,
        obj: bytes,
        settings: dict[str, Setting],
        *,
        quick: bool = False,
        generated: bool = False,
        asker: Asker,
        tell: Told = lambda _words: None,
        gone: Gone = lambda: False,
    ) -> Proven:
        """Judge exactly these bytes with these settings, unless that was done before; and sign what passed.

        ``tell`` gets what is being done; ``gone`` says when nobody waits for it any more. What is not of the library is
        never judged quickly, and a person is asked for it once. Raises NotPermitted when they did not permit it,
        Interrupted when ``gone``, and SchedtuiError for whatever kept it from being judged. Nothing of that leaves a
        token.
        """
        _check_request(name, settings)
        digest = hashlib.sha256(obj).hexdigest()
        wanted = self.wanted(digest, settings)

        def judge() -> Report:
            with _closing(jobs.sealed(obj)) as memory:
                return self._judge(_job(name, settings, quick=quick), memory, wanted, tell, gone)

        generated = generated or not self.is_of_the_library(digest)
        quick = quick and not generated
        if generated:
            self._permissions.check_possible(digest, asker)
        proven = self._known(wanted, quick=quick)
        if proven is None:
            with self._alone(tell, gone):
                proven = self._known(wanted, quick=quick)  # somebody else may have asked for the same
                if proven is None:
                    report = judge()
                    proven = Proven(report=report) if generated else self._signed(report, wanted, generated=False)
        if proven.report.verdict == "fail" or not generated:
            return proven
        tell("waiting for your permission: this code is new here")
        self._permissions.need(digest, name, asker, gone)
        return proven if proven.token else self._signed(proven.report, wanted, generated=True)

    def prove_program(
        self,
        program: Program,
        descriptor: int,
        settings: dict[str, Setting],
        *,
        quick: bool = False,
        tell: Told = lambda _words: None,
        gone: Gone = lambda: False,
    ) -> Proven:
        """The same for an external scheduler, which the caller found to be root's alone, opened and hashed.

        Its arguments are what the helper wrote for these settings; the program has the last stage only.
        """
        _check_request(program.name, settings)
        wanted = self.wanted(program.digest, settings, program.arguments)
        proven = self._known(wanted, quick=quick)
        if proven is not None:
            return proven
        with self._alone(tell, gone):
            proven = self._known(wanted, quick=quick)
            if proven is not None:
                return proven
            job = _job(program.name, settings, quick=quick, program=program)
            with _closing(jobs.sealed_copy(descriptor)) as memory:
                return self._signed(self._judge(job, memory, wanted, tell, gone), wanted, generated=False)

    def may_load(
        self, digest: str, settings: dict[str, Setting], token: str = "", *, arguments: tuple[str, ...] = ()
    ) -> None:
        """Return when this may be loaded now: by a token that is kept here, or the one that a client held.

        ``digest`` is that of the object, or ``Program.digest`` of a program with these ``arguments``. Raises NotProven
        with the reason.
        """
        wanted = self.wanted(digest, settings, arguments)
        if token:
            check(self.tokens.key.read(token), wanted)
        else:
            self.tokens.find(wanted)

    def wanted(self, digest: str, settings: dict[str, Setting], arguments: tuple[str, ...] = ()) -> Wanted:
        """What a token must be about to permit this, here and now. Raises KernelUnsuitable."""
        return Wanted(digest=digest, settings=settings, kernel=self.kernel(), rules=self._rules(), arguments=arguments)

    def kernel(self) -> KernelId:
        """The kernel that runs. Raises KernelUnsuitable when it does not tell which it is."""
        if self._known_kernel is None:
            self._known_kernel = self._read_kernel()
        if self._known_kernel is None:
            raise KernelUnsuitable(
                "This kernel does not tell its build and its types, so nothing can be proven for it.",
                "Use a kernel with CONFIG_DEBUG_INFO_BTF, as all distributions with sched_ext ship.",
            )
        return self._known_kernel

    def is_of_the_library(self, digest: str) -> bool:
        """Whether setup compiled exactly these bytes from the helper's own library."""
        try:
            with self._library.open("rb") as file:
                found = os.fstat(file.fileno())
                content = file.read(_LIBRARY_LIMIT_BYTES)
            if found.st_uid != os.geteuid() or found.st_mode & 0o022:
                return False
            return digest in msgspec.json.decode(content, type=dict[str, str])
        except (OSError, msgspec.DecodeError, UnicodeDecodeError):
            return False

    def _known(self, wanted: Wanted, *, quick: bool) -> Proven | None:
        """A token that holds; a full proof answers for a quick one as well."""
        with contextlib.suppress(NotProven, BadFile):
            text, token, report = self.tokens.find(wanted)
            return Proven(report=report, token=text) if quick or not token.quick else None
        return None

    def _signed(self, report: Report, wanted: Wanted, *, generated: bool) -> Proven:
        """With a token, when it passed."""
        if report.verdict == "fail":
            return Proven(report=report)
        return Proven(report=report, token=self.tokens.issue(report, wanted, generated=generated))

    @contextlib.contextmanager
    def _alone(self, tell: Told, gone: Gone) -> Iterator[None]:
        if not self._turn.acquire(blocking=False):
            tell("waiting: another policy is being verified")
            while not self._turn.acquire(timeout=_LOOK_S):
                if gone():
                    raise Interrupted("Nobody waits for the verification any more.")
        try:
            yield
        finally:
            self._turn.release()

    def _judge(self, job: Job, memory: int, wanted: Wanted, tell: Told, gone: Gone) -> Report:
        report = self._verifier.judge(job, memory, tell, gone)
        wrong = _wrong_with(report, job, wanted)
        if wrong:
            raise NotProven(f"The verifier's report is not used: {wrong}.", _TRY_AGAIN)
        return on_kernel(replace(report, made_at=time.time()), wanted.kernel)


def _job(name: str, settings: dict[str, Setting], *, quick: bool, program: Program | None = None) -> Job:
    return Job(version=jobs.VERSION, name=name, settings=settings, quick=quick, program=program)


@contextlib.contextmanager
def _closing(descriptor: int) -> Iterator[int]:
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _check_request(name: str, settings: dict[str, Setting]) -> None:
    if not name or len(name) > LONGEST_NAME or not name.isprintable():
        raise BadMessage("A policy's name has 1 to 64 letters.")
    if len(msgspec.json.encode(settings)) > jobs.MAX_JOB_BYTES // 2:
        raise BadMessage("Those are more settings than any policy has.")


def _wrong_with(report: Report, job: Job, wanted: Wanted) -> str:
    """Why a report cannot be about what was sent; empty when it is about exactly that."""
    stages = tuple(each.name for each in report.stages)
    if report.digest != wanted.digest:
        return "it is about another object"
    if msgspec.json.encode(report.settings, order="sorted") != msgspec.json.encode(job.settings, order="sorted"):
        return "it is about other settings"
    if report.quick != job.quick:
        return "it was made in another way than was asked for"
    if report.rules != wanted.rules:
        return "it was made under other rules than the helper's"
    if report.verdict != worst(each.verdict for each in report.stages) or not stages:
        return "its verdict is not that of its stages"
    needed = _STAGES if job.program is None else _STAGES_OF_PROGRAMS
    if report.verdict != "fail" and (stages != needed or report.kernel is None):
        return "stages of it are missing"
    if report.name != job.name:
        return "it is about something of another name"
    return ""


class Verifier:
    """Reaches a verifying process: systemd's, when its socket is there, else one that it starts itself."""

    def __init__(self, socket_path: Path, spawn: Spawn, *, limit_s: float = LIMIT_S) -> None:
        self._socket_path = socket_path
        self._spawn = spawn
        self._limit_s = limit_s

    def judge(self, job: Job, memory: int, tell: Told, gone: Gone) -> Report:
        """What the process found of a sealed memory file; believed in nothing yet.

        Raises SchedtuiError, Interrupted when ``gone``.
        """
        deadline = time.monotonic() + self._limit_s
        link = self._connected()
        if link is not None:
            with link:
                return _converse(link, job, memory, deadline, tell, gone)
        with self._spawn.started() as (ours, last_words):
            try:
                return _converse(ours, job, memory, deadline, tell, gone)
            except LabFailed as error:
                raise LabFailed(error.message, error.remedy, error.details or last_words()) from error

    def _connected(self) -> socket.socket | None:
        """A connection to systemd's; None when there is none. Raises NotProven for one that is not root's."""
        try:
            found = self._socket_path.lstat()
        except OSError:
            return None
        if not stat.S_ISSOCK(found.st_mode) or found.st_uid != 0:
            raise NotProven(f"{self._socket_path} is not root's, so nothing is asked there.", _SETUP)
        link = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        try:
            link.settimeout(_SEND_LIMIT_S)
            link.connect(str(self._socket_path))
            _, uid, _ = struct.unpack("3i", link.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
        except ConnectionRefusedError:  # left by a unit that is gone
            link.close()
            return None
        except OSError as error:
            link.close()
            raise LabFailed(f"The verifier does not answer: {error.strerror or error}.", _TRY_AGAIN) from error
        if uid != 0:
            link.close()
            raise NotProven(f"Another user listens at {self._socket_path}.", _SETUP)
        return link


class Spawn(Struct, frozen=True, kw_only=True):
    """How a verifying process is started where systemd does not do it."""

    cache: Path
    """Its own folder, which is made; in one that it may pass through."""
    prepared: Path | None = None
    kernel: Path | None = None
    """The image to judge on; None: this computer's own."""
    python: str = sys.executable
    import_paths: tuple[str, ...] = tuple(sys.path)
    users: tuple[str, ...] = USERS
    """The first of these that the system has is whom it runs as."""

    @contextlib.contextmanager
    def started(self) -> Iterator[tuple[socket.socket, Callable[[], str]]]:
        """A process, until the context ends: our end of its socket, and what it says last when it fails.

        Raises LabFailed.
        """
        user = self._user()
        ours, theirs = socket.socketpair()
        with ours, os.fdopen(os.memfd_create("errors", os.MFD_CLOEXEC), "w+b") as errors:
            with theirs:
                try:
                    _give(self.cache, user)
                    process = subprocess.Popen(
                        self._command(user, theirs.fileno()),
                        stdin=subprocess.DEVNULL,
                        stdout=subprocess.DEVNULL,
                        stderr=errors,
                        pass_fds=(theirs.fileno(),),
                        start_new_session=True,
                        env={},
                        cwd="/",
                    )
                except OSError as error:
                    raise LabFailed(f"The verifier cannot be started: {error}.", _SETUP) from error

            def last_words() -> str:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(1)
                said = os.pread(
                    errors.fileno(), _LAST_WORDS_BYTES, max(0, os.fstat(errors.fileno()).st_size - _LAST_WORDS_BYTES)
                )
                return _tame(said.decode("utf-8", "replace").strip().rpartition("\n")[2])

            try:
                yield ours, last_words
            finally:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()

    def _user(self) -> pwd.struct_passwd:
        for name in self.users:
            with contextlib.suppress(KeyError):
                return pwd.getpwnam(name)
        raise LabFailed(f"There is no user to verify as: neither {' nor '.join(self.users)} exists here.", _SETUP)

    def _command(self, user: pwd.struct_passwd, link: int) -> list[str]:
        paths = msgspec.json.encode(self.import_paths).decode()
        become = [*(self.python, _FLAGS, "-c", _BECOME, paths), str(user.pw_uid), str(user.pw_gid), str(os.getpid())]
        serve = [*(self.python, _FLAGS, "-c", _SERVE, paths), "--cache", str(self.cache), "--fd", str(link)]
        given = (("--prepared", self.prepared), ("--kernel", self.kernel))
        return [*become, *serve, *(word for name, value in given if value for word in (name, str(value)))]


def _give(folder: Path, user: pwd.struct_passwd) -> None:
    """A folder of that user's own; what another user left in its place goes."""
    with contextlib.suppress(FileNotFoundError):
        if folder.lstat().st_uid != user.pw_uid:
            shutil.rmtree(folder)
    folder.mkdir(mode=0o700, exist_ok=True)
    os.chown(folder, user.pw_uid, user.pw_gid, follow_symlinks=False)


def _converse(link: socket.socket, job: Job, memory: int, deadline: float, tell: Told, gone: Gone) -> Report:
    """Hand over the job, tell what is being done, and return the report. Raises what kept it from being judged."""
    try:
        _send(link, job, memory)
        for word in _words(link, deadline, gone):
            if word.report is not None:
                return replace(word.report, stages=tuple(presentable(each) for each in word.report.stages))
            if word.failure is not None:
                raise _failed(word.failure)
            tell(_tame(word.progress))
    except OSError as error:
        raise LabFailed("The verifying process ended before it said anything.", _TRY_AGAIN) from error
    except BadMessage as error:
        raise LabFailed("The verifying process said something that is no report.", _TRY_AGAIN, str(error)) from error
    raise LabFailed("The verifying process ended without a report.", _TRY_AGAIN)


def _send(link: socket.socket, job: Job, memory: int) -> None:
    message = jobs.encode(job)
    link.settimeout(_SEND_LIMIT_S)
    sent = socket.send_fds(link, [message], [memory])
    if sent < len(message):
        link.sendall(message[sent:])


def _words(link: socket.socket, deadline: float, gone: Gone) -> Iterator[Word]:
    """What the process says, until it ends. Raises BadMessage for what is none of it, or has no end."""
    pending, total = bytearray(), 0
    while True:
        if gone():
            raise Interrupted("Nobody waits for the verification any more.")
        if time.monotonic() > deadline:
            raise LabFailed("The verifying process came to no end, and was ended.", _TRY_AGAIN)
        if not select.select([link], [], [], _LOOK_S)[0]:
            continue
        data = link.recv(1 << 16)
        if not data:
            return
        total += len(data)
        pending += data
        if total > jobs.MAX_ANSWER_BYTES or len(pending) > jobs.MAX_WORD_BYTES:
            raise BadMessage("It says more than any verification does.")
        if b"\n" in data:
            *lines, pending = pending.split(b"\n")
            for line in lines:
                yield jobs.decode_word(bytes(line))


def _failed(failure: protocol.Failure) -> SchedtuiError:
    """The error that the process names, as far as it may: none that says anything of the helper itself."""
    kind = BY_KIND.get(failure.kind, LabFailed)
    kind = kind if kind in _ITS_ERRORS else LabFailed
    details = "\n".join(_tame(line) for line in failure.details[:_DETAILS].splitlines())
    return kind(_tame(failure.message) or "The verifier failed.", _tame(failure.remedy), details)


def _tame(text: str) -> str:
    """At most a line of it, and nothing in it that a terminal would obey."""
    return "".join(each if each.isprintable() else " " for each in text[:LONGEST_WORDS]).strip()
