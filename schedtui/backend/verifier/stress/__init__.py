"""The stress suite: a native program for the lab's guest (stress.c), and what it prints.

Running it is ``kernel``'s, judging its numbers ``judge``'s.
"""

from __future__ import annotations

from pathlib import Path

import msgspec
from msgspec import Struct

from schedtui.backend.bpf.compiler import compile_native

MARK = "SCHEDTUI STRESS "
"""What the suite writes on the guest's console before the name of each test under a policy."""

TESTS: dict[str, str] = {
    "crowd": "more programs than CPUs",
    "pinned": "programs bound to a CPU",
    "room": "fewer programs than CPUs",
    "even": "one program for each CPU",
    "switches": "two programs that take turns",
    "locks": "threads that share a lock",
    "storm": "many short programs",
    "hotplug": "a CPU that goes and comes back",
    "again": "one program for each CPU, after one was away",
}
"""Each test in plain words."""


class Task(Struct, frozen=True):
    """One task of a test. ``kind`` is what it did; ``cpu`` the only one it might use, or -1."""

    kind: str
    nice: int
    cpu: int
    work: int
    """Rounds of whatever it does."""
    cpu_ms: float
    longest_wait_ms: float
    """Longest time between two rounds; of a builder, the longest job."""
    misplaced: int
    """Times that it ran on a CPU that it may not use; of a builder, programs that could not be started."""


class Result(Struct, frozen=True):
    """What one test measured."""

    test: str
    policy: bool
    """Under the policy, or before it under the kernel's own scheduler."""
    seconds: float
    cpus: int
    lasted: bool
    """False when the policy was gone before the end."""
    stuck: int
    """Tasks that could not even be ended, because they got no CPU to end on."""
    fork_failed: bool
    """The kernel could not start all tasks."""
    tasks: tuple[Task, ...]
    best_per_s: float = 0
    """Rounds a second of all tasks together in the best 50 ms: what a busy computer disturbs least."""
    best_used: float = 0
    """Share of the time of all CPUs that its tasks used in the best 100 ms."""
    wakeups: int = 0
    wakeup_p50_us: float = 0
    wakeup_p99_us: float = 0
    wakeup_max_us: float = 0
    hotplug: str = ""
    """What became of taking a CPU out and in: ``done``, ``hangs``, ``refused``; empty in other tests."""

    def of(self, *kinds: str) -> list[Task]:
        """Its tasks of these kinds."""
        return [each for each in self.tasks if each.kind in kinds]

    def rate(self, *kinds: str) -> float:
        """Rounds a second that the tasks of these kinds did together."""
        return sum(each.work for each in self.of(*kinds)) / self.seconds if self.seconds else 0.0


def program() -> bytes:
    """The suite, compiled for this machine. Raises MissingTool, CompileFailed."""
    return compile_native(Path(__file__).with_name("stress.c"))


def read_results(output: str) -> list[Result]:
    """What the suite printed; a line that was cut off, or is somebody else's, is left out."""
    found = []
    for line in output.splitlines():
        try:
            found.append(msgspec.json.decode(line, type=Result))
        except (msgspec.DecodeError, UnicodeEncodeError):
            continue
    return found
