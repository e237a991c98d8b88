"""Runs a deep dive for a client: checks what was asked, starts the one-shot child, and reads what it counted.

A client gives a name of the catalogue and numbers; the text that is compiled is root's. The child has limits on time,
memory and output, and one at a time runs.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO

import msgspec
from msgspec import Struct

from schedtui.backend.errors import BadMessage, Interrupted, MissingTool, ProbeFailed, UnknownName
from schedtui.backend.histogram import trimmed
from schedtui.backend.model import ProbeResult, ProbeRow
from schedtui.backend.probes import deep

_MAX_OUTPUT = 1 << 20
_POLL_S = 0.05
_DETAILS = 2000
_CHILD = Path(deep.__file__).with_name("deep_child.py")
_SIGN = "DEEP DIVE "
_CGROUPS = Path("/sys/fs/cgroup")
_NAME_IN_CGROUP = re.compile(r"[^/\0]{1,255}")
_TRACING = ("/sys/kernel/tracing", "/sys/kernel/debug/tracing")
_one = threading.Lock()


class _Answer(Struct):
    """What the child prints."""

    error: str = ""
    slots: list[int] = []
    rows: list[ProbeRow] = []
    missed: int = 0
    compile_s: float = 0.0
    seconds: float = 0.0
    events: int = 0
    cost_ns: int = 0


def run_probe(
    name: str, pid: int, cgroup: str, seconds: float, unwanted: Callable[[], bool] = lambda: False
) -> ProbeResult:
    """Look for ``seconds`` at everything, at one process (``pid``), or at a control group and those below it.

    Raises UnknownName, BadMessage, MissingTool (which says what to install) and ProbeFailed; Interrupted as soon as it
    is ``unwanted``.
    """
    deep.entry(name)
    deep.checked_seconds(seconds)
    _check_whom(pid, cgroup)
    package = deep.find_bcc()
    if not any(Path(each, "events/sched/sched_switch/format").is_file() for each in _TRACING):
        raise MissingTool(
            "The kernel's tracepoints are not in sight: nothing is mounted at /sys/kernel/tracing.",
            "Run: sudo mount -t tracefs tracefs /sys/kernel/tracing",
        )
    if not _one.acquire(blocking=False):
        raise BadMessage("A deep dive goes on already; its cost would be part of what this one sees.", "Wait for it.")
    try:
        request = {"name": name, "pid": pid, "cgroup": cgroup, "seconds": seconds, "package": str(package)}
        answer = _answer_of(msgspec.json.encode(request).decode(), seconds + deep.COMPILE_LIMIT_S, unwanted)
    finally:
        _one.release()
    return ProbeResult(
        name=name,
        slots=trimmed(answer.slots),
        rows=tuple(answer.rows),
        missed=answer.missed,
        seconds=answer.seconds,
        compile_s=answer.compile_s,
        events=answer.events,
        cost_ns=answer.cost_ns,
        kernel=os.uname().release,
    )


def _check_whom(pid: int, cgroup: str) -> None:
    if pid and cgroup:
        raise BadMessage("A deep dive looks at a process or at a control group, not at both.")
    if not 0 <= pid <= deep.MOST_PIDS:
        raise BadMessage(f"{pid} is no process number.")
    if pid and not Path(f"/proc/{pid}").is_dir():
        raise UnknownName(f"There is no process {pid}.", "It may have ended; look at the dashboard again.")
    if cgroup:
        # A name in the kernel's own tree, where no user can make a link.
        first, *names = cgroup.split("/")
        if first or not all(_NAME_IN_CGROUP.fullmatch(each) and each not in (".", "..") for each in names):
            raise BadMessage(f"“{cgroup}” is no control group.", "Give its path below /sys/fs/cgroup, as /user.slice.")
        if not (_CGROUPS / cgroup.lstrip("/") / "cgroup.procs").is_file():
            raise UnknownName(f"There is no control group {cgroup}.", "List them: systemd-cgls")


def _answer_of(request: str, limit_s: float, unwanted: Callable[[], bool]) -> _Answer:
    with tempfile.TemporaryFile() as output:
        try:
            child = subprocess.Popen(
                [sys.executable, "-ISBu", str(_CHILD), request],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"},
                cwd="/",
                start_new_session=True,
            )
        except OSError as error:
            raise MissingTool(f"The deep dive cannot be started: {error}.") from error
        in_time = _wait(child, limit_s, output, unwanted)
        output.seek(0)
        text = output.read(_MAX_OUTPUT).decode(errors="replace")
    before, _, last = text.rpartition(_SIGN)
    details = (before or text).strip()[-_DETAILS:]
    if unwanted():
        raise Interrupted("The deep dive was ended: panic was pressed, or nobody waits for it any more.")
    if not in_time:
        raise ProbeFailed(f"The deep dive did not end within {limit_s:.0f} s.", "Try when less runs here.", details)
    try:
        answer = msgspec.json.decode(last, type=_Answer)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        ended = f"signal {-child.returncode}" if child.returncode < 0 else f"code {child.returncode}"
        raise ProbeFailed(f"The deep dive's child ended with {ended} and no result.", details=details) from error
    if answer.error:
        raise ProbeFailed(
            f"bcc could not do it: {answer.error}.",
            f"See whether bcc is whole: {deep.install_command()}",
            details,
        )
    return answer


def _wait(child: subprocess.Popen[bytes], limit_s: float, output: IO[bytes], unwanted: Callable[[], bool]) -> bool:
    """Whether it ended by itself in time, with no more output than is allowed; nothing of it is left in any case."""
    deadline = time.monotonic() + limit_s
    while child.poll() is None:
        if unwanted() or time.monotonic() > deadline or os.fstat(output.fileno()).st_size > _MAX_OUTPUT:
            break
        time.sleep(_POLL_S)
    ended = child.poll() is not None
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()
    return ended
