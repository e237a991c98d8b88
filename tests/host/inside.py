"""Runs inside the desktop's guest: its first process, and the servers that do there what desktop.py asks for.

The standard library only, and ``boot`` (a file of schedtui's that lies beside this one in the guest). schedtui itself
is no part of the image: it is carried in after the guest was restored, so that the snapshot outlives changes of it.
One server runs as root, in the real-time class so that it answers while a bad scheduler starves everybody; one as the
user; one more as the user executes Python in a process that goes on. A message is a line of JSON and ``bytes`` bytes.
"""

from __future__ import annotations

import ast
import contextlib
import ctypes
import json
import os
import pty
import selectors
import signal
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

HERE = "/desktop"
LIBRARY = "/opt/schedtui"
"""The schedtui that users start."""
ROOT_PORT, USER_PORT, PYTHON_PORT, VERIFY_PORT = PORTS = ("root", "user", "python", "verify")
USER, OTHER = 1000, 1001
HOMES = {0: "/root", USER: "/home/user", OTHER: "/home/other"}
PRELOADED = (
    *("msgspec.json", "click", "rich.console", "textual.app", "textual.widgets", "tomlkit", "sqlite3", "apsw"),
    *("numpy", "elftools.elf.elffile"),
)
OUTPUT_LIMIT = 8 << 20
_FDS = 4


def main() -> None:
    """Never returns: the kernel panics when its first process ends."""
    sys.path[:0] = [HERE, LIBRARY]
    import boot  # type: ignore[import-not-found]

    boot.mount()
    _furnish()
    boot.tell_wrong_clock()
    os.environ["OPENBLAS_NUM_THREADS"] = "1"
    for name in PRELOADED:
        __import__(name)
    for work in (_greet, lambda: Server(ROOT_PORT, 0).serve(), lambda: Server(USER_PORT, USER).serve(), _python):
        _fork(work)
    time.sleep(1)  # each has its port
    print("SCHEDTUI AGENT READY ON virtio", flush=True)
    while True:
        try:
            os.wait()
        except ChildProcessError:
            time.sleep(1)


def _furnish() -> None:
    """What a distribution has and an archive cannot hold."""
    Path("/").chmod(0o755)
    libc = ctypes.CDLL(None, use_errno=True)
    for folder in ("/dev/pts", "/dev/shm"):
        Path(folder).mkdir(exist_ok=True)
    libc.mount(b"devpts", b"/dev/pts", b"devpts", 0, b"ptmxmode=0666,mode=0620")
    libc.mount(b"tmpfs", b"/dev/shm", b"tmpfs", 0, b"mode=1777")
    for name in ("null", "zero", "full", "random", "urandom", "tty", "ptmx"):
        with contextlib.suppress(OSError):
            Path("/dev", name).chmod(0o666)
    for uid, home in HOMES.items():
        for folder, _, names in os.walk(home):
            for each in (folder, *(f"{folder}/{name}" for name in names)):
                if uid:
                    os.chown(each, uid, uid)
        if uid:
            Path(home).chmod(0o700)
    for program in Path("/usr/local/bin").iterdir():
        program.chmod(0o755)
    Path("/proc/sys/kernel/sysrq").write_text("1")
    Path("/proc/sys/kernel/hostname").write_text("desktop")


def _fork(work: Callable[[], None]) -> None:
    if os.fork():
        return
    try:
        os.setsid()
        work()
    except BaseException:  # noqa: BLE001 - a child must never fall through into the first process's code
        print(f"SCHEDTUI DESKTOP FAILED: {traceback.format_exc()}", flush=True)
    os._exit(1)


def _greet() -> None:
    """The lab's hello, which whoever builds and restores guests waits for; gives the guest the time of day."""
    port = Port("schedtui")
    while True:
        request = json.loads(port.line())
        time.clock_settime_ns(time.CLOCK_REALTIME, request["body"]["unix_time_ns"])
        info = {
            "kind": "lab",
            "name": "desktop",
            "kernel": os.uname().release,
            "sched_ext": Path("/sys/kernel/sched_ext").is_dir(),
            "default_scheduler": "EEVDF",
            "can_load": False,
        }
        port.send({"id": request["id"], "info": info})


class Port:
    """A virtio port by its name. One whose other end is away reads as ended, but comes back."""

    def __init__(self, name: str) -> None:
        self.fd = os.open(self._device(name), os.O_RDWR | os.O_CLOEXEC)
        self._pending = bytearray()

    def _device(self, name: str) -> str:
        for _ in range(200):
            for each in Path("/sys/class/virtio-ports").glob("*/name"):
                if each.read_text().strip() == name:
                    return f"/dev/{each.parent.name}"
            time.sleep(0.05)
        raise LookupError(name)

    def line(self) -> bytes:
        """The next line, waited for."""
        while (end := self._pending.find(b"\n")) < 0:
            self._more()
        found = bytes(self._pending[:end])
        del self._pending[: end + 1]
        return found

    def receive(self) -> tuple[dict[str, Any], bytes]:
        """The next message, waited for."""
        message = json.loads(self.line())
        size = message.get("bytes", 0)
        while len(self._pending) < size:
            self._more()
        payload = bytes(self._pending[:size])
        del self._pending[:size]
        return message, payload

    def holds_more(self) -> bool:
        """Whether a further message was read already, which no selector tells."""
        return bool(self._pending)

    def send(self, message: dict[str, Any], payload: bytes = b"") -> None:
        """Wait until it is taken."""
        if payload:
            message = {**message, "bytes": len(payload)}
        rest = memoryview(json.dumps(message).encode() + b"\n" + payload)
        while rest:
            rest = rest[os.write(self.fd, rest) :]

    def _more(self) -> None:
        while not (data := os.read(self.fd, 1 << 20)):
            time.sleep(0.005)
        self._pending += data


class Job:
    """A process, what it printed, and who waits for its end."""

    def __init__(self, pid: int, out: int, err: int, terminal: int | None) -> None:
        self.pid, self.out, self.err, self.terminal = pid, out, err, terminal
        self.code: int | None = None
        self.began = time.monotonic()
        self.seconds = 0.0
        self.waiter: int | None = None
        self.deadline = float("inf")
        self.timed_out = False
        self.pidfd = os.pidfd_open(pid)

    def told(self) -> tuple[dict[str, Any], bytes]:
        """Its state; the payload is standard output, then standard error."""
        out, err = (os.pread(each, OUTPUT_LIMIT, 0) for each in (self.out, self.err))
        told = {
            "pid": self.pid,
            "code": self.code,
            "seconds": self.seconds,
            "timed_out": self.timed_out,
            "out": len(out),
        }
        return told, out + err


class Server:
    """Does what is asked for over one port, in one thread, so that it may fork. Processes go on beside each other."""

    def __init__(self, port: str, uid: int) -> None:
        self.port = Port(port)
        self.uid = uid
        if uid:
            become(uid)
        else:
            with contextlib.suppress(OSError):  # what it starts is of the normal class
                os.sched_setscheduler(0, os.SCHED_FIFO | os.SCHED_RESET_ON_FORK, os.sched_param(10))
        self.selector = selectors.DefaultSelector()
        self.selector.register(self.port.fd, selectors.EVENT_READ, None)
        self.jobs: dict[int, Job] = {}

    def serve(self) -> None:
        while True:
            soonest = min((job.deadline for job in self.jobs.values() if job.code is None), default=float("inf"))
            left = None if soonest == float("inf") else max(0.0, soonest - time.monotonic())
            for key, _ in self.selector.select(0 if self.port.holds_more() else left):
                if key.data is not None:
                    what, job = key.data
                    (self._ended if what == "end" else self._printed)(job)
                else:
                    self._answer()
            if self.port.holds_more():
                self._answer()
            for job in self.jobs.values():
                if job.code is None and time.monotonic() > job.deadline:
                    job.timed_out = True
                    job.deadline = float("inf")
                    with contextlib.suppress(ProcessLookupError):
                        os.killpg(job.pid, signal.SIGKILL)

    def _answer(self) -> None:
        message, payload = self.port.receive()
        number = message["id"]
        try:
            reply = getattr(self, f"do_{message['op']}")(message, payload)
        except Exception:  # noqa: BLE001 - the edge: the test shows it
            self.port.send({"id": number, "error": traceback.format_exc()})
            return
        if reply is not None:
            told, data = reply
            self.port.send({"id": number, **told}, data)

    def do_run(self, message: dict[str, Any], payload: bytes) -> None:
        """Answered when it ends, or at its time limit."""
        job = self._start(message, payload)
        job.waiter = message["id"]
        job.deadline = time.monotonic() + message["timeout_s"]

    def do_start(self, message: dict[str, Any], payload: bytes) -> tuple[dict[str, Any], bytes]:
        job = self._start(message, payload)
        return {"pid": job.pid}, b""

    def do_look(self, message: dict[str, Any], _: bytes) -> tuple[dict[str, Any], bytes]:
        return self.jobs[message["pid"]].told()

    def do_type(self, message: dict[str, Any], payload: bytes) -> tuple[dict[str, Any], bytes]:
        terminal = self.jobs[message["pid"]].terminal
        assert terminal is not None
        os.write(terminal, payload)
        return {}, b""

    def do_signal(self, message: dict[str, Any], _: bytes) -> tuple[dict[str, Any], bytes]:
        with contextlib.suppress(ProcessLookupError):
            (os.killpg if message["group"] else os.kill)(message["pid"], message["signal"])
        return {}, b""

    def do_read(self, message: dict[str, Any], _: bytes) -> tuple[dict[str, Any], bytes]:
        try:
            return {}, Path(message["path"]).read_bytes()
        except OSError as error:
            return {"errno": error.errno}, b""

    def do_write(self, message: dict[str, Any], payload: bytes) -> tuple[dict[str, Any], bytes]:
        path = Path(message["path"])
        uid = message["uid"]
        made = [each for each in (path.parent, *path.parent.parents) if not each.exists()]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(payload)
        path.chmod(message["mode"])
        for each in (path, *made) if self.uid == 0 else ():
            os.chown(each, uid, uid)
        return {}, b""

    def do_unpack(self, message: dict[str, Any], payload: bytes) -> tuple[dict[str, Any], bytes]:
        archive = os.memfd_create("archive")
        with os.fdopen(archive, "w+b") as file:
            file.write(payload)
            file.flush()
            command = ["tar", "x", "-o", "-C", message["folder"], "-f", f"/proc/{os.getpid()}/fd/{archive}"]
            code = os.waitstatus_to_exitcode(os.waitpid(os.posix_spawn("/bin/tar", command, {}), 0)[1])
        return {"code": code}, b""

    def do_preload(self, message: dict[str, Any], _: bytes) -> tuple[dict[str, Any], bytes]:
        for name in message["modules"]:
            __import__(name)
        return {}, b""

    def do_relay(self, message: dict[str, Any], _: bytes) -> tuple[dict[str, Any], bytes]:
        """A root process that bridges a Unix socket of the guest to the outer computer."""
        place = Path(message["path"])
        place.parent.mkdir(parents=True, exist_ok=True)
        place.unlink(missing_ok=True)
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listening.bind(str(place))
        place.chmod(0o600)
        listening.listen(8)
        _fork(lambda: Relay(listening).serve())
        listening.close()
        return {}, b""

    def _start(self, message: dict[str, Any], payload: bytes) -> Job:
        master, slave = pty.openpty() if message.get("terminal") else (None, None)
        out, err = os.memfd_create("out"), os.memfd_create("err")
        given = os.memfd_create("in")
        os.write(given, payload)
        os.lseek(given, 0, os.SEEK_SET)
        pid = os.fork()
        if not pid:
            code = 127
            try:
                code = self._become_job(message, (given, out, err) if slave is None else (slave,) * 3)
            except BaseException:  # noqa: BLE001 - a child must never fall through into the server's code
                traceback.print_exc()
            with contextlib.suppress(Exception):
                sys.stdout.flush()
                sys.stderr.flush()
            os._exit(code)
        os.close(given)
        if slave is not None:
            os.close(slave)
        job = self.jobs[pid] = Job(pid, out, err, master)
        self.selector.register(job.pidfd, selectors.EVENT_READ, ("end", job))
        if master is not None:
            self.selector.register(master, selectors.EVENT_READ, ("print", job))
        return job

    def _become_job(self, message: dict[str, Any], streams: tuple[int, ...]) -> int:
        os.setsid()
        signal.pthread_sigmask(signal.SIG_SETMASK, [])
        for target, each in enumerate(streams):
            os.dup2(each, target)
        os.closerange(3, 4096)
        uid = message.get("uid", self.uid)
        if message.get("terminal"):
            _take_terminal(message["terminal"])
        if uid != self.uid:
            become(uid)
        home = HOMES.get(uid, "/")
        environment = {
            "PATH": "/usr/local/bin:/usr/bin:/bin",
            "HOME": home,
            "USER": {0: "root", USER: "user", OTHER: "other"}.get(uid, str(uid)),
            "LANG": "C.UTF-8",
            "TERM": "xterm-256color",
            **message.get("env", {}),
        }
        os.chdir(message.get("folder", home))
        argv = message["argv"]
        if not message.get("loaded"):
            os.execvpe(argv[0], argv, environment)
        return _run_loaded(argv, environment)

    def _printed(self, job: Job) -> None:
        assert job.terminal is not None
        try:
            data = os.read(job.terminal, 1 << 16)
        except OSError:
            data = b""
        if data:
            os.write(job.out, data)
        else:
            self.selector.unregister(job.terminal)

    def _ended(self, job: Job) -> None:
        self.selector.unregister(job.pidfd)
        os.close(job.pidfd)
        job.code = os.waitstatus_to_exitcode(os.waitpid(job.pid, 0)[1])
        job.seconds = time.monotonic() - job.began
        if job.waiter is not None:
            told, data = job.told()
            self.port.send({"id": job.waiter, **told}, data)
            for each in (job.out, job.err):
                os.close(each)
            del self.jobs[job.pid]


def become(uid: int) -> None:
    """This process is that user's from now on."""
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)
    os.environ.update(HOME=HOMES.get(uid, "/"), USER=str(uid), PATH="/usr/local/bin:/usr/bin:/bin", LANG="C.UTF-8")


def _take_terminal(size: list[int]) -> None:
    import fcntl
    import struct
    import termios

    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", size[1], size[0], 0, 0))


def _run_loaded(argv: list[str], environment: dict[str, str]) -> int:
    """The schedtui command in this process, where most of what it imports is imported already."""
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = ["schedtui", *argv]
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        stream = os.fdopen(number, mode, encoding="utf-8", closefd=False)
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)
    from schedtui.__main__ import main as command

    try:
        return command()
    except SystemExit as end:
        if end.code is None or isinstance(end.code, int):
            return end.code or 0
        print(end.code, file=sys.stderr)
        return 1


def _python() -> None:
    """Executes Python in one namespace that goes on; each request in a thread, so that one may wait for another."""
    port = Port(PYTHON_PORT)
    become(USER)
    os.chdir(HOMES[USER])
    namespace: dict[str, Any] = {"__name__": "desktop"}
    sending = threading.Lock()

    def execute(message: dict[str, Any], code: bytes) -> None:
        try:
            result = _value_of(code.decode(), namespace)
            reply = {"result": _plain(result)}
        except BaseException as error:  # noqa: BLE001 - the test shows it
            reply = {"error": traceback.format_exc(), "kind": type(error).__name__, "text": str(error)}
        with sending:
            port.send({"id": message["id"], **reply})

    while True:
        threading.Thread(target=execute, args=port.receive(), daemon=True).start()


def _value_of(code: str, namespace: dict[str, Any]) -> Any:
    """Execute it; the value of its last line, when that is an expression."""
    statements = ast.parse(code).body
    last = statements.pop() if statements and isinstance(statements[-1], ast.Expr) else None
    exec(compile(ast.Module(statements, []), "<desktop>", "exec"), namespace)
    return eval(compile(ast.Expression(last.value), "<desktop>", "eval"), namespace) if last else None  # type: ignore[attr-defined]


def _plain(value: Any) -> Any:
    import msgspec

    return msgspec.to_builtins(value, enc_hook=str)


class Relay:
    """Connections to a Unix socket of the guest, carried over the port with the memory files that come along."""

    def __init__(self, listening: socket.socket) -> None:
        with contextlib.suppress(OSError):
            os.sched_setscheduler(0, os.SCHED_FIFO | os.SCHED_RESET_ON_FORK, os.sched_param(10))
        self.port = Port(VERIFY_PORT)
        self.listening = listening
        self.selector = selectors.DefaultSelector()
        self.connections: dict[int, socket.socket] = {}
        self.count = 0
        for each in (listening, self.port.fd):
            self.selector.register(each, selectors.EVENT_READ)

    def serve(self) -> None:
        while True:
            if self.port.holds_more():
                self._from_outside()
                continue
            for key, _ in self.selector.select():
                if key.fileobj is self.listening:
                    self._accept()
                elif key.fileobj == self.port.fd:
                    self._from_outside()
                else:
                    self._from_inside(key.data)

    def _accept(self) -> None:
        connection, _ = self.listening.accept()
        self.count += 1
        self.connections[self.count] = connection
        self.selector.register(connection, selectors.EVENT_READ, self.count)
        self.port.send({"connection": self.count, "what": "open"})

    def _from_inside(self, number: int) -> None:
        connection = self.connections.get(number)
        if connection is None:
            return
        try:
            data, descriptors, _, _ = socket.recv_fds(connection, 1 << 20, _FDS)
        except OSError:
            data, descriptors = b"", []
        if not data and not descriptors:
            self._forget(number)
            self.port.send({"connection": number, "what": "close"})
            return
        files = [self._content(each) for each in descriptors]
        sizes = [len(each) for each in files]
        self.port.send({"connection": number, "what": "data", "files": sizes}, b"".join((*files, data)))

    def _content(self, descriptor: int) -> bytes:
        size = os.fstat(descriptor).st_size
        content = os.pread(descriptor, size, 0)
        os.close(descriptor)
        return content

    def _from_outside(self) -> None:
        message, payload = self.port.receive()
        number = message["connection"]
        connection = self.connections.get(number)
        if connection is None:
            return
        if message["what"] == "close":
            self._forget(number)
            return
        with contextlib.suppress(OSError):
            connection.sendall(payload)

    def _forget(self, number: int) -> None:
        connection = self.connections.pop(number)
        self.selector.unregister(connection)
        connection.close()


if __name__ == "__main__":
    main()
