"""Runs in the guest: tasks of many kinds, and what becomes of them under a policy that misbehaves.

Started before the policy is loaded, it stays above it (as a real-time task), waits until the policy runs, watches for
some seconds or until the kernel throws it out, and prints one JSON object. It knows no policy and judges nothing.
Arguments: seconds to watch, then the parts of the load (the keys of ``PARTS``).
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path("/sys/kernel/sched_ext")
READY = Path("/tmp/observer-ready")
"""Made when the load runs and the policy may come."""
SAMPLE_S = 0.05
PATIENCE_S = 20.0
NAME_LENGTH = 15
SCHED_EXT = 7

Work = Callable[[], None]


def burn() -> None:
    """Compute, and never sleep."""
    while True:
        pass


def burn_niced() -> None:
    """Compute at nice 10: a low weight."""
    os.nice(10)
    burn()


def burn_raised() -> None:
    """Compute at nice -15: a high weight."""
    os.nice(-15)
    burn()


def burn_as_volunteer() -> None:
    """Compute as a task that asks for sched_ext by name."""
    os.sched_setscheduler(0, SCHED_EXT, os.sched_param(0))
    burn()


def sleep_often() -> None:
    """Sleep for 10 ms, run for a moment, and keep the longest lateness, in ms, as the process's name."""
    worst_ms = 0.0
    while True:
        before = time.monotonic()
        time.sleep(0.01)
        late_ms = (time.monotonic() - before - 0.01) * 1000
        if late_ms > worst_ms:
            worst_ms = late_ms
            Path("/proc/self/comm").write_text(f"late {worst_ms:.0f}")


def fork_often() -> None:
    """Start a short process, wait for its end, and so on; the name says how many came to an end, or what failed."""
    done = 0
    while True:
        try:
            child = os.fork()
        except OSError as error:
            Path("/proc/self/comm").write_text(f"refused {error.errno}")
            time.sleep(0.1)
            continue
        if not child:
            os._exit(0)
        os.waitpid(child, 0)
        done += 1
        if done % 10 == 0:
            Path("/proc/self/comm").write_text(f"done {done}")


def pinned(cpu: int) -> Work:
    """Compute on one CPU only."""

    def work() -> None:
        os.sched_setaffinity(0, {cpu})
        burn()

    return work


def pinned_sleeper(cpu: int) -> Work:
    """Sleep often, on one CPU only."""

    def work() -> None:
        os.sched_setaffinity(0, {cpu})
        sleep_often()

    return work


def wander() -> None:
    """Compute, and change the CPU that it may run on ten times a second."""
    cpus = sorted(os.sched_getaffinity(0))
    while True:
        for cpu in cpus:
            os.sched_setaffinity(0, {cpu})
            until = time.monotonic() + 0.1
            while time.monotonic() < until:
                pass


def real_time() -> None:
    """Take CPU 1 as a real-time task for a quarter of the time."""
    os.sched_setaffinity(0, {1})
    os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(10))
    while True:
        time.sleep(0.15)
        until = time.monotonic() + 0.05
        while time.monotonic() < until:
            pass


LAST_CPU = (os.cpu_count() or 1) - 1

PARTS: dict[str, dict[str, Work]] = {
    "hogs": {f"hog {i}": burn for i in range(6)},
    "hog-on-cpu-0": {"hog 0": pinned(0)},
    "crowd": {f"crowd {i}": burn for i in range(30)},
    "throng": {f"throng {i}": burn for i in range(100)},
    "named": dict.fromkeys(("alpha", "bravo", "charlie", "delta", "echo", "foxtrot", "golf", "hotel"), burn),
    "nice": {"low": burn_niced, "high": burn_raised},
    "low": {"low": burn_niced},
    "sleepers": {"sleeper 1": sleep_often, "sleeper 2": sleep_often},
    "volunteers": {f"volunteer {i}": burn_as_volunteer for i in range(6)},
    "forks": {"forker": fork_often},
    "pinned": {"pinned 0": pinned(0), "pinned last": pinned(LAST_CPU)},
    "pinned-sleepers": {"dozer 0": pinned_sleeper(0), "dozer last": pinned_sleeper(LAST_CPU)},
    "wanderers": {"wanderer 1": wander, "wanderer 2": wander},
    "real-time": {"real-time": real_time},
    "hotplug": {"homeless": pinned(LAST_CPU)},
}


class Watched:
    """One task: how long it ran, and the longest stretch in which it wanted to run and did not."""

    def __init__(self, pid: int, first_name: str) -> None:
        self.pid = pid
        self.first_name = first_name
        self.name = first_name
        self.first_ns = self.ran_ns = -1
        self.since = 0.0
        self.longest_s = 0.0

    def look(self, now: float) -> None:
        """Take a sample."""
        try:
            ran_ns = int(Path(f"/proc/{self.pid}/schedstat").read_text().split()[0])
            name, _, rest = Path(f"/proc/{self.pid}/stat").read_text().partition("(")[2].rpartition(")")
        except (OSError, IndexError):
            return
        if self.first_ns < 0:
            self.first_ns = ran_ns
        if ran_ns != self.ran_ns or rest.split()[0] != "R":
            self.since = now
        self.ran_ns, self.name = ran_ns, name
        self.longest_s = max(self.longest_s, now - self.since)

    def found(self) -> dict[str, object]:
        """What was seen of it."""
        ran_s = (self.ran_ns - self.first_ns) / 1e9
        return {
            "name": self.first_name,
            "says": self.name,
            "ran_s": round(ran_s, 3),
            "waited_s": round(self.longest_s, 3),
        }


def start(name: str, work: Work) -> Watched:
    pid = os.fork()
    if not pid:
        Path("/proc/self/comm").write_text(name[:NAME_LENGTH])
        work()
    return Watched(pid, name)


def state() -> str:
    return (ROOT / "state").read_text().strip()


def idle_s() -> list[float]:
    """Seconds that each CPU was idle since boot."""
    lines = [line.split() for line in Path("/proc/stat").read_text().splitlines() if line[:3] == "cpu"]
    return [int(words[4]) / os.sysconf("SC_CLK_TCK") for words in lines if words[0] != "cpu"]


def available_mib() -> int:
    words = [line.split() for line in Path("/proc/meminfo").read_text().splitlines()]
    return next(int(each[1]) // 1024 for each in words if each[0] == "MemAvailable:")


def log() -> list[str]:
    """What the kernel's log says of sched_ext."""
    lines = []
    descriptor = os.open("/dev/kmsg", os.O_RDONLY | os.O_NONBLOCK)
    while True:
        try:
            lines.append(os.read(descriptor, 8192).decode("utf-8", "replace").partition(";")[2].strip())
        except BlockingIOError:
            return [line for line in lines if "sched_ext" in line]
        except BrokenPipeError:
            continue


def online(cpu: int, value: str) -> None:
    Path(f"/sys/devices/system/cpu/cpu{cpu}/online").write_text(value)


def watch(seconds: float, parts: list[str]) -> dict[str, object]:
    os.sched_setscheduler(0, os.SCHED_FIFO | os.SCHED_RESET_ON_FORK, os.sched_param(50))
    memory_before = available_mib()
    tasks = [start(name, work) for part in parts for name, work in PARTS[part].items()]
    os.sched_setaffinity(0, {0})  # looking on from another CPU would wake it, and hide that the policy does not
    enabled_before = (ROOT / "enable_seq").read_text()
    READY.touch()
    deadline = time.monotonic() + PATIENCE_S
    while state() != "enabled" and time.monotonic() < deadline:
        if (ROOT / "enable_seq").read_text() != enabled_before:
            break
        time.sleep(0.02)
    began = now = time.monotonic()
    idle_before = idle_s()
    steps = [(0.5, "0"), (1.0, "1")] if "hotplug" in parts else []
    while now - began < seconds and state() == "enabled":
        for each in tasks:
            each.look(now)
        if steps and now - began > steps[0][0]:
            online(LAST_CPU, steps.pop(0)[1])
        time.sleep(SAMPLE_S)
        now = time.monotonic()
    watched_s, idle_after, taken_mib = now - began, idle_s(), memory_before - available_mib()
    while state() == "disabling" and time.monotonic() < now + PATIENCE_S:
        time.sleep(SAMPLE_S)
    found: dict[str, object] = {
        "watched_s": round(watched_s, 2),
        "state": state(),
        "idle_s": [round(after - before, 2) for before, after in zip(idle_before, idle_after, strict=False)],
        "taken_mib": taken_mib,
        "refused": int((ROOT / "nr_rejected").read_text()),
        "tasks": [each.found() for each in tasks],
        "log": log()[-6:],
    }
    for each in tasks:
        os.kill(each.pid, signal.SIGKILL)
    return found


if __name__ == "__main__":
    print(json.dumps(watch(float(sys.argv[1]), sys.argv[2:])), flush=True)
    os._exit(0)
