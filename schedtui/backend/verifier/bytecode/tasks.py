"""Rules about single tasks: that each ends up in a queue, and that the end of the policy is recorded."""

from __future__ import annotations

from collections.abc import Iterator

from schedtui.backend.model import Finding
from schedtui.backend.verifier.bytecode import calls
from schedtui.backend.verifier.bytecode.events import (
    NULL,
    STATELESS,
    Enter,
    Event,
    Insert,
    Parked,
    Recall,
    Return,
    Strike,
    Taken,
)
from schedtui.backend.verifier.bytecode.seen import Seen, place, way
from schedtui.backend.verifier.bytecode.values import Argument, MapAddress, labels
from schedtui.backend.verifier.elf import Program

_QUEUES_ITS_TASK = ("enqueue", "select_cpu")


def judge(seen: Seen) -> Iterator[Finding]:
    yield from lost(seen)
    yield from _inserted_twice(seen)
    yield from _never_made(seen)
    yield from _never_struck_out(seen)
    yield from _never_taken(seen)
    yield from _no_exit_record(seen)


def lost(seen: Seen) -> Iterator[Finding]:
    """Ways that end although the task is nowhere."""
    for each in seen.all(Return):
        if each.root == "enqueue" and not each.key.placed and not _cannot_be(seen, each):
            yield _lost(each)
        elif each.root not in _QUEUES_ITS_TASK and each.key.holding:
            yield _dropped(each)


def _cannot_be(seen: Seen, event: Event) -> bool:
    """Whether the way is one for state of the policy's own that is missing, although every task has it."""
    nulls = {each.removeprefix(NULL) for each in event.key.marks if each.startswith(NULL)}
    return STATELESS in event.key.marks or bool(nulls & seen.pointers)


def _lost(event: Event) -> Finding:
    return Finding(
        rule="lost-task",
        severity="error",
        place=place(event),
        meaning="There is a way through enqueue() that puts the task into no queue. It will not run again: a program "
        "hangs, until the kernel's watchdog ends the policy.",
        remedy="Insert the task on every way through enqueue(), into a shared queue or SCX_DSQ_LOCAL, also where "
        "something that is looked up may be missing.",
        details=way(event),
    )


def _dropped(event: Event) -> Finding:
    return Finding(
        rule="lost-task",
        severity="error",
        place=place(event),
        meaning="A task is taken from a queue of the policy's own, and there is a way on which it is put nowhere then. "
        "It will not run again: a program hangs, until the kernel's watchdog ends the policy.",
        remedy="Insert every task that was taken, also when the CPU that was meant for it is no longer allowed.",
        details=way(event),
    )


def _inserted_twice(seen: Seen) -> Iterator[Finding]:
    for each in seen.all(Insert):
        if each.root in _QUEUES_ITS_TASK and each.key.placed and each.values[0] == Argument(0):
            yield Finding(
                rule="inserted-twice",
                severity="error",
                place=place(each),
                meaning="There is a way on which the same task is put into queues twice. The kernel ends the policy "
                "when that happens.",
                remedy="Return after the first insertion.",
                details=way(each),
            )


def _never_made(seen: Seen) -> Iterator[Finding]:
    """State of tasks that is looked up, and that nothing makes."""
    made = {part for each in seen.all(Recall) if each.creates for part in each.values}
    for each in seen.all(Recall):
        into = each.values[0]
        if isinstance(into, MapAddress) and into not in made:
            yield Finding(
                rule="state-never-made",
                severity="error",
                place=place(each),
                meaning=f"What the policy knows of each task is looked up in {into.name}, but nothing ever puts "
                "anything there. Every task is treated as one that nothing is known of.",
                remedy="Make the state in init_task() with new_task_state().",
            )


def _never_struck_out(seen: Seen) -> Iterator[Finding]:
    """Tables of tasks that only grow."""
    struck = {part for each in seen.all(Strike) for part in each.values}
    if not all(isinstance(each, MapAddress) for each in struck):
        return
    tables = {each.name: each for each in seen.file.maps if each.type in calls.TABLES}
    for each in seen.all(Enter):
        into = each.values[0]
        table = tables.get(into.name) if isinstance(into, MapAddress) else None
        if table is None or into in struck or table.max_entries >= calls.MOST_PROCESSES:
            continue
        yield Finding(
            rule="table-fills-up",
            severity="error",
            place=place(each),
            meaning=f"Each task is entered into {table.name}, and none is ever struck out. After {table.max_entries} "
            "of them, it is full: the policy knows nothing of those that come later, and does not treat them as it "
            "was proven to.",
            remedy=f"Delete a task's entry from {table.name} in exit_task(), or keep its state with TASK_STATE().",
            details=way(each),
        )


def _never_taken(seen: Seen) -> Iterator[Finding]:
    """Places of the policy's own from which nothing comes back."""
    comes_back = any(each.root not in _QUEUES_ITS_TASK for each in seen.all(Insert))
    taken = {part for each in seen.all(Taken) for part in each.values}
    for each in seen.all(Parked):
        into = next(iter(each.values), None)
        name = into.name if isinstance(into, MapAddress) else ""
        kinds = {one.name: one.type for one in seen.file.maps}
        is_queue = kinds.get(name) in (calls.MAP_QUEUE, calls.MAP_STACK)
        if not comes_back or (is_queue and into not in taken):
            yield Finding(
                rule="dsq-never-drained",
                severity="error",
                place=place(each),
                meaning=f"Tasks are noted down {'in ' + name if name else 'in a place of the policy’s own'}, and no "
                "callback ever takes them from there to run them. Programs hang, until the kernel's watchdog ends the "
                "policy.",
                remedy="Take the tasks from there in dispatch(), and insert them into a queue.",
                details=way(each),
            )
        elif is_queue and not _looks_whether_full(seen, each):
            yield Finding(
                rule="lost-task",
                severity="error",
                place=place(each),
                meaning=f"When {name} is full, a task is not noted down, and nothing looks whether it was. It will not "
                "run again.",
                remedy="Look at what bpf_map_push_elem() returns, and insert the task into a queue when that is not 0.",
            )


def _looks_whether_full(seen: Seen, parked: Event) -> bool:
    ends = [each for each in seen.all(Return) if each.root == parked.root]
    return any("call:push" in each.decisions or "call:push" in labels(each.values[0]) for each in ends)


def _no_exit_record(seen: Seen) -> Iterator[Finding]:
    program = seen.file.program(seen.ops.callbacks.get("exit", "")) if seen.ops else None
    if seen.ops is None or (program and _reads_why(seen, program)):
        return
    yield Finding(
        rule="no-exit-record",
        severity="warning",
        place=program.name if program else seen.ops.name,
        meaning="When the kernel ends this policy, nothing is left of why: it would look as if it had never run.",
        remedy="Add UEI_DEFINE(uei); and an exit() callback with UEI_RECORD(uei, info);",
    )


def _reads_why(seen: Seen, program: Program) -> bool:
    """Whether the function, or one that it calls, looks at what the kernel says of the end."""
    names, waiting = {program.name}, [program]
    while waiting:
        for each in waiting.pop().instructions:
            if each.adapted and each.adapted.type_name == "scx_exit_info":
                return True
            called = each.reference.name if each.reference and each.reference.kind == "program" else ""
            function = seen.file.program(called) if called and called not in names else None
            if function:
                names.add(called)
                waiting.append(function)
    return False
