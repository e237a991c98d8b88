"""A scheduler that is a program of its own, started and held: the scx_* programs.

It runs from a file descriptor, so that it is the very file that was looked at, with an empty environment and nothing of
ours open. It dies with the helper: by its parent-death signal, and by its control group, which the next helper empties.
Which file may be started, and with which arguments, is left to others. Runs where the kernel is, as ``loader`` does.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import itertools
import os
import re
import signal
import stat
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path

from msgspec.structs import replace

from schedtui.backend.bpf import kernel_says
from schedtui.backend.errors import BadFile, BadTunable, Interrupted, KernelUnsuitable, LoadRejected, SchedtuiError
from schedtui.backend.model import ExitInfo, Setting

START_LIMIT_S = 120.0
"""Until the kernel reports it. A second on a computer; up to a minute where it is emulated, and others compute."""
_PATIENCE_S = 25.0
"""A program may be without the kernel for so long: it starts itself anew when CPUs come or go, or ends by itself. It
takes a second or two on a computer."""
_INTERRUPT_S, _TERMINATE_S, _SETTLE_S = 4.0, 2.0, 10.0
_POLL_S = 0.01
_OUTPUT_BYTES = 64 << 10
_PIPE_BYTES = 1 << 20
_TAIL_LINES = 40
_NICE = -15
"""It comes up, and does its own part of scheduling, beside whatever computes."""
_COLOURS = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
_PR_SET_PDEATHSIG, _PR_SET_NO_NEW_PRIVS = 1, 38
_GROUP = "schedtui-program"
_numbers = itertools.count(1)
_CGROUPS = (Path("/sys/fs/cgroup"), Path("/sys/fs/cgroup/unified"))
_ELF_MAGIC = b"\x7fELF"
_libc = ctypes.CDLL(None, use_errno=True)


class RunningProgram:
    """A program that the kernel schedules by. Its methods may be called from any thread."""

    def __init__(
        self,
        process: _Process,
        state: kernel_says.State,
        log: kernel_says.KernelLog,
        trace: kernel_says.DumpTrace,
    ) -> None:
        self.name = state.ops
        """As the kernel names it."""
        self.enable_seq = state.enable_seq
        """The kernel's count when it was enabled last: it starts itself anew when CPUs come or go."""
        self.pid = process.pid
        self._process = process
        self._log = log
        self._trace = trace
        self._lock = threading.Lock()
        self._away_since: float | None = None
        self._exit: ExitInfo | None = None

    def statistics(self) -> dict[str, int]:
        """None: what it counts is its own."""
        return {}

    def output(self) -> str:
        """What it printed last, up to 64 KiB."""
        return self._process.output()

    def tune(self, settings: dict[str, Setting]) -> None:
        """Raises BadTunable: its arguments are given when it starts."""
        raise BadTunable(f"{self.name} cannot be changed while it runs.", "Apply it anew with that setting.")

    def exit_info(self) -> ExitInfo | None:
        """None while the kernel runs it; else why it ended. Takes up what it printed since the last call."""
        with self._lock:
            self._process.drain()
            if self._exit is None and self._is_over():
                self._exit = self._ended()
            return self._exit

    def follows(self, name: str, _enable_seq: int) -> bool:
        """A program starts itself anew when CPUs come or go."""
        return name == self.name and not self._process.ended()

    def unload(self, *, at_once: bool = False) -> ExitInfo:
        """Ask it to end, then make it, and say why it ended. Returns when the kernel has taken it out.

        ``at_once``: it is killed, and not asked. May be called again, and by several threads. Raises SchedtuiError when
        the kernel does not finish within 10 s.
        """
        with self._lock:
            if self._exit is None:
                if not at_once:
                    self._process.ask_to_end(self._is_out)
                self._process.kill()
                if not self._process.wait_until(self._is_out, _SETTLE_S):
                    raise SchedtuiError(
                        f"The kernel still says “{kernel_says.read_word()}” for {self.name}.",
                        "Press F12, or ask the kernel: echo S | sudo tee /proc/sysrq-trigger",
                    )
                self._exit = self._ended()
            return self._exit

    def _is_out(self) -> bool:
        return kernel_says.read_word() == "disabled" or kernel_says.read_enable_seq() != self.enable_seq

    def _is_over(self) -> bool:
        if self._process.ended():
            return True
        now = kernel_says.read_state()
        if now.state == "enabled" and now.ops == self.name:
            self.enable_seq, self._away_since = now.enable_seq, None
            return False
        if now.state == "enabled":  # another scheduler took its place
            return True
        self._away_since = self._away_since or time.monotonic()
        return time.monotonic() - self._away_since > _PATIENCE_S

    def _ended(self) -> ExitInfo:
        """Its processes are gone then, and what it held is let go of."""
        how = self._process.how_it_ended()
        self._process.close()
        self._process.wait_until(self._is_out, _SETTLE_S)
        said = kernel_says.exit_of(self._log.records(), self.name, self._trace.read())
        self._log.close()
        self._trace.close()
        return replace(said, message=said.message or how, output=tail(self.output()))


def start_program(
    descriptor: int, name: str, arguments: tuple[str, ...], *, may_run: Callable[[], bool]
) -> RunningProgram:
    """Start the program that is open as ``descriptor``, and wait until the kernel schedules by it.

    The calling thread must live as long as the program is to. ``may_run`` is asked all the while: when it says no, the
    program is killed and Interrupted raised. Raises BadFile, KernelUnsuitable, LoadRejected.
    """
    check_program(descriptor, name)
    before = kernel_says.read_state()
    if not before.state:
        raise KernelUnsuitable("This kernel has no sched_ext: it cannot load schedulers.", "Try it in the lab.")
    with contextlib.ExitStack() as undo:
        log = kernel_says.KernelLog()
        undo.callback(log.close)
        trace = kernel_says.DumpTrace()
        undo.callback(trace.close)
        process = _Process(descriptor, name, arguments)
        undo.callback(process.close)
        state = _wait_until_enabled(process, name, before.enable_seq, log, may_run)
        undo.pop_all()
        return RunningProgram(process, state, log, trace)


def check_program(descriptor: int, name: str) -> None:
    """Raises BadFile for what is no program of this computer's own kind: a script's interpreter would read it anew."""
    found = os.fstat(descriptor)
    if not stat.S_ISREG(found.st_mode) or os.pread(descriptor, len(_ELF_MAGIC), 0) != _ELF_MAGIC:
        raise BadFile(f"{name} is no compiled program (an ELF file).", "Install the scheduler itself.")


def end_left_behind() -> None:
    """End what the program of an earlier helper, which was killed, has left in the control group."""
    if own := _own_group():
        for folder in own.glob(f"{_GROUP}-*"):
            _empty(folder)


def tail(output: str, lines: int = _TAIL_LINES) -> str:
    """The last lines of what a program printed."""
    return "\n".join(output.splitlines()[-lines:])


def _wait_until_enabled(
    process: _Process, name: str, before: int, log: kernel_says.KernelLog, may_run: Callable[[], bool]
) -> kernel_says.State:
    limit = time.monotonic() + START_LIMIT_S
    while True:
        if not may_run():
            raise Interrupted(f"{name} was ended while it started: panic came first.")
        process.drain()
        gone = process.ended()
        state = kernel_says.read_state()
        if not gone and state.state == "enabled" and state.enable_seq > before and state.ops:
            return state
        if gone or time.monotonic() > limit:
            break
        time.sleep(_POLL_S)
    how = process.how_it_ended() if gone else f"it did not come to that within {START_LIMIT_S:.0f} s"
    process.close()
    said = kernel_says.exit_of(log.records(), "")
    why = f" The kernel says: {said.reason}. {said.message}".rstrip() if said.scheduler else ""
    raise LoadRejected(
        f"{name} did not become the scheduler: {how}.{why}",
        "What it printed is below; see also what its version needs of the kernel.",
        tail(process.output()),
    )


class _Process:
    """The program's process, what it prints, and its end."""

    def __init__(self, descriptor: int, name: str, arguments: tuple[str, ...]) -> None:
        self._kept: deque[bytes] = deque()
        self._kept_bytes = 0
        self._reading = threading.Lock()
        self._group = _make_group()
        read_end, write_end = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(read_end, False)
        joins = _joins(self._group)
        try:
            with contextlib.suppress(OSError):
                fcntl.fcntl(read_end, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
            self._process = subprocess.Popen(
                [name, *arguments],
                executable=f"/proc/self/fd/{descriptor}",
                pass_fds=(descriptor,),
                stdin=subprocess.DEVNULL,
                stdout=write_end,
                stderr=write_end,
                cwd="/",
                env={},
                umask=0o077,
                start_new_session=True,
                preexec_fn=_preparation(descriptor, joins),
            )
        except (OSError, ValueError, subprocess.SubprocessError) as error:
            os.close(read_end)
            raise LoadRejected(f"{name} cannot be started: {getattr(error, 'strerror', None) or error}.") from error
        finally:
            os.close(write_end)
            if joins >= 0:
                os.close(joins)
        self._output: int | None = read_end
        self.pid = self._process.pid

    def ended(self) -> bool:
        return self._process.poll() is not None

    def how_it_ended(self) -> str:
        code = self._process.poll()
        if code is None:
            return "its program was still running"
        if code < 0:
            with contextlib.suppress(ValueError):
                return f"its program was ended by {signal.Signals(-code).name}"
        return f"its program ended by itself (code {code})"

    def drain(self) -> None:
        """Take up what it printed; the oldest of it is dropped."""
        with self._reading:
            while self._output is not None:
                try:
                    data = os.read(self._output, _PIPE_BYTES)
                except OSError:
                    return
                if not data:
                    return
                self._kept.append(data[-_OUTPUT_BYTES:])
                self._kept_bytes += len(self._kept[-1])
                while self._kept_bytes - len(self._kept[0]) >= _OUTPUT_BYTES:
                    self._kept_bytes -= len(self._kept.popleft())

    def output(self) -> str:
        self.drain()
        kept = b"".join(self._kept)[-_OUTPUT_BYTES:].decode(errors="replace")
        return _COLOURS.sub("", kept)

    def wait_until(self, condition: Callable[[], bool], limit_s: float) -> bool:
        limit = time.monotonic() + limit_s
        while not condition():
            if time.monotonic() > limit:
                return False
            self.drain()
            time.sleep(_POLL_S)
        return True

    def ask_to_end(self, is_out: Callable[[], bool]) -> None:
        """By the signals that a person would use, then by the one that it cannot refuse."""
        for way, limit_s in ((signal.SIGINT, _INTERRUPT_S), (signal.SIGTERM, _TERMINATE_S)):
            if not self.ended():
                self._process.send_signal(way)
            if self.wait_until(lambda: self.ended() and is_out(), limit_s):
                return

    def kill(self) -> None:
        """It, and whatever it started."""
        if not self.ended():
            self._hasten()
        if self._group:
            with contextlib.suppress(OSError):
                (self._group / "cgroup.kill").write_text("1")
        if not self.ended():
            with contextlib.suppress(OSError):
                os.killpg(self.pid, signal.SIGKILL)

    def _hasten(self) -> None:
        """Who was killed needs a CPU to end: not by the leave of the scheduler that it is."""
        with contextlib.suppress(OSError):
            for thread in os.listdir(f"/proc/{self.pid}/task"):  # noqa: PTH208
                with contextlib.suppress(OSError):
                    os.sched_setscheduler(int(thread), os.SCHED_FIFO, os.sched_param(1))

    def close(self) -> None:
        """Nothing of it runs any more; its output stays readable."""
        self.kill()
        self._process.wait()
        self.drain()
        with self._reading:
            if self._output is not None:
                os.close(self._output)
                self._output = None
        if self._group:
            _empty(self._group)


def _preparation(descriptor: int, joins: int) -> Callable[[], None]:
    """What the new process does before it becomes the program; it must allocate and wait for as little as can be."""
    parent = os.getpid()

    def prepare() -> None:
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:
            os._exit(1)  # the helper died before the signal was set
        _libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        if joins >= 0:
            os.write(joins, b"0")
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, 0, _NICE)
        os.set_inheritable(descriptor, False)

    return prepare


def _own_group() -> Path | None:
    """The helper's control group, below which it makes others; None without control groups (version 2)."""
    root = next((each for each in _CGROUPS if (each / "cgroup.controllers").exists()), None)
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/cgroup").read_text().splitlines():
            if root and line.startswith("0::/"):
                return root / line.removeprefix("0::/")
    return None


def _make_group() -> Path | None:
    """One for each program, because an earlier one may still be ending when the next begins.

    None where it may not be made: then the program's process group is what is killed.
    """
    own = _own_group()
    with contextlib.suppress(OSError):
        if own:
            group = own / f"{_GROUP}-{os.getpid()}-{next(_numbers)}"
            group.mkdir(mode=0o755)
            return group
    return None


def _joins(group: Path | None) -> int:
    """A descriptor by which a process can join the group; -1 without one."""
    with contextlib.suppress(OSError):
        if group:
            return os.open(group / "cgroup.procs", os.O_WRONLY | os.O_CLOEXEC)
    return -1


def _empty(group: Path) -> None:
    """End what is in a control group, and remove it."""
    limit = time.monotonic() + _TERMINATE_S
    while group.exists() and time.monotonic() < limit:
        with contextlib.suppress(OSError):
            (group / "cgroup.kill").write_text("1")
        with contextlib.suppress(OSError):
            group.rmdir()
            return
        time.sleep(_POLL_S)
