"""The helper's server: reads requests from one client, answers each, and streams Frames.

Panic and questions are answered by the thread that reads, so they wait for nothing. What changes the machine goes
through one thread in order; commands and the stream have threads of their own.
"""

from __future__ import annotations

import contextlib
import os
import queue
import select
import signal
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from schedtui.backend.errors import BadMessage, SchedtuiError, UnknownName
from schedtui.backend.helper import protocol
from schedtui.backend.helper.control import SchedulerControl, become_realtime
from schedtui.backend.helper.protocol import Reply, Request
from schedtui.backend.model import Completed, Event, Frame, MachineInfo, Sample
from schedtui.backend.probes.counters import Counters
from schedtui.backend.probes.sampler import Sampler
from schedtui.backend.workloads import KINDS, Workloads

_MAX_OUTPUT = 1 << 20
_PIPE_BYTES = 1 << 16
_MAX_COMMANDS = 4
_MAX_EVENTS = 100
_WATCH_S = 0.2
_RESCAN_S = 1.0
_FIRST_FRAME_S = 0.25
_ACTS = (
    protocol.Focus
    | protocol.Load
    | protocol.Keep
    | protocol.Tune
    | protocol.Unload
    | protocol.StartWorkload
    | protocol.StopWorkloads
)
"""What changes the machine: done by one thread, in order."""


@dataclass(frozen=True)
class Channel:
    """One client: two descriptors, which may be the same."""

    read_fd: int
    write_fd: int


class Server:
    """Serves one client at a time over a Channel; outlives its clients."""

    def __init__(
        self,
        info: MachineInfo,
        sampler: Callable[[], Sampler],
        workloads: Workloads,
        set_clock: Callable[[int], None],
    ) -> None:
        self._info = info
        self._make_sampler = sampler
        self._making = threading.Lock()
        self._sampler: Sampler | None = None
        self._workloads = workloads
        self._set_clock = set_clock
        self._events: deque[Event] = deque(maxlen=_MAX_EVENTS)
        self._stirred = threading.Condition()
        self._interval_s = 0.0
        self._wanted_now = False
        self._stop = threading.Event()
        self.control = SchedulerControl(self._announce)
        self._acts: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._commands: queue.SimpleQueue[Request] = queue.SimpleQueue()
        self._idle_commands = threading.BoundedSemaphore(_MAX_COMMANDS)
        self._write_lock = threading.Lock()
        self._channel: Channel | None = None
        for work in (self._do_acts, self._stream, self._watch, *[self._run_commands] * _MAX_COMMANDS):
            threading.Thread(target=work, name=work.__name__.strip("_"), daemon=True).start()

    def serve(self, channel: Channel, *, successor: bool = False) -> None:
        """Answer one client until it goes away; then everything that it asked for ends.

        A ``successor`` of a helper that died tells the client so, after ending the line that may have been cut.
        """
        become_realtime()
        self._channel = channel
        if successor:
            with contextlib.suppress(OSError):
                os.write(channel.write_fd, b"\n")
            self._send(Reply(0, info=self._info))
            text = f"The helper was ended and started again; {self.control.scheduler().name} runs"
            self._announce(Event(time=time.time(), kind="warning", text=text))
        try:
            self._read_requests(channel)
        finally:
            self._channel = None
            self._set_interval(0)
            self.control.client_gone()
            self._workloads.stop()

    def close(self) -> None:
        """Let go of the scheduler and end every workload."""
        self._stop.set()
        with self._stirred:
            self._stirred.notify_all()
        self.control.close()
        self._workloads.stop()

    def _read_requests(self, channel: Channel) -> None:
        pending = bytearray()
        overflowing = False
        while True:
            try:
                data = os.read(channel.read_fd, 1 << 16)
            except OSError:
                return
            if not data:
                if _comes_back(channel.read_fd):
                    time.sleep(0.01)
                    continue
                return
            pending += data
            while (end := pending.find(b"\n")) >= 0:
                line = bytes(pending[:end])
                del pending[: end + 1]
                if overflowing:
                    overflowing = False
                else:
                    self._receive(line)
            if len(pending) > protocol.MAX_REQUEST_BYTES:
                if not overflowing:
                    limit = protocol.MAX_REQUEST_BYTES >> 20
                    self._fail(0, BadMessage(f"A message was longer than {limit} MiB and was dropped."))
                overflowing = True
                pending.clear()

    def _receive(self, line: bytes) -> None:
        try:
            request = protocol.decode_request(line)
        except BadMessage as error:
            self._fail(_id_of(line), error)
            return
        body = request.body
        if isinstance(body, protocol.Run):
            self._hand_over(request)
        elif isinstance(body, _ACTS):
            panics = self.control.panics
            self._acts.put(lambda: self._answer(request, panics))
        else:
            self._answer(request)

    def _answer(self, request: Request, panics: int = 0) -> None:
        try:
            reply = self._act(request, panics)
        except SchedtuiError as error:
            self._fail(request.id, error)
            return
        except Exception as error:  # noqa: BLE001 - the edge: a fault of ours must reach the user as a sentence
            self._fail(request.id, SchedtuiError(f"The helper failed: {type(error).__name__}: {error}"))
            return
        self._send(reply)

    def _act(self, request: Request, panics: int) -> Reply:
        match request.body:
            case protocol.Hello(version=version, unix_time_ns=unix_time_ns):
                if version != protocol.VERSION:
                    raise BadMessage(
                        f"The client speaks version {version} of the helper's protocol, the helper version "
                        f"{protocol.VERSION}.",
                        "Update both to the same schedtui.",
                    )
                self._set_clock(unix_time_ns)
                return Reply(request.id, info=self._info, scheduler=self.control.scheduler())
            case protocol.Subscribe(interval_s=interval_s):
                if interval_s and not 0.1 <= interval_s <= 60:
                    raise BadMessage(f"A Frame each {interval_s} s is outside 0.1 to 60 s.")
                self._set_interval(interval_s)
                return Reply(request.id)
            case protocol.GetScheduler():
                return Reply(request.id, scheduler=self.control.scheduler())
            case protocol.TakeSample():
                return Reply(request.id, sample=self._sample())
            case protocol.Focus(names=names):
                self._counters().focus(names)
                return Reply(request.id)
            case protocol.Load(name=name, object=obj, settings=settings, lease_s=lease_s):
                return Reply(request.id, scheduler=self.control.load(name, obj, settings, panics, lease_s))
            case protocol.Renew(lease_s=lease_s):
                self.control.renew(lease_s)
                return Reply(request.id)
            case protocol.Keep():
                return Reply(request.id, scheduler=self.control.keep())
            case protocol.Tune(settings=settings):
                return Reply(request.id, scheduler=self.control.tune(settings))
            case protocol.Unload():
                return Reply(request.id, scheduler=self.control.unload())
            case protocol.DoPanic():
                return Reply(request.id, panic=self.control.panic())
            case protocol.Unlatch():
                self.control.unlatch()
                return Reply(request.id)
            case protocol.StartWorkload(kind=kind):
                self._workloads.start(kind)
                self._say(f"{KINDS[kind].partition(':')[0]} started")
                return Reply(request.id)
            case protocol.StopWorkloads():
                self._workloads.stop()
                self._say("All loads stopped")
                return Reply(request.id)
            case protocol.Run(command=command, timeout_s=timeout_s):
                return Reply(request.id, completed=self._run(command, timeout_s))

    def _run(self, command: list[str], timeout_s: float) -> Completed:
        if not command:
            raise UnknownName("There is no command to run.")
        return run_command(command, timeout_s)

    def _hand_over(self, request: Request) -> None:
        if self._idle_commands.acquire(blocking=False):
            self._commands.put(request)
        else:
            self._fail(
                request.id,
                BadMessage(f"{_MAX_COMMANDS} commands already run here.", "Wait for one of them to end."),
            )

    def _run_commands(self) -> None:
        become_realtime()
        while True:
            self._answer(self._commands.get())
            self._idle_commands.release()

    def _do_acts(self) -> None:
        become_realtime()
        while True:
            self._acts.get()()

    def _watch(self) -> None:
        become_realtime()
        scanned = time.monotonic()
        while not self._stop.wait(_WATCH_S):
            self.control.notice_exit()
            self.control.watch_lease()
            if self._sampler and time.monotonic() - scanned > _RESCAN_S:
                scanned = time.monotonic()
                with contextlib.suppress(SchedtuiError):  # the probe's map is full: who is in it is counted
                    self._sampler.counters().rescan()

    def _stream(self) -> None:
        become_realtime()
        due: float | None = None
        while not self._stop.is_set():
            with self._stirred:
                while not self._stop.is_set():
                    if not self._interval_s:
                        due = None
                        self._stirred.wait()
                        continue
                    wait_s = 0.0 if due is None else due - time.monotonic()
                    if wait_s <= 0 or self._wanted_now:
                        break
                    self._stirred.wait(wait_s)
                interval_s = self._interval_s
                self._wanted_now = False
            if not interval_s:
                continue
            sampler = self._ready_sampler()
            if due is None:
                sampler.sample()  # the stream begins here: what lies before, a snapshot perhaps, is no part of it
                due = time.monotonic() + min(interval_s, _FIRST_FRAME_S)
                continue
            frame = self._complete(sampler.sample())
            due = max(due + interval_s, time.monotonic() + interval_s / 4)
            self._send(Reply(0, frame=frame))

    def _ready_sampler(self) -> Sampler:
        with self._making:
            if self._sampler is None:
                self._sampler = self._make_sampler()
            return self._sampler

    def _counters(self) -> Counters:
        return self._ready_sampler().counters()

    def _sample(self) -> Sample:
        counts = self._counters().read()
        return Sample(
            time_s=time.monotonic(),
            scheduler=self.control.scheduler(),
            wakeups=counts.wakeups,
            focus_wakeups=counts.focus_wakeups,
            work=self._workloads.work(),
            longest_wait_ms=counts.longest_wait_ms,
            longest_waiter=counts.longest_waiter,
            source=counts.source,
        )

    def _complete(self, frame: Frame) -> Frame:
        events = []
        while self._events:
            events.append(self._events.popleft())
        return msgspec.structs.replace(
            frame, scheduler=self.control.scheduler(), workloads=self._workloads.status(), events=tuple(events)
        )

    def _set_interval(self, interval_s: float) -> None:
        with self._stirred:
            self._interval_s = interval_s
            self._stirred.notify_all()

    def _say(self, text: str) -> None:
        self._announce(Event(time=time.time(), kind="info", text=text))

    def _announce(self, event: Event) -> None:
        self._events.append(event)
        with self._stirred:
            self._wanted_now = True
            self._stirred.notify_all()

    def _fail(self, request_id: int, error: SchedtuiError) -> None:
        self._send(Reply(request_id, failure=protocol.failure_of(error)))

    def _send(self, reply: Reply) -> None:
        channel = self._channel
        if channel is None:
            return
        line = memoryview(protocol.encode(reply))
        with self._write_lock, contextlib.suppress(OSError):
            while line:
                line = line[os.write(channel.write_fd, line) :]


def run_command(command: list[str], timeout_s: float) -> Completed:
    """Run a command to its end; its whole process group is killed at the time limit, or when it leaves others behind.

    Output (both streams) is kept up to 1 MiB. Raises UnknownName when there is no such program.
    """
    began = time.monotonic()
    try:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True
        )
    except (OSError, ValueError) as error:
        raise UnknownName(f"“{command[0]}” cannot be run there: {error}.") from error
    assert process.stdout is not None
    output = _Output(process.stdout.fileno())
    while process.poll() is None:
        if time.monotonic() - began > timeout_s:
            _kill_group(process.pid)
            process.wait()
            output.truncated = True
        else:
            output.read_within(50)
    _kill_group(process.pid)
    output.read_within(0)  # the pipe holds no more than one read takes; others may fill it again without end
    process.stdout.close()
    return Completed(
        command=tuple(command),
        exit_code=process.returncode,
        output=output.kept.decode(errors="replace"),
        seconds=time.monotonic() - began,
        truncated=output.truncated,
    )


class _Output:
    """What a command prints, up to 1 MiB of it."""

    def __init__(self, descriptor: int) -> None:
        self.kept = bytearray()
        self.truncated = False
        self._descriptor = descriptor
        self._ended = False
        os.set_blocking(descriptor, False)
        self._poll = select.poll()
        self._poll.register(descriptor, select.POLLIN)

    def read_within(self, limit_ms: int) -> None:
        """Take what is there, or comes before the limit."""
        if self._ended:
            time.sleep(min(limit_ms, 10) / 1000)
        elif self._poll.poll(limit_ms):
            data = os.read(self._descriptor, _PIPE_BYTES)
            self._ended = not data
            self.truncated |= len(self.kept) + len(data) > _MAX_OUTPUT
            self.kept += data[: _MAX_OUTPUT - len(self.kept)]


def _kill_group(leader: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(leader, signal.SIGKILL)


def _comes_back(descriptor: int) -> bool:
    """A virtio port whose host side is away reads as ended, but may come back; a socket does not."""
    with contextlib.suppress(OSError):
        return os.readlink(f"/proc/self/fd/{descriptor}").startswith("/dev/vport")  # noqa: PTH115 - not a file's path
    return False


def _id_of(line: bytes) -> int:
    """The id of a request whose body was wrong, so that its sender does not wait for ever; 0 when unreadable."""

    class OnlyId(msgspec.Struct):
        id: int

    try:
        return msgspec.json.decode(line, type=OnlyId).id
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return 0
