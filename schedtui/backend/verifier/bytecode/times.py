"""Rules about time: how long a task may run, and how long a callback may take."""

from __future__ import annotations

from collections.abc import Iterator

from schedtui.backend.model import Finding
from schedtui.backend.verifier.bytecode import calls
from schedtui.backend.verifier.bytecode.events import RENEWED, Event, Insert, Kick, Repeats, Return, SetSlice
from schedtui.backend.verifier.bytecode.seen import Seen, clock, place, way
from schedtui.backend.verifier.bytecode.values import Const, Value, alternatives, has_bit

LONG_SLICE_NS = 1_000_000_000
"""A task that runs this long holds up what waits for its CPU as much as the kernel stage would accept at most."""

LONGEST_WATCHDOG_NS = 30_000_000_000
MANY_ROUNDS = 1 << 14
"""Of a loop, in one callback: some hundred microseconds."""

TOO_MANY_ROUNDS = 1 << 20
"""Of a loop, in one callback: some milliseconds in which the CPU does nothing else."""

_SEES_OTHERS = ("tick", "enqueue", "select_cpu", "runnable", "update_idle", "cpu_release")
_ABOUT_WHO_WAITS = ("enqueue", "select_cpu", "runnable")
_OF_BOUND_TASKS = ("task.cpus_ptr", "task.nr_cpus_allowed", "task.migration_disabled", "task.flags")
"""What policies look at to leave out the kernel's own threads of one CPU."""

_ROUNDS_IN_A_WALK = 64


def judge(seen: Seen) -> Iterator[Finding]:
    yield from _endless_slices(seen)
    yield from _renewed_slices(seen)
    yield from _unbounded_work(seen)


def _endless_slices(seen: Seen) -> Iterator[Finding]:
    if _preempts(seen):
        return
    watchdog_ns = _watchdog_ns(seen)
    given = [(each, each.values[2]) for each in seen.all(Insert)] + [
        (each, each.values[1]) for each in seen.all(SetSlice)
    ]
    for event, slice_ns in given:
        longest = max(seen.numbers(slice_ns), default=0)
        if longest < LONG_SLICE_NS:
            continue
        yield Finding(
            rule="endless-slice",
            severity="error" if longest >= watchdog_ns else "warning",
            place=place(event),
            meaning=f"A task may run {_how_long(longest)}, and nothing interrupts it, or only certain tasks do. A "
            "program that computes keeps its CPU, and what waits for that CPU stands still.",
            remedy="Give slices of a few milliseconds (SCX_SLICE_DFL is 20), or interrupt the task when others wait, "
            "with scx_bpf_kick_cpu(cpu, SCX_KICK_PREEMPT).",
            details=way(event),
        )


def _renewed_slices(seen: Seen) -> Iterator[Finding]:
    """A slice that is made longer at each tick does not end."""
    ends = [each for each in seen.all(Return) if each.root == "tick"]
    if ends and all(RENEWED in each.key.marks for each in ends) and not _preempts(seen, but="tick"):
        yield Finding(
            rule="endless-slice",
            severity="error",
            place=place(ends[0]),
            meaning="At each tick of the clock the running task gets a new slice, so that none ever ends. A program "
            "that computes keeps its CPU, and whatever waits for that CPU stands still.",
            remedy="Give a task in tick() a new slice only when nothing waits, or none at all.",
        )


def _how_long(slice_ns: int) -> str:
    told = clock(slice_ns)
    return told if told == "without end" else f"for {told}"


def _watchdog_ns(seen: Seen) -> int:
    timeout_ms = seen.ops.values.get("timeout_ms", 0) if seen.ops else 0
    if not isinstance(timeout_ms, int) or not timeout_ms:
        return LONGEST_WATCHDOG_NS
    return min(timeout_ms * 1_000_000, LONGEST_WATCHDOG_NS)


def _preempts(seen: Seen, but: str = "") -> bool:
    """Whether anything, ``but`` a callback, can take a CPU from a running task before its slice ends, for whoever
    waits."""
    kicks = [each for each in seen.all(Kick) if _may_have(each.values[1], calls.KICK_PREEMPT)]
    inserts = [each for each in seen.all(Insert) if has_bit(each.values[3], calls.ENQ_PREEMPT)]
    slices = [each for each in seen.all(SetSlice) if each.root != but and _shortens(seen, each)]
    return any(map(_is_for_all, [*kicks, *inserts, *slices]))


def _is_for_all(event: Event) -> bool:
    """Whether it is not only done for certain tasks, when they are queued: of the others, the first keeps its CPU."""
    return event.root not in _ABOUT_WHO_WAITS or not any(map(_tells_tasks_apart, event.decisions))


def _tells_tasks_apart(label: str) -> bool:
    return label.startswith(("task.", "map:", "memory")) and label not in _OF_BOUND_TASKS


def _shortens(seen: Seen, event: Event) -> bool:
    if event.root not in _SEES_OTHERS and seen.is_callback(event):
        return False
    numbers = seen.numbers(event.values[1])
    return not numbers or min(numbers) < LONG_SLICE_NS


def _may_have(flags: Value, flag: int) -> bool:
    return any(not isinstance(each, Const) or each.number & flag for each in alternatives(flags))


def _unbounded_work(seen: Seen) -> Iterator[Finding]:
    for each in seen.all(Repeats):
        if seen.is_rare(each):
            continue
        if each.whole_queue and seen.is_callback(each):
            yield _walks(each)
        elif each.times >= MANY_ROUNDS:
            yield _many_rounds(each)


def _many_rounds(event: Repeats) -> Finding:
    far_too_many = event.times >= TOO_MANY_ROUNDS
    return Finding(
        rule="unbounded-work",
        severity="error" if far_too_many else "warning",
        place=place(event),
        meaning=f"A loop in this callback goes round up to {event.times:,} times. While it does, its CPU runs no "
        "program and answers to nothing.",
        remedy="Bound loops by the number of CPUs or by a few dozen rounds, and go on the next time.",
        details=way(event),
    )


def _walks(event: Repeats) -> Finding:
    within = event.nested or event.times >= _ROUNDS_IN_A_WALK
    return Finding(
        rule="unbounded-work",
        severity="error" if within else "warning",
        place=place(event),
        meaning="This callback looks at every task that waits in a queue"
        + (", again and again" if within else "")
        + ". With a few thousand of them, the whole machine slows down.",
        remedy="Stop after a few tasks: the queue can be sorted with scx_bpf_dsq_insert_vtime() instead.",
        details=way(event),
    )
