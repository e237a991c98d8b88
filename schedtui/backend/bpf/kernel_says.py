"""What the kernel says about a scheduler: its state in sysfs, why it ended in the log, its dump in the trace.

Reading only; loading and unloading is ``loader``'s. Where the log or the trace cannot be read, their part of the
answer is empty.

Source: kernel/sched/ext.c of 6.12 to 7.3 (scx_exit_reason, scx_disable_workfn, scx_dump_state).
"""

from __future__ import annotations

import contextlib
import os
import re
from pathlib import Path
from typing import NamedTuple

from schedtui.backend.model import ExitInfo

SCHED_EXT = Path("/sys/kernel/sched_ext")
_TRACE_INSTANCES = Path("/sys/kernel/tracing/instances")
_KMSG = "/dev/kmsg"

_KIND_OF_REASON = {
    "unregistered from user space": "unregistered",
    "unregistered from BPF": "unregistered-bpf",
    "unregistered from the main kernel": "unregistered-kernel",
    "disabled by sysrq-S": "sysrq",
    "parent exiting": "parent",
    "killed by parent scheduler": "parent-kill",
    "runtime error": "error",
    "scx_bpf_error": "error-bpf",
    "runnable task stall": "stall",
    "reenqueue limit": "reenqueue",
    "rescue bandwidth overload": "rescue",
}
_SYSLOG_ERROR = 3
"""The kernel logs the end of a scheduler at this level when the scheduler is at fault, and lower when not."""

_ENDED = re.compile(r'^sched_ext: BPF scheduler "(?P<name>.*)" disabled \((?P<reason>.*)\)$')
_ESCAPED = re.compile(r"\\x([0-9a-f]{2})")
_LOG_RECORD_BYTES = 8192
_TRACE_BUFFER_KIB = 128
"""For each CPU. A dump is 32 KiB, and one CPU writes it."""
_DUMP_BYTES = 256 << 10
_DUMP_LINE = re.compile(r"^.*?\bsched_ext_dump: ?(.*)$", re.MULTILINE)
_DUMP_STARTS = "triggered exit kind"


class State(NamedTuple):
    """What sysfs reports: ``state`` is empty without sched_ext, ``ops`` when no scheduler is there."""

    state: str
    ops: str
    enable_seq: int


def read_state() -> State:
    """Which scheduler the kernel says is loaded now, and how many have been since boot."""
    return State(read_word(), _read(SCHED_EXT / "root" / "ops"), read_enable_seq())


def read_word() -> str:
    """The kernel's word for what sched_ext does now: disabled, enabling, enabled, disabling; empty without it."""
    return _read(SCHED_EXT / "state")


def read_enable_seq() -> int:
    """How many schedulers have been enabled since boot."""
    number = _read(SCHED_EXT / "enable_seq")
    return int(number) if number.isdecimal() else 0


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""


class LogRecord(NamedTuple):
    """One line of the kernel's log and its syslog level (0 to 7)."""

    level: int
    text: str


class KernelLog:
    """The kernel's log from the moment this is made."""

    def __init__(self) -> None:
        self._records: list[LogRecord] = []
        self._fd: int | None = None
        with contextlib.suppress(OSError):
            self._fd = os.open(_KMSG, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            os.lseek(self._fd, 0, os.SEEK_END)

    def records(self) -> list[LogRecord]:
        """All that sched_ext has logged so far."""
        while self._fd is not None:
            try:
                record = os.read(self._fd, _LOG_RECORD_BYTES)
            except BrokenPipeError:  # the ring overtook us: the next read goes on with what is left
                continue
            except OSError:
                break
            if not record:
                break
            self._records += [each for each in (parse_record(record),) if each is not None]
        return self._records

    def close(self) -> None:
        """Let go of the descriptor. May be called twice."""
        fd, self._fd = self._fd, None
        if fd is not None:
            os.close(fd)


def parse_record(record: bytes) -> LogRecord | None:
    """One record of /dev/kmsg; None when it is not sched_ext's or not a record.

    Source: https://docs.kernel.org/admin-guide/abi-testing.html#abi-dev-kmsg
    """
    prefix, _, rest = record.decode("utf-8", "replace").partition(";")
    text = rest.split("\n", 1)[0]
    priority = prefix.split(",", 1)[0]
    if not priority.isdecimal() or not text.startswith("sched_ext: "):
        return None
    return LogRecord(int(priority) & 7, _ESCAPED.sub(lambda escaped: chr(int(escaped[1], 16)), text))


def exit_of(records: list[LogRecord], scheduler: str, dump: str = "") -> ExitInfo:
    """Why ``scheduler`` (empty: whichever was last) ended, from the last of the records that say so."""
    for index in reversed(range(len(records))):
        ended = _ENDED.match(records[index].text)
        if ended is None or scheduler not in ("", ended["name"]):
            continue
        said_by = f"sched_ext: {ended['name']}: "
        message = next((each.text for each in records[index + 1 :] if each.text.startswith(said_by)), said_by)
        thrown_out = records[index].level <= _SYSLOG_ERROR
        return ExitInfo(
            scheduler=ended["name"],
            kind=_KIND_OF_REASON.get(ended["reason"], "unknown"),
            reason=ended["reason"],
            message=message.removeprefix(said_by).strip(),
            dump=dump if thrown_out else "",
            thrown_out=thrown_out,
        )
    return ExitInfo(scheduler=scheduler, kind="unknown", reason="the kernel's log does not say why")


class DumpTrace:
    """Catches the dump that the kernel makes of a scheduler that it throws out, in a trace buffer of our own."""

    def __init__(self) -> None:
        self._folder = _TRACE_INSTANCES / f"schedtui-{os.getpid()}"
        _remove_left_behind()
        with contextlib.suppress(OSError):
            self._folder.mkdir(mode=0o700, exist_ok=True)
            (self._folder / "buffer_size_kb").write_text(str(_TRACE_BUFFER_KIB))
            (self._folder / "events/sched_ext/sched_ext_dump/enable").write_text("1")

    def read(self) -> str:
        """The last dump, or nothing."""
        try:
            with (self._folder / "trace").open("rb") as trace:
                return last_dump(trace.read(_DUMP_BYTES * 2).decode("utf-8", "replace"))
        except OSError:
            return ""

    def close(self) -> None:
        """Remove the buffer. May be called twice."""
        with contextlib.suppress(OSError):
            self._folder.rmdir()


def _remove_left_behind() -> None:
    """Buffers of processes that were killed."""
    with contextlib.suppress(OSError):
        for each in _TRACE_INSTANCES.glob("schedtui-*"):
            if not Path("/proc", each.name.removeprefix("schedtui-")).exists():
                each.rmdir()


def last_dump(trace: str) -> str:
    """The text of the last dump in a trace, without the tracer's columns."""
    lines = _DUMP_LINE.findall(trace)
    starts = [index for index, line in enumerate(lines) if _DUMP_STARTS in line]
    return "\n".join(lines[starts[-1] if starts else 0 :])[:_DUMP_BYTES].strip()
