"""Rules about fairness: that no kind of task can be kept waiting for ever, and that what tasks use is counted."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from schedtui.backend.model import Finding, Severity
from schedtui.backend.verifier.bytecode.calls import ENQ_HEAD, MOST_PROCESSES
from schedtui.backend.verifier.bytecode.events import (
    EXCUSED,
    FAILED,
    PINNED,
    STATELESS,
    Drain,
    Event,
    Insert,
    Mixed,
    Store,
)
from schedtui.backend.verifier.bytecode.families import Family
from schedtui.backend.verifier.bytecode.seen import Seen, place, way
from schedtui.backend.verifier.bytecode.values import Value, has_bit, labels, mixes_tasks

_USE = frozenset(("task.se.sum_exec_runtime", "task.scx.slice", "task.utime", "task.stime", "task.se.exec_start"))
"""What tells how long a task has run."""

_MEASURES = ("running", "stopping", "tick", "quiescent", "dispatch", "runnable", "yield")
"""Callbacks in which a difference of the clock is how long a task ran, or slept."""

_BEFORE_USE = ("init_task", "enable", "init", "fork")
_CHANGES = ("task.se.", "task.scx.slice", "task.scx.dsq_vtime", "task.nvcsw", "task.nivcsw", "task.utime", "task.stime")
"""Fields of a task that change by what it does."""


def judge(seen: Seen) -> Iterator[Finding]:
    yield from _strict_order(seen)
    yield from _strict_levels(seen)
    yield from _overtaking(seen)
    yield from _last_first(seen)
    yield from _keys(seen)
    yield from _mixed_up(seen)


# ---- one queue before the other


def _strict_order(seen: Seen) -> Iterator[Finding]:
    """A queue from which tasks are taken only when another is empty."""
    drains = [(event, family) for event, family in seen.drains() if not family.is_built_in]
    names = {family.name: family for _, family in drains}
    filled = _filled(seen)
    for lower in names.values():
        if not filled.get(lower.name):
            continue
        ways = [event for event, family in drains if family.name == lower.name]
        before = frozenset.intersection(*(event.key.marks for event in ways))
        for higher in names.values():
            if FAILED + higher.name not in before or _are_alike(higher, lower):
                continue
            into_higher = [each for each in filled.get(higher.name, ()) if not _is_excused(each)]
            if into_higher:
                certain = higher.varies is None and lower.varies is None and not _depends_on_use(into_higher)
                yield _comes_second(ways[0], "error" if certain else "warning")


def _filled(seen: Seen) -> dict[str, list[Insert]]:
    found: dict[str, list[Insert]] = {}
    for event, family in seen.inserts():
        found.setdefault(family.name, []).append(event)
    return found


def _are_alike(first: Family, second: Family) -> bool:
    """Queues of the same kind for several CPUs, where each takes from its own first."""
    return first.varies is not None and second.varies is not None and first.base == second.base


def _is_excused(event: Event) -> bool:
    return bool(event.key.marks & {EXCUSED, STATELESS})


def _depends_on_use(events: Iterable[Event]) -> bool:
    """Whether what a task did before can have decided where it goes; then it may end up in the other queue, too."""
    return any(each.startswith(("map:", "memory", "now", *_CHANGES)) for event in events for each in event.decisions)


def _comes_second(event: Drain, severity: Severity) -> Finding:
    return Finding(
        rule="starving-priority",
        severity=severity,
        place=place(event),
        meaning="Tasks are taken from this queue only when another one is empty. As long as that has tasks, "
        "programs that wait here do not run at all.",
        remedy="Let tasks that have waited for long move up: sort both into one queue by a time with "
        "scx_bpf_dsq_insert_vtime(), or take from this queue first every few times.",
        details=way(event),
    )


def _strict_levels(seen: Seen) -> Iterator[Finding]:
    """Queues by level, gone through from the first to the last, each time anew."""
    filled = _filled_by_level(seen)
    drains = [(event, family) for event, family in seen.drains() if not family.is_built_in]
    for event, family in drains:
        if not _counts_up(family) or FAILED + family.name not in event.key.marks or not filled.get(family.base):
            continue
        if all(_counts_up(other) for _, other in drains if other.can_be(family)):
            certain = not _depends_on_use(filled[family.base])
            yield _comes_second(event, "error" if certain else "warning")


def _counts_up(family: Family) -> bool:
    """Whether its number is that of the round of a loop, which always begins with the same."""
    return family.varies is not None and labels(family.varies) == {"loop"}


def _filled_by_level(seen: Seen) -> dict[int, list[Insert]]:
    """Insertions into queues whose number was computed from what a task is."""
    found: dict[int, list[Insert]] = {}
    for event, family in seen.inserts():
        if family.varies is None or _is_excused(event):
            continue
        if any(each.startswith(("task.", "map:")) for each in labels(family.varies)):
            found.setdefault(family.base, []).append(event)
    return found


def _overtaking(seen: Seen) -> Iterator[Finding]:
    """Some tasks go where a CPU looks before any queue of the policy, others wait in such a queue."""
    inserts = [(event, family) for event, family in seen.inserts() if event.root in ("enqueue", "select_cpu")]
    if not any(not family.is_built_in and not _is_excused(event) for event, family in inserts):
        return
    for event, family in inserts:
        if not family.is_built_in or _is_excused(event):
            continue
        yield Finding(
            rule="starving-priority",
            severity=_overtaking_is(event),
            place=place(event),
            meaning="Some tasks go directly to a CPU, or to the global queue, and overtake all that wait in the "
            "policy's own queue. As long as there are such tasks, the others do not run at all.",
            remedy="Keep that for an idle CPU, and for the kernel's own threads of one CPU; put all others into the "
            "shared queue.",
            details=way(event),
        )


def _overtaking_is(event: Insert) -> Severity:
    """Certain for tasks that are chosen by what they are; harmless as a rule for bound ones, or by what they did."""
    if PINNED in event.key.marks or _depends_on_use([event]):
        return "note"
    return "error" if any(map(_is_nature, event.decisions)) else "warning"


def _last_first(seen: Seen) -> Iterator[Finding]:
    """Tasks that are put before all that wait."""
    for event, family in seen.inserts():
        if family.is_built_in or event.root != "enqueue" or len(event.values) > 4 or _is_excused(event):
            continue
        if has_bit(event.values[3], ENQ_HEAD) and "arg:1" not in event.decisions:
            others = [each for each, to in seen.inserts() if to.name == family.name and each is not event]
            always = all(has_bit(each.values[3], ENQ_HEAD) for each in others)
            yield Finding(
                rule="starving-priority",
                severity="error" if always or not _depends_on_use([event]) else "warning",
                place=place(event),
                meaning="Tasks are put to the head of the queue, before all that wait there already. As long as more "
                "come, the first ones do not run at all.",
                remedy="Put tasks to the end of the queue, or sort it by a time.",
                details=way(event),
            )


def _is_nature(label: str) -> bool:
    """Whether a condition looked at something that a task has by nature, and keeps."""
    return label.startswith("task.") and not label.startswith((*_CHANGES, "task.cpus_ptr"))


# ---- sorted queues


def _keys(seen: Seen) -> Iterator[Finding]:
    """What queues are sorted by."""
    for event in seen.all(Insert):
        if len(event.values) < 5 or _is_excused(event):
            continue
        key = event.values[4]
        origins = labels(key)
        states = {each for each in origins if each == "task.scx.dsq_vtime" or each.startswith("map:")}
        if states:
            yield from _uncharged(seen, event, key, states)
        elif origins and all(_is_nature(each) for each in origins):
            yield _fixed_key(event)


def _uncharged(seen: Seen, event: Insert, key: Value, states: set[str]) -> Iterator[Finding]:
    fed = seen.sources(states, but=_BEFORE_USE)
    if fed & _USE or _is_charged_by_clock(seen, fed):
        return
    if any(each.startswith("memory") for each in fed):
        return  # kept in memory that cannot be followed
    sorted_by_time = "now" in seen.sources(labels(key))
    yield Finding(
        rule="vtime-never-charged",
        severity="warning" if sorted_by_time else "error",
        place=place(event),
        meaning="The queue is sorted by what each task has had, but what a task uses is never added to that. A "
        "program that always wants to run gets no less than it wants, and others wait.",
        remedy="Add what a task ran to its vtime in stopping(): used time * 100 / p->scx.weight.",
        details=way(event),
    )


def _is_charged_by_clock(seen: Seen, counted: set[str]) -> bool:
    """Whether the time since a task's own time stamp is added to something that counts."""
    own = [each for each in seen.all(Store) if each.root not in _BEFORE_USE and "now" in each.origins]
    stamps = {to for each in own for to in each.to if to.startswith(("map:", "memory"))}
    return any(each.root in _MEASURES and each.to & counted and each.origins & stamps for each in own)


def _fixed_key(event: Insert) -> Finding:
    return Finding(
        rule="starving-priority",
        severity="error",
        place=place(event),
        meaning="The queue is sorted by something that a task keeps for ever, such as its priority. Tasks that are "
        "sorted to the front can keep the others waiting without end.",
        remedy="Sort by a time, or by a vtime to which what a task uses is added.",
        details=way(event),
    )


def _mixed_up(seen: Seen) -> Iterator[Finding]:
    """What decides whose turn it is, kept where several tasks share a place."""
    shared = [each for each in seen.all(Mixed) if not seen.is_rare(each)]
    # What queues share that are chosen by the same part of the number is theirs.
    inserts = [each for each in seen.all(Insert) if not mixes_tasks(each.values[1], MOST_PROCESSES)]
    sorted_by = seen.sources(label for each in inserts for value in each.values[4:] for label in labels(value))
    decided_by = seen.sources(label for each in inserts for label in each.decisions)
    wrong = [each for each in shared if each.to & sorted_by] or [each for each in shared if each.to & decided_by]
    for event in wrong[:1]:
        yield Finding(
            rule="tasks-mixed-up",
            severity="error" if event.to & sorted_by else "warning",
            place=place(event),
            meaning="What the policy knows of a task stands at a place that is computed from a part of its process "
            "number. Tasks whose numbers have that part in common are taken for one: each pays for what the others "
            "use.",
            remedy="Keep a task's state with TASK_STATE().",
            details=way(event),
        )
