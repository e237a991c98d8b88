"""One QEMU process: start, talk to its monitor, save, end. It leaves no file behind, because it has none.

Monitor, console and agent are socket pairs that QEMU inherits; the process dies with the thread that
started it (parent-death signal), so even kill -9 of this program leaves nothing.
"""

from __future__ import annotations

import contextlib
import json
import queue
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from schedtui.backend.errors import LabFailed, MissingTool

_CONSOLE_KEPT = 64 << 10
_CONSOLE_PATIENCE_S = 1.0
_ENDING_S = 0.5
# No daemons that walk memory by themselves: in a guest whose CPUs are emulated they are most of what an idle one does.
_KERNEL_OPTIONS = "console=ttyS0 quiet panic=-1 mitigations=off transparent_hugepage=never damon_stat.enabled=0"


@dataclass(frozen=True)
class GuestConfig:
    """What makes one guest differ from another; all of it belongs in a snapshot's key."""

    qemu: Path
    kernel: Path
    initrd: Path
    cpus: int
    memory_mib: int
    accelerator: str
    """'kvm' or 'tcg'."""
    sockets: int = 1
    """Packages that the CPUs are spread over; each has a last-level cache of its own."""
    ports: tuple[str, ...] = ()
    """Names of further virtio ports, beside the helper's."""

    def arguments(self) -> list[str]:
        """QEMU's command line but for the three sockets and an incoming snapshot."""
        many = self.cpus > 8
        if self.accelerator == "kvm":
            accel = ["-accel", "kvm", "-cpu", "host"]
        else:
            accel = ["-accel", f"tcg,thread={'single' if many else 'multi'}", "-cpu", "max"]
        append = _KERNEL_OPTIONS + (" cpuhp.parallel=0" if many else "")
        return [
            *accel,
            *("-smp", f"{self.cpus},sockets={self.sockets},cores={self.cpus // self.sockets},threads=1"),
            *("-m", str(self.memory_mib)),
            *("-nodefaults", "-no-user-config", "-nographic", "-no-reboot"),
            *("-kernel", str(self.kernel), "-initrd", str(self.initrd), "-append", append),
        ]


class Spawner:
    """Starts processes from one thread that lives as long as this program.

    Linux sends the parent-death signal when the *thread* that forked ends, so a worker thread must not fork QEMU.
    """

    def __init__(self) -> None:
        self._jobs: queue.SimpleQueue[tuple[Callable[[], Any], queue.SimpleQueue[Any]]] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()

    def __call__(self, command: list[str], inherited: tuple[int, ...]) -> subprocess.Popen[bytes]:
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="spawner", daemon=True)
                self._thread.start()
        answer: queue.SimpleQueue[Any] = queue.SimpleQueue()

        def start() -> subprocess.Popen[bytes]:
            return subprocess.Popen(
                command,
                pass_fds=inherited,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                start_new_session=True,
            )

        self._jobs.put((start, answer))
        result = answer.get()
        if isinstance(result, Exception):
            raise result
        process: subprocess.Popen[bytes] = result
        return process

    def _work(self) -> None:
        while True:
            job, answer = self._jobs.get()
            try:
                answer.put(job())
            except Exception as error:  # noqa: BLE001 - whoever waits for the answer raises it
                answer.put(error)


_spawn = Spawner()


class Qemu:
    """A running QEMU. ``agent`` is our end of the guest's virtio port; ``quit`` always ends the process.

    ``ports`` holds our ends of the further ports that its config names.
    """

    def __init__(self, config: GuestConfig, incoming: Path | None = None) -> None:
        setpriv = shutil.which("setpriv")
        if setpriv is None:
            raise MissingTool("setpriv (of util-linux) is not installed.", "Install the package util-linux.")
        self.config = config
        self._monitor_lock = threading.Lock()
        self._console = bytearray()
        pairs = [socket.socketpair() for _ in range(4)]
        (monitor, monitor_far), (console, console_far), (agent, agent_far), (serial, serial_far) = pairs
        self.ports: dict[str, socket.socket] = {}
        further: list[str] = []
        for name in config.ports:
            pairs.append(socket.socketpair())
            self.ports[name], port_far = pairs[-1]
            further += ["-chardev", f"socket,id=port-{name},fd={port_far.fileno()}"]
            further += ["-device", f"virtserialport,chardev=port-{name},name={name}"]
        command = [
            *(setpriv, "--pdeathsig", "KILL", "--", str(config.qemu)),
            *config.arguments(),
            *("-chardev", f"socket,id=monitor,fd={monitor_far.fileno()}", "-mon", "chardev=monitor,mode=control"),
            *("-chardev", f"socket,id=console,fd={console_far.fileno()}", "-serial", "chardev:console"),
            *("-chardev", f"socket,id=line,fd={serial_far.fileno()}", "-serial", "chardev:line"),
            *("-chardev", f"socket,id=agent,fd={agent_far.fileno()}"),
            *("-device", "virtio-serial-pci", "-device", "virtserialport,chardev=agent,name=schedtui"),
            *further,
            *(("-incoming", f"file:{incoming}") if incoming else ()),
        ]
        far = tuple(pair[1] for pair in pairs)
        try:
            self.process = _spawn(command, tuple(each.fileno() for each in far))
        except OSError as error:
            for near, _ in pairs:
                near.close()
            raise LabFailed(f"QEMU could not be started: {error}", "Run: schedtui doctor") from error
        finally:
            for each in far:
                each.close()
        self.agent = agent
        self.serial = serial
        self._console_socket = console
        self._console_reader = threading.Thread(target=self._read_console, name="console", daemon=True)
        self._console_reader.start()
        self._monitor_socket = monitor
        self._monitor = monitor.makefile("rwb")
        try:
            self._read_message(10)
            self.command("qmp_capabilities")
        except LabFailed:
            self.quit()
            raise

    @property
    def console(self) -> str:
        """The last lines that the guest printed."""
        return self._console.decode(errors="replace")

    def last_console(self) -> str:
        """The last lines that a guest printed that ends or has ended, once all of them were read."""
        self._console_reader.join(_CONSOLE_PATIENCE_S)
        return self.console

    def alive(self) -> bool:
        """Whether the process still runs."""
        return self.process.poll() is None

    def has_ended(self) -> bool:
        """Whether the process has ended, or does so right now: its connections close a moment before it is gone."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(_ENDING_S)
        return not self.alive()

    def command(self, name: str, timeout_s: float = 10, **arguments: object) -> Any:
        """One QMP command and its answer. Raises LabFailed when QEMU refuses it, ends, or does not answer."""
        with self._monitor_lock:
            request = json.dumps({"execute": name, "arguments": arguments}).encode()
            try:
                self._monitor.write(request + b"\n")
                self._monitor.flush()
            except (OSError, ValueError) as error:
                raise self._ended() from error
            while True:
                reply = self._read_message(timeout_s)
                if "error" in reply:
                    raise LabFailed(f"QEMU refused {name}: {reply['error'].get('desc', '')}", "Run: schedtui doctor")
                if "return" in reply:
                    return reply["return"]

    def save(self, path: Path, timeout_s: float = 120) -> None:
        """Stop the guest and write the whole machine to a file. Raises LabFailed (disk full, QEMU gone)."""
        self.command("stop")
        self.command("migrate", uri=f"file:{path}")
        deadline = time.monotonic() + timeout_s
        while (state := self.command("query-migrate")).get("status") != "completed":
            if state.get("status") in ("failed", "cancelled") or time.monotonic() > deadline:
                reason = state.get("error-desc") or "the disk may be full"
                raise LabFailed(f"The guest could not be saved: {reason}.", "Free some space in the cache folder.")
            time.sleep(0.02)

    def resume(self, timeout_s: float = 20) -> None:
        """Wait until a snapshot has been read, and let the guest run. Raises LabFailed when it is damaged."""
        deadline = time.monotonic() + timeout_s
        while (status := self.command("query-status").get("status")) == "inmigrate":
            if time.monotonic() > deadline:
                raise LabFailed("QEMU did not finish reading the snapshot.", "")
            time.sleep(0.004)
        if status not in ("paused", "prelaunch", "postmigrate", "running"):
            raise LabFailed(f"QEMU could not use the snapshot (it is in state “{status}”).", "")
        self.command("cont")

    def send_sysrq(self, key: str) -> None:
        """Magic SysRq over the guest's serial console: works when nothing in the guest's user space does."""
        self.command("chardev-send-break", id="console")
        self._console_socket.sendall(key.encode())

    def quit(self) -> None:
        """End the process, however it is doing, and let go of every descriptor. May be called twice."""
        if self.process.poll() is None:
            self.process.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(20)
        for each in (self.agent, self.serial, self._console_socket, self._monitor_socket, *self.ports.values()):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()
        with contextlib.suppress(OSError, ValueError):
            self._monitor.close()
        if self.process.stderr:
            self.process.stderr.close()

    def _read_message(self, timeout_s: float) -> dict[str, Any]:
        self._monitor_socket.settimeout(timeout_s)
        try:
            line = self._monitor.readline()
        except (OSError, ValueError) as error:
            raise self._ended() from error
        if not line:
            raise self._ended()
        try:
            message: dict[str, Any] = json.loads(line)
        except ValueError as error:
            raise LabFailed(f"QEMU's monitor said something strange: {line[:80]!r}", "") from error
        return message

    def _ended(self) -> LabFailed:
        said = ""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(1)
            if self.process.stderr and not self.process.stderr.closed:
                said = self.process.stderr.read().decode(errors="replace").strip()
        code = self.process.returncode
        how = "does not answer" if code is None else f"ended with code {code}"
        return LabFailed(f"QEMU {how}." + (f" It said: {said.splitlines()[-1]}" if said else ""), "", said)

    def _read_console(self) -> None:
        with contextlib.suppress(OSError):
            while data := self._console_socket.recv(4096):
                self._console += data
                if len(self._console) > _CONSOLE_KEPT:
                    del self._console[: -_CONSOLE_KEPT // 2]
