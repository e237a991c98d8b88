"""What the stress suite's numbers mean: findings and figures, from a policy's results and EEVDF's in the same guest.

Numbers in, findings out; measuring is ``kernel``'s. The lab's CPUs are emulated and shared, so every bound is wide and,
where it can be, relative to EEVDF. A bound of ``warning`` is where a person would begin to notice, one of ``error``
where they would call it broken. What a policy may do by design, such as not to weigh tasks, is a note.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from schedtui.backend.model import Finding, Severity
from schedtui.backend.verifier.stress import TESTS, Result, Task

LONGEST_WAIT_MS = 2500.0
"""No ordinary task may wait longer, in a crowd of a few for each CPU, nor much longer than under EEVDF."""
_WAIT_TIMES = 2.5
_LONG_TEST_S = 2.0
"""In shorter ones, a task of low weight may rightly get nothing."""
_OWN_WEIGHTS = {0: 1024, 5: 335, 10: 110, 19: 15}
"""sched_prio_to_weight of kernel/sched/core.c."""
_COMPUTING = ("hog", "low-weight")
BESIDE = {"again": "even"}
"""Tests that are compared with another under the kernel's own scheduler, which they differ from in what came before."""
_COMPARED = frozenset(
    {
        "affinity-broken",
        "costly-switches",
        "hotplug-hangs",
        "idle-cpu-unused",
        "low-throughput",
        "no-progress",
        "slow-wakeups",
        "starved-task",
        "unfair",
    }
)
"""Rules whose findings a second measurement must confirm: a busy computer can bring them about by itself."""


class Bound(NamedTuple):
    """Where a warning begins, and where an error does."""

    warning: float
    error: float

    def below(self, value: float) -> Severity | None:
        """How bad a value is of which more is better."""
        return "error" if value < self.error else "warning" if value < self.warning else None

    def above(self, value: float) -> Severity | None:
        """How bad a value is of which less is better."""
        return "error" if value > self.error else "warning" if value > self.warning else None


WAKEUP_US = {"p99": Bound(150_000, 400_000), "p50": Bound(80_000, 150_000)}
"""How long a task that wakes up waits in a crowd. A multiple of EEVDF's is needed too: a slow computer is no fault."""
ROOM_US = {"p99": Bound(60_000, 120_000), "p50": Bound(30_000, 60_000)}
"""The same where a CPU is idle for whoever wakes up."""
WAKEUP_TIMES = Bound(6, 10)
THROUGHPUT = Bound(0.7, 0.45)
"""CPU time that hogs get, of EEVDF's. Their work would tell of the computer's other work, too."""
JOBS = Bound(0.2, 0.08)
"""Short programs in a second, of EEVDF's."""
SWITCHES = Bound(0.15, 0.06)
"""Rounds of two tasks that take turns, of EEVDF's."""
SHARE = Bound(0.1, 0.03)
"""The smallest share of equal tasks, of what each would have if all had the same."""
_UPSIDE_DOWN = 3.0
"""So many times as much as a task of normal priority gets, one of low priority never gets by chance."""
USED = Bound(0.75, 0.6)
"""CPU time used by as many hogs as CPUs, of EEVDF's."""
USED_AGAIN = Bound(0.85, 0.8)
"""The same after a CPU was away and came back, in the best moments of both: a CPU that is never used again is missing
in those too (of four CPUs: 0.75), and one that this computer was slow to wake is not."""


def jain(shares: Sequence[float]) -> float:
    """Jain's fairness index: 1 when all are equal, 1/n when one has all.

    Source: R. Jain, D. Chiu, W. Hawe, "A quantitative measure of fairness and discrimination", DEC-TR-301, 1984.
    """
    squares = sum(each * each for each in shares)
    return sum(shares) ** 2 / (len(shares) * squares) if squares else 1.0


def findings(own: Iterable[Result], policy: Iterable[Result]) -> list[Finding]:
    """What is held against a policy. ``own`` are the results under the kernel's own scheduler; may be empty.

    A test that the policy did not outlive is judged for nothing: that it is gone is another's finding.
    """
    before = {each.test: each for each in own}
    found: list[Finding] = []
    for result in policy:
        found += _about_plugging(result)
        if not result.lasted:
            continue
        found += _about_progress(result, before.get(result.test))
        if beside := before.get(BESIDE.get(result.test, result.test)):
            found += _about_speed(result, beside)
    return found


def doubtful(found: Iterable[Finding], policy: Iterable[Result] = ()) -> set[str]:
    """The tests of which a second measurement should tell chance from fault: something was found that a busy computer
    can bring about by itself, or wake-ups were slow that such a computer can hide by making the kernel's own as slow.
    """
    places = {each.place for each in found if each.rule in _COMPARED and each.severity != "note"}
    slow = {each.test for each in policy if _bounds_of_wakeups(each)["p99"].above(each.wakeup_p99_us) == "error"}
    return slow | {test for test, place in TESTS.items() if place in places}


def best(first: Iterable[Result], second: Iterable[Result]) -> list[Result]:
    """Of two measurements of each test the better one, which other work of the computer disturbed less."""
    chosen = {each.test: each for each in first}
    for each in second:
        other = chosen.get(each.test)
        if other is None or not other.lasted or (each.lasted and _merit(each) > _merit(other)):
            chosen[each.test] = each
    return list(chosen.values())


def _merit(result: Result) -> float:
    if result.test in ("crowd", "room"):
        return -result.wakeup_p99_us
    if result.test == "pinned":
        return jain(_by_weight(result))
    if result.test == "even":
        return _cpu_share(result)
    if result.test == "again":
        return result.best_used
    if result.test == "storm":
        return result.rate("builder")
    if result.test == "hotplug":
        return float(result.hotplug == "done")
    return result.best_per_s


def _bounds_of_wakeups(result: Result) -> dict[str, Bound]:
    return ROOM_US if result.test == "room" else WAKEUP_US


def figures(own: Iterable[Result], policy: Iterable[Result]) -> dict[str, float]:
    """What was measured, by name; ``eevdf_`` stands before the names of what the kernel's own scheduler did."""
    measured: dict[str, float] = {}
    for prefix, results in (("", policy), ("eevdf_", own)):
        for each in results:
            if each.lasted:
                measured |= {prefix + name: value for name, value in _figures_of(each)}
    return measured


def _figures_of(result: Result) -> Iterator[tuple[str, float]]:
    if result.test == "crowd":
        yield "wakeup_p50_us", result.wakeup_p50_us
        yield "wakeup_p99_us", result.wakeup_p99_us
        yield "longest_wait_ms", max(each.longest_wait_ms for each in result.tasks)
        yield "fairness_of_equals", jain([each.cpu_ms for each in result.of("hog")])
        yield "cpu_time_percent", 100 * _cpu_share(result)
    elif result.test == "pinned":
        yield "fairness_by_weight", jain(_by_weight(result))
    elif result.test == "room":
        yield "wakeup_to_idle_p99_us", result.wakeup_p99_us
    elif result.test == "even":
        yield "cpus_used_percent", 100 * _cpu_share(result)
    elif result.test == "switches" and result.best_per_s:
        yield "round_trip_us", 1e6 / result.best_per_s
    elif result.test == "locks" and result.best_per_s:
        yield "handoff_us", 1e6 / result.best_per_s
    elif result.test == "storm":
        yield "programs_per_s", result.rate("builder")


def _about_plugging(result: Result) -> Iterator[Finding]:
    if result.hotplug == "hangs":
        yield Finding(
            rule="hotplug-hangs",
            severity="error",
            place=TESTS["hotplug"],
            meaning="A CPU could not be taken out while this policy ran: a program that was bound to it waits in a "
            "queue that nobody empties for it. A computer would hang like that on its way to sleep.",
            remedy="Move what waits for that CPU to its local queue in cpu_offline(), or leave cpu_online() and "
            "cpu_offline() out: the kernel then starts the policy anew.",
        )


def _about_progress(result: Result, beside: Result | None) -> Iterator[Finding]:
    if result.fork_failed or any(each.kind == "builder" and each.misplaced > 0 for each in result.tasks):
        yield Finding(
            rule="no-progress",
            severity="error",
            place=TESTS[result.test],
            meaning="New programs could not be started under this policy.",
            remedy="See that init_task() fails for no task: a map may be full, or never emptied.",
        )
    if result.hotplug == "hangs":  # told already
        return
    if result.stuck:
        yield Finding(
            rule="starved-task",
            severity="error",
            place=TESTS[result.test],
            meaning="Programs that were told to end got no CPU to do it on, in three seconds with nothing else to do.",
            remedy="See that every task is put into a queue that is emptied, also the last one, and one that is new.",
            details=_table(result),
        )
    for task in _each_kind_once(result, _did_nothing(result)):
        yield _stands_still(result, task)
    for task in _each_kind_once(result, _waited_too_long(result, beside)):
        yield _waits(result, task)
    if result.test == "pinned" and any(each.misplaced for each in result.of("mover")):
        yield Finding(
            rule="affinity-broken",
            severity="error",
            place=TESTS["pinned"],
            meaning="A program ran on a CPU that it was not allowed to use.",
            remedy="Choose only among the CPUs in p->cpus_ptr.",
        )


def _did_nothing(result: Result) -> list[Task]:
    """Those that got nothing done in the whole test. Short tests tell nothing of tasks of low weight."""
    if result.test == "storm":  # one job can take longer than the test on a slow computer
        return [] if any(each.work for each in result.tasks) else result.of("builder")
    short = result.seconds < _LONG_TEST_S
    return [each for each in result.tasks if not each.work and each.kind != "real-time" and not (short and each.nice)]


def _waited_too_long(result: Result, beside: Result | None) -> list[Task]:
    if result.test != "crowd":
        return []
    own = max((each.longest_wait_ms for each in beside.tasks), default=0.0) if beside else 0.0
    bound_ms = max(LONGEST_WAIT_MS, _WAIT_TIMES * own)
    ordinary = [each for each in result.tasks if each.kind != "real-time"]
    return [each for each in ordinary if each.work and each.longest_wait_ms > bound_ms]


def _each_kind_once(result: Result, tasks: list[Task]) -> list[Task]:
    """Of several alike, one stands for all: the one that waited longest."""
    longest: dict[tuple[str, int], Task] = {}
    for each in sorted(tasks, key=lambda task: task.longest_wait_ms):
        longest[each.kind, each.nice] = each
    return list(longest.values())


_WHO = {
    "hog": "A program that computes",
    "low-weight": "A program of the lowest weight (nice 19)",
    "sleeper": "A program that sleeps and wakes up",
    "kernel-threads": "What waits for the kernel's own threads",
    "pinned": "A program that is bound to one CPU",
    "mover": "A program that changes its CPU",
    "moved": "A program that was moved to another CPU",
    "builder": "A program that starts others",
    "ping-pong": "A program that takes turns with another",
    "handoffs": "A program whose threads share a lock",
}


def _stands_still(result: Result, task: Task) -> Finding:
    bound = task.kind in ("pinned", "mover", "moved")
    rule = "affinity-broken" if bound else "starved-task" if result.test == "crowd" else "no-progress"
    return Finding(
        rule=rule,
        severity="error",
        place=TESTS[result.test],
        meaning=f"{_WHO[task.kind]} got nothing done in {result.seconds:.1f} s, while others ran.",
        remedy=(
            "See that every queue is emptied on a CPU that its tasks may use: look at p->cpus_ptr before choosing one."
            if bound
            else "See that every task is put into a queue, that each queue is emptied, and that what waits comes first "
            "in the end, whoever else wants to run."
        ),
        details=_table(result),
    )


def _waits(result: Result, task: Task) -> Finding:
    return Finding(
        rule="starved-task",
        severity="error",
        place=TESTS[result.test],
        meaning=f"{_WHO[task.kind]} waited {task.longest_wait_ms / 1000:.1f} s for a CPU.",
        remedy="Let what waits move forward with time (ageing), so that others cannot pass it for ever.",
        details=_table(result),
    )


def _about_speed(result: Result, beside: Result) -> Iterator[Finding]:
    if result.test == "room":
        yield from _about_wakeups(result, beside)
    elif result.test == "crowd":
        yield from _about_wakeups(result, beside)
        yield from _about_shares(result, beside)
        yield from _slower(
            "low-throughput", THROUGHPUT, result, (_cpu_share(result), _cpu_share(beside)), "Programs that compute got"
        )
    elif result.test == "pinned":
        yield from _about_weights(result, beside)
    elif result.test == "even":
        yield from _about_idleness(result, _cpu_share(result) / max(_cpu_share(beside), 0.01), USED)
    elif result.test == "again":
        yield from _about_idleness(result, result.best_used / max(beside.best_used, 0.01), USED_AGAIN)
    elif result.test == "switches":
        yield from _slower(
            "costly-switches", SWITCHES, result, (result.best_per_s, beside.best_per_s), "Two that take turns did"
        )
    elif result.test == "locks":
        yield from _slower(
            "costly-switches", SWITCHES, result, (result.best_per_s, beside.best_per_s), "Threads that share a lock did"
        )
    elif result.test == "storm":
        rates = result.rate("builder"), beside.rate("builder")
        yield from _slower("low-throughput", JOBS, result, rates, "Those that start short programs did")


def _both(one: Severity | None, other: Severity | None) -> Severity | None:
    """The milder of two."""
    return None if one is None or other is None else "warning" if "warning" in (one, other) else "error"


def _about_wakeups(result: Result, beside: Result) -> Iterator[Finding]:
    waits = {"p99": result.wakeup_p99_us, "p50": result.wakeup_p50_us}
    own = {"p99": beside.wakeup_p99_us, "p50": beside.wakeup_p50_us}
    times = {name: waits[name] / max(own[name], 1000) for name in waits}
    severities = {
        _both(bound.above(waits[name]), WAKEUP_TIMES.above(times[name])): name
        for name, bound in _bounds_of_wakeups(result).items()
    }
    severity = next((each for each in ("error", "warning") if each in severities), None)
    if not (severity and result.wakeups and beside.wakeups):
        return
    name = severities[severity]
    often = "as a rule (median)" if name == "p50" else "now and then (p99)"
    yield Finding(
        rule="slow-wakeups",
        severity=severity,
        place=TESTS[result.test],
        meaning=f"A program that wakes up waits {waits[name] / 1000:.0f} ms for a CPU {often}, {times[name]:.0f} times "
        "as long as under the kernel's own scheduler: typing, sound and video would stutter.",
        remedy=(
            "Kick an idle CPU when a task is queued: scx_bpf_pick_idle_cpu() and scx_bpf_kick_cpu()."
            if result.test == "room"
            else "Shorten the slice, or let tasks that woke up go before those that computed."
        ),
    )


def _about_shares(result: Result, beside: Result) -> Iterator[Finding]:
    share = _smallest_share(result)
    severity = SHARE.below(share)
    if severity and share < _smallest_share(beside):
        yield Finding(
            rule="unfair",
            severity=severity,
            place=TESTS["crowd"],
            meaning=f"Of programs that are all alike, one got {100 * share:.0f} % of what it should have had.",
            remedy="Sort by what each task has had already, in proportion to its weight.",
            details=_table(result),
        )


def _smallest_share(result: Result) -> float:
    used = [each.cpu_ms for each in result.of("hog")]
    return min(used) * len(used) / sum(used) if sum(used) else 1.0


def _by_weight(result: Result) -> list[float]:
    """CPU time in proportion to weight of the tasks that share the first CPU."""
    return [each.cpu_ms / _OWN_WEIGHTS[each.nice] for each in result.of("pinned") if each.cpu == 0]


def _low_to_normal(result: Result) -> float:
    """What a task of low priority got of what one of normal priority got, on the same CPU."""
    on_first = [each for each in result.of("pinned") if each.cpu == 0]
    normal = sum(each.cpu_ms for each in on_first if each.nice == 0) / 2
    return sum(each.cpu_ms for each in on_first if each.nice == 10) / max(normal, 0.1)


def _about_weights(result: Result, beside: Result) -> Iterator[Finding]:
    times = _low_to_normal(result)
    if times > _UPSIDE_DOWN and _low_to_normal(beside) < 1:
        yield Finding(
            rule="unfair",
            severity="error",
            place=TESTS["pinned"],
            meaning=f"A program of low priority (nice 10) got {times:.0f} times as much as one of normal priority.",
            remedy="Divide by p->scx.weight where a task's use is charged, and not multiply.",
            details=_table(result),
        )
    elif jain(_by_weight(result)) < 0.7 * jain(_by_weight(beside)):
        yield Finding(
            rule="unfair",
            severity="note",
            place=TESTS["pinned"],
            meaning="nice changes little under this policy: CPU time does not follow priorities as it does under the "
            "kernel's own scheduler.",
            remedy="Divide by p->scx.weight where a task's use is charged, if priorities are to count.",
        )


def _about_idleness(result: Result, ratio: float, bound: Bound) -> Iterator[Finding]:
    """``ratio``: of the CPU time used, to what is used under the kernel's own scheduler."""
    if severity := bound.below(ratio):
        yield Finding(
            rule="idle-cpu-unused",
            severity=severity,
            place=TESTS[result.test],
            meaning=f"There was a program to run for each CPU, and {100 * (1 - ratio):.0f} % of the CPU time that the "
            "kernel's own scheduler gives them stayed unused.",
            remedy=(
                "Kick an idle CPU when a task is queued, and let a CPU without work take from the queues of others."
                if result.test == "even"
                else "Take a CPU back into use in cpu_online()."
            ),
            details=_table(result),
        )


def _cpu_share(result: Result) -> float:
    """Of all CPU time of the test, what those got that compute."""
    return sum(each.cpu_ms for each in result.of(*_COMPUTING)) / (1000 * result.seconds * result.cpus)


def _slower(rule: str, bound: Bound, result: Result, rates: tuple[float, float], who: str) -> Iterator[Finding]:
    """``rates`` are the policy's and the kernel's own."""
    now, own = rates
    severity = bound.below(now / own) if own else None
    if severity and now:  # nothing at all is told by _stands_still
        yield Finding(
            rule=rule,
            severity=severity,
            place=TESTS[result.test],
            meaning=f"{who} {100 * now / own:.0f} % of what they get done under the kernel's own scheduler.",
            remedy="Do less in each callback, and leave no CPU idle while something waits.",
        )


def _table(result: Result) -> str:
    """What each task of a test did."""
    lines = [f"{'task':<16}{'nice':>5}{'CPU':>5}{'ran, ms':>10}{'longest wait, ms':>18}{'rounds':>9}"]
    lines += [
        f"{each.kind:<16}{each.nice:>5}{'any' if each.cpu < 0 else each.cpu:>5}{each.cpu_ms:>10.0f}"
        f"{each.longest_wait_ms:>18.0f}{each.work:>9}"
        for each in result.tasks
    ]
    return "\n".join(lines)
