"""The helper of a host: root's process that loads schedulers which were proven, and takes them away again.

Listens at a Unix socket, systemd's or its own, and serves the users that its configuration allows, each client with
limits on size, rate and time. It runs no command of a client's, compiles nothing, and reads no path that a client
names: an object comes as a sealed memory file. What it needs no privilege for it gives up before the first client.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import os
import resource
import signal
import socket
import stat
import struct
import sys
import threading
import time
import tomllib
from collections.abc import Sequence
from pathlib import Path

import schedtui
from schedtui.backend.errors import BadFile, BadMessage, NotPermitted, SchedtuiError
from schedtui.backend.helper import jobs, protocol, rights
from schedtui.backend.helper.control import become_realtime
from schedtui.backend.helper.handlers import Handling
from schedtui.backend.helper.hotkey import COMBINATION, HotKey
from schedtui.backend.helper.latch import Latch
from schedtui.backend.helper.memory import hold_memory
from schedtui.backend.helper.others import Others
from schedtui.backend.helper.ownership import Ownership
from schedtui.backend.helper.permanent import Permanent
from schedtui.backend.helper.places import Places
from schedtui.backend.helper.programs import Programs
from schedtui.backend.helper.proofs import Proofs
from schedtui.backend.helper.protocol import Body, HelperStatus, Reply
from schedtui.backend.helper.server import Asked, Handler, Lane, Server
from schedtui.backend.helper.session import Limits, Pace, Session, SocketChannel
from schedtui.backend.model import MachineInfo
from schedtui.backend.probes.kernel_id import read_kernel_id
from schedtui.backend.probes.sampler import Samplers
from schedtui.backend.probes.scheduler import default_scheduler
from schedtui.backend.probes.topology import read_memory_mib, read_topology
from schedtui.paths import shipped

LIMITS = Limits(
    message_bytes=256 << 10,
    unread_bytes=24 << 20,
    messages_per_s=100.0,
    half_message_s=10.0,
    unanswered=16,
    files=2,
    greets_first=True,
)
MOST_SESSIONS = 24
MOST_OF_A_USER = 8
"""So that one user's clients keep nobody else's out; root always has a place."""
MOST_FILES = 4096
REFUSALS_PER_S = 20.0
CANNOT_START = 78
"""The exit code for a wrong configuration, as in sysexits.h."""
_BACKLOG = 64
_FIRST_PASSED = 3
_MAX_UID = 1 << 32
_SETUP = "Run: sudo schedtui setup"


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until a signal. Returns the exit code."""
    options = _options().parse_args(arguments)
    places = Places.given(options.root)
    try:
        if os.geteuid() != 0 and places.root == Path("/"):
            raise NotPermitted("The helper is started as root, by systemd or for a session.", _SETUP)
        return Daemon(places, _allowed(places, options.allow), options.idle_exit).serve()
    except SchedtuiError as error:
        print(f"schedtui: the helper was not started. {error.message} {error.remedy}".rstrip(), file=sys.stderr)
        return CANNOT_START


class Daemon:
    """One helper. ``allowed`` are the users that it serves beside root."""

    def __init__(self, places: Places, allowed: frozenset[int], idle_exit_s: float | None = None) -> None:
        self._places = places
        self._allowed = allowed
        self._idle_exit_s = idle_exit_s
        self._idle_since: float | None = None
        self._began = time.time()
        self._notes: list[str] = []
        self._refusals = Pace(REFUSALS_PER_S)
        self._own_socket = False

    def serve(self) -> int:
        """Until SIGTERM, SIGINT, or nobody needs it. Raises SchedtuiError when it cannot begin."""
        _set_limits()
        os.umask(0o077)
        listener = _passed_socket() or self._bound_socket()
        self._notes += rights.give_up()
        if not hold_memory(lean=True):
            self._notes.append("The helper's memory could not be locked: under a bad scheduler it may have to wait.")
        become_realtime()
        threading.excepthook = _end_for_a_fault
        others = Others(self._places.state, root=self._places.root)
        self._server = Server(
            _machine_info(),
            Samplers(lambda: _probe(self._places)),
            latch=Latch(self._places.latch, self._places.last_panic),
            stop_others=others.stop_restarters,
            watch_heartbeat=True,
        )
        control = self._server.control
        self._hot_key = HotKey(lambda: control.panic(f"{COMBINATION} was pressed"), self._places.hot_key)
        permanent = Permanent(self._places.state, root=self._places.root)
        self._ownership = Ownership(self._server.control, others, permanent, shipped("library"))
        self._proofs = Proofs(self._places, self._server)
        self._programs = Programs(shipped("library"), self._proofs, self._server)
        if self._proofs.problem:
            self._notes.append(f"The helper loads nothing: {self._proofs.problem}")
        self._server.answer_by(self._handlers())
        self._server.listen(listener, self._admit)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda _number, _frame: self._server.stop())
        for note in self._notes:
            print(note, file=sys.stderr, flush=True)
        try:
            self._server.run(self._is_idle if self._idle_exit_s is not None else None)
        finally:
            if self._own_socket:
                with contextlib.suppress(OSError):
                    self._places.socket.unlink()
            self._server.close()
        return 0

    def _handlers(self) -> dict[type[Body], Handler]:
        """Every message that a host's helper answers. What is missing here is refused: commands, loads, files."""
        handling = Handling()
        handling.server = self._server
        return {
            **handling.common(),
            **self._proofs.handlers(),
            **self._ownership.handlers(),
            **self._programs.handlers(),
            protocol.Load: Handler(Lane.IN_ORDER, self._load),
            protocol.GetStatus: Handler(Lane.LOOK, self._status),
            protocol.SetHotKey: Handler(Lane.IN_ORDER, self._set_hot_key),
        }

    def _load(self, session: Session, asked: Asked[protocol.Load]) -> Reply:
        it = asked.body
        if not it.sealed or it.object:
            raise BadMessage("A host takes an object as a sealed memory file alone.")
        if asked.file is None:
            raise BadMessage("The object's memory file did not come with the message.")
        obj = jobs.read_sealed(asked.file)
        self._proofs.may_load(hashlib.sha256(obj).hexdigest(), it.settings, it.token)
        loaded = self._server.control.load(it.name, obj, it.settings, asked.panics, it.lease_s, session)
        return Reply(asked.id, scheduler=loaded)

    def _set_hot_key(self, _session: Session, asked: Asked[protocol.SetHotKey]) -> Reply:
        try:
            self._hot_key.turn(on=asked.body.on)
        except OSError as error:
            raise BadFile(f"{self._places.hot_key} cannot be written: {error.strerror}.", _SETUP) from error
        return Reply(asked.id)

    def _status(self, _session: Session, asked: Asked[protocol.GetStatus]) -> Reply:
        latched = self._server.control.latch.now
        status = HelperStatus(
            version=protocol.VERSION,
            program=schedtui.__version__,
            pid=os.getpid(),
            since=self._began,
            allowed=tuple(sorted(self._allowed)),
            sessions=len(self._server.sessions),
            latched=latched is not None,
            why_latched=latched.why if latched else "",
            panicked=self._server.control.latch.last_s,
            returned=self._server.control.returned,
            hot_key=self._hot_key.on,
            keyboards=self._hot_key.keyboards,
            rights=rights.held(),
            notes=tuple(self._notes),
            tokens=self._proofs.kept(),
            proves=self._proofs.problem,
        )
        return Reply(asked.id, status=status)

    def _admit(self, connection: socket.socket) -> Session | None:
        """A session for whoever may have one. Others are told why not, as long as few of them come."""
        pid, uid, _ = struct.unpack("iII", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
        refusal = self._refusal(uid)
        if refusal is None:
            return self._server.add(SocketChannel(connection), LIMITS, uid=uid, pid=pid)
        connection.setblocking(False)
        told = uid in self._allowed or not self._refusals.wait_s()
        if told:
            self._refusals.take()
            with contextlib.suppress(OSError):
                connection.send(protocol.encode(Reply(0, failure=protocol.failure_of(refusal))), socket.MSG_NOSIGNAL)
        return None

    def _refusal(self, uid: int) -> SchedtuiError | None:
        if uid == 0:
            return None
        if uid not in self._allowed:
            return NotPermitted(
                f"User {uid} may not change this computer's scheduler: the helper does not know them.",
                f"An administrator may add them to {self._places.config}, or run: sudo schedtui setup",
            )
        theirs = sum(session.uid == uid for session in self._server.sessions)
        if theirs >= MOST_OF_A_USER or len(self._server.sessions) >= MOST_SESSIONS:
            return NotPermitted(
                f"{theirs} programs of yours use the helper already, and it serves no more.", "Close one of them."
            )
        return None

    def _is_idle(self) -> bool:
        """Whether nobody has used it for long enough, and nothing that it holds runs."""
        if self._server.control.held():
            self._idle_since = None
            return False
        now = time.monotonic()
        self._idle_since = self._idle_since or now
        return now - self._idle_since >= (self._idle_exit_s or 0)

    def _bound_socket(self) -> socket.socket:
        path = self._places.socket
        try:
            path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
            path.parent.chmod(0o755)  # whatever the umask is
            found = path.parent.stat()
            if found.st_uid != os.geteuid() or found.st_mode & 0o022:
                raise NotPermitted(f"Others than root can write {path.parent}.", f"Remove it. {_SETUP}")
            if _answers(path):
                raise NotPermitted("A helper runs already.", "Start schedtui: it finds it by itself.")
            path.unlink(missing_ok=True)
            listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            listener.bind(str(path))
            path.chmod(0o666)  # who may, is asked of the kernel
            listener.listen(_BACKLOG)
        except OSError as error:
            raise BadFile(f"{path} cannot be listened at: {error.strerror or error}.", _SETUP) from error
        self._own_socket = True
        return listener


def _options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="schedtui-helper", description=__doc__)
    parser.add_argument("--allow", type=_uid, action="append", default=[], metavar="UID", help="serve this user too")
    parser.add_argument("--idle-exit", type=float, metavar="SECONDS", help="end when nobody needs it for so long")
    parser.add_argument("--root", type=Path, default=Path("/"), metavar="FOLDER", help="keep everything below it")
    return parser


def _uid(word: str) -> int:
    if not word.isdecimal() or not 0 <= int(word) < _MAX_UID - 1:
        raise argparse.ArgumentTypeError(f"“{word}” is no user id")
    return int(word)


def _allowed(places: Places, given: Sequence[int]) -> frozenset[int]:
    """The users of the configuration, where there is one, and those ``given``. Raises BadFile."""
    try:
        with places.config.open("rb") as file:
            found = os.fstat(file.fileno())
            if found.st_uid != os.geteuid() or found.st_mode & 0o022 or not stat.S_ISREG(found.st_mode):
                raise BadFile(f"Others than root can write {places.config}: it is not read.", _SETUP)
            allow = tomllib.load(file).get("allow", [])
    except FileNotFoundError:
        return frozenset(given)
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadFile(f"{places.config} cannot be read: {error}.", _SETUP) from error
    if not isinstance(allow, list) or not all(type(uid) is int and 0 <= uid < _MAX_UID - 1 for uid in allow):
        raise BadFile(f"In {places.config}, “allow” is a list of user ids such as [1000].", _SETUP)
    return frozenset([*allow, *given])


def _passed_socket() -> socket.socket | None:
    """The one that systemd listens at for us; None when it does not. Source: sd_listen_fds(3). Raises BadFile."""
    if os.environ.get("LISTEN_PID") != str(os.getpid()):
        return None
    if os.environ.get("LISTEN_FDS") != "1":
        raise BadFile("The helper's unit passes more than one socket.", _SETUP)
    os.set_inheritable(_FIRST_PASSED, False)
    try:
        listener = socket.socket(fileno=_FIRST_PASSED)
        listens = listener.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    except OSError as error:
        raise BadFile(f"What the helper's unit passes is no socket: {error.strerror}.", _SETUP) from error
    if (listener.family, listener.type) != (socket.AF_UNIX, socket.SOCK_STREAM) or not listens:
        raise BadFile("The helper's unit passes a socket of another kind.", _SETUP)
    return listener


def _answers(path: Path) -> bool:
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as link:
        link.settimeout(2)
        link.connect(str(path))
        return True
    return False


def _probe(places: Places) -> bytes | None:
    """The compiled probe that setup put there; only one that nobody but root can have written."""
    with contextlib.suppress(OSError), places.probe.open("rb") as file:
        found = os.fstat(file.fileno())
        if found.st_uid == os.geteuid() and not found.st_mode & 0o022:
            return file.read(jobs.MAX_OBJECT_BYTES)
    return None


def _machine_info() -> MachineInfo:
    sched_ext = Path("/sys/kernel/sched_ext").is_dir()
    release = os.uname().release
    return MachineInfo(
        kind="host",
        name=os.uname().nodename,
        kernel=release,
        sched_ext=sched_ext,
        default_scheduler=default_scheduler(),
        can_load=sched_ext,
        reason="" if sched_ext else f"This kernel ({release}) was built without sched_ext.",
        cpus=read_topology(),
        memory_mib=read_memory_mib(Path("/")),
        kernel_id=read_kernel_id(),
    )


def _set_limits() -> None:
    """Enough descriptors for every client; no core file, which would hold the key."""
    for which, value in ((resource.RLIMIT_NOFILE, MOST_FILES), (resource.RLIMIT_CORE, 0)):
        _, hard = resource.getrlimit(which)
        most = value if hard == resource.RLIM_INFINITY else min(value, hard)
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(which, (most, hard))


def _end_for_a_fault(fault: threading.ExceptHookArgs) -> None:
    """A helper that lacks one of its threads is worse than none: the kernel reverts, and a new one is started."""
    thread = fault.thread.name if fault.thread else "a thread"
    print(f"schedtui: the helper failed in {thread}: {fault.exc_type.__name__}: {fault.exc_value}", file=sys.stderr)
    sys.stderr.flush()
    os._exit(1)


if __name__ == "__main__":
    sys.exit(main())
