"""The one-shot child of a deep dive: compile with bcc, look for some seconds, print what was counted, end.

A program of its own, because bcc is large and may fail: ``python -ISB deep_child.py REQUEST``. It imports the standard
library, and the one package bcc from the folder that it is told; REQUEST and the last line that it prints are JSON.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib.util
import json
import os
import platform
import resource
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

SIGN = "DEEP DIVE "
"""Begins the line with the result; the compiler's words come before it."""
_HERE = Path(__file__).resolve().parent / "bcc"
_PR_SET_PDEATHSIG = 1
_COMPILE_CPU_S = 90
_BPF_ENABLE_STATS = 32
_SYS_BPF = {"x86_64": 321, "aarch64": 280}
_MEMORY = 3 << 30
_FILE = 64 << 20
_ROWS = 20


def main() -> None:
    """Do what the one argument asks."""
    request = json.loads(sys.argv[1])
    _limit_self(request["seconds"])
    try:
        answer = _look(request)
    except Exception as error:  # noqa: BLE001 - bcc raises plain Exceptions; whoever started us makes a sentence of it
        answer = {"error": f"{type(error).__name__}: {error}"}
    print("\n" + SIGN + json.dumps(answer), flush=True)
    os._exit(0)  # the kernel takes everything away; bcc's own clean-up takes seconds in an emulated guest


def _limit_self(seconds: float) -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    Path("/proc/self/oom_score_adj").write_text("800")  # where memory is short, this goes first, and never the helper
    for kind, limit in (
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_CPU, _COMPILE_CPU_S + int(seconds)),
        (resource.RLIMIT_AS, _MEMORY),
        (resource.RLIMIT_FSIZE, _FILE),
    ):
        resource.setrlimit(kind, (limit, limit))


def _look(request: dict[str, Any]) -> dict[str, Any]:
    began = time.monotonic()
    os.environ["BCC_KERNEL_SOURCE"] = str(_HERE / "headers")
    bcc = _imported(Path(request["package"]))
    text = (_HERE / "common.h").read_text() + (_HERE / f"{request['name']}.c").read_text()
    narrow = bool(request["pid"] or request["cgroup"])
    probe = bcc.BPF(text=text, cflags=[f"-DFILTER={int(narrow)}", "-Wno-everything"])
    ready = time.monotonic()
    if narrow:
        wanted = probe["wanted"]
        for pid in _threads(request["pid"], request["cgroup"]):
            wanted[ctypes.c_uint32(pid)] = ctypes.c_uint8(1)
    _count_cost()
    counting = probe["counting"]
    events_before, cost_before = _cost()
    counting[ctypes.c_int(0)] = ctypes.c_uint32(1)
    started = time.monotonic()
    time.sleep(request["seconds"])
    counting[ctypes.c_int(0)] = ctypes.c_uint32(0)
    seconds = time.monotonic() - started
    events, cost_ns = _cost()
    rows = [_row(key, row) for key, row in probe["rows"].items()]
    rows.sort(key=lambda each: -int(each["total_ns"]))
    return {
        "slots": [sum(probe["slots"].getvalue(ctypes.c_int(slot))) for slot in range(128)],
        "rows": rows[:_ROWS],
        "missed": probe["missed"][ctypes.c_int(0)].value,
        "compile_s": ready - began,
        "seconds": seconds,
        "events": events - events_before,
        "cost_ns": cost_ns - cost_before,
    }


def _imported(package: Path) -> Any:
    """Only this one package; whatever else lies in the distribution's folder stays out of reach."""
    spec = importlib.util.spec_from_file_location(
        "bcc", package / "__init__.py", submodule_search_locations=[str(package)]
    )
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules["bcc"] = module
    spec.loader.exec_module(module)
    return module


def _threads(pid: int, cgroup: str) -> Iterator[int]:
    """Those of the process, or of the processes in the control group and in those below it; what they start follows."""
    processes = [pid] if pid else []
    if cgroup:
        for listed in Path("/sys/fs/cgroup" + cgroup).glob("**/cgroup.procs"):
            processes += map(int, listed.read_text().split())
    for process in processes:
        try:
            yield from map(int, os.listdir(f"/proc/{process}/task"))  # noqa: PTH208 - only the names
        except OSError:
            continue  # it has ended


def _count_cost() -> None:
    """Let the kernel time every run of a BPF program (BPF_ENABLE_STATS) as long as this process lives."""
    number = _SYS_BPF.get(platform.machine())
    if number:
        kind = ctypes.c_uint32(0)  # BPF_STATS_RUN_TIME
        ctypes.CDLL(None).syscall(number, _BPF_ENABLE_STATS, ctypes.byref(kind), ctypes.sizeof(kind))


def _cost() -> tuple[int, int]:
    """How often our programs ran so far, and for how many ns, as the kernel's fdinfo says."""
    runs = spent = 0
    for descriptor in Path("/proc/self/fdinfo").iterdir():
        with contextlib.suppress(OSError):
            fields = dict(line.partition(":\t")[::2] for line in descriptor.read_text().splitlines())
            runs += int(fields.get("run_cnt", 0))
            spent += int(fields.get("run_time_ns", 0))
    return runs, spent


def _row(key: Any, row: Any) -> dict[str, Any]:
    return {
        "pid": key.pid,
        "name": row.name.decode(errors="replace"),
        "waker_pid": key.waker,
        "waker": row.waker.decode(errors="replace"),
        "count": row.count,
        "total_ns": row.total_ns,
        "max_ns": row.max_ns,
    }


if __name__ == "__main__":
    main()
