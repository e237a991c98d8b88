"""Rules about queues: that each exists and is emptied, on CPUs where its tasks may run."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from schedtui.backend.model import Finding
from schedtui.backend.verifier.bytecode import calls
from schedtui.backend.verifier.bytecode.events import ALLOWED, PINNED, Create, Drain, Event, Insert, Look
from schedtui.backend.verifier.bytecode.families import Family, families
from schedtui.backend.verifier.bytecode.seen import Seen, place, way
from schedtui.backend.verifier.bytecode.values import Const, labels, signed

_ALLOWED = frozenset(f"call:{each}" for each in calls.PICKS_ALLOWED)
_ARBITRARY = frozenset(("call:helper 7", "task.pid", "task.tgid", "task.start_time", "task.start_boottime"))
MOST_CPUS = 8192
"""Of any kernel. Source: CONFIG_NR_CPUS of arch/x86/Kconfig."""
_MOST_ERRORS = 4095
_THIS_CPU = frozenset(("arg:0", "call:helper 8"))


def judge(seen: Seen) -> Iterator[Finding]:
    yield from _never_created(seen)
    yield from _never_drained(seen)
    yield from _stranded(seen)
    yield from _left_behind(seen)


def _never_created(seen: Seen) -> Iterator[Finding]:
    created = [family for each in seen.all(Create) for family in families(each.values[0])]
    looks = [(each, family) for each in seen.all(Look) for family in families(each.values[0])]
    taken = [(each, family) for each in seen.all(Drain) for family in families(each.values[0])]
    used: list[tuple[Event, Family]] = [*seen.inserts(), *seen.moves(), *taken, *looks]
    for event, family in used:
        if family.is_open or _is_none(family) or _exists_always(family) or any(family.can_be(each) for each in created):
            continue
        yield Finding(
            rule="dsq-not-created",
            severity="error",
            place=place(event),
            meaning=f"{_title(family)} is used but was never created: the kernel ends the policy when a task comes "
            "that way.",
            remedy="Create every queue in init() with scx_bpf_create_dsq(), with the same number.",
            details=way(event),
        )


def _is_none(family: Family) -> bool:
    """Whether it is a number such as -1, by which policies say that there is no queue."""
    return family.varies is None and -_MOST_ERRORS <= signed(family.base) < 0


def _exists_always(family: Family) -> bool:
    """The queues that the kernel makes itself."""
    of_a_cpu = 0 <= family.base - calls.LOCAL_ON < (1 if family.varies is not None else MOST_CPUS)
    return of_a_cpu or (family.varies is None and family.base in (calls.LOCAL_QUEUE, calls.GLOBAL_QUEUE))


def _never_drained(seen: Seen) -> Iterator[Finding]:
    drained = [family for _, family in seen.drains()]
    for event, family in (*seen.inserts(), *seen.moves()):
        if family.is_built_in or family.is_open or any(family.can_be(each) for each in drained):
            continue
        yield Finding(
            rule="dsq-never-drained",
            severity="error",
            place=place(event),
            meaning=f"Tasks are put into {_name(family)}, and no callback ever takes any from there. They do not run "
            "again: programs hang, until the kernel's watchdog ends the policy.",
            remedy="Take tasks from it in dispatch(), with scx_bpf_dsq_move_to_local().",
            details=way(event),
        )


def _name(family: Family) -> str:
    return f"queue {family.base}" if family.varies is None else "a queue whose number is computed"


def _title(family: Family) -> str:
    name = _name(family)
    return name[0].upper() + name[1:]


def _stranded(seen: Seen) -> Iterator[Finding]:
    drains = list(seen.drains())
    for event, family in seen.inserts():
        if ALLOWED in event.key.marks or PINNED in event.key.marks or family.is_open:
            continue
        if family.is_built_in:
            if family.base & calls.LOCAL_ON == calls.LOCAL_ON and _is_arbitrary(event, family):
                yield _given_away(event)
        elif any(_is_arbitrary_choice(event, family, each) for each in _takers(family, drains)):
            yield _waits_for_one_cpu(event, family)


def _is_arbitrary(event: Insert, family: Family) -> bool:
    """Whether a CPU was chosen without any regard to where the task may run."""
    if family.varies is None:
        return True
    origins = labels(family.varies)
    if origins & _ALLOWED or (event.root == "select_cpu" and "arg:1" in origins):
        return False
    return bool(origins & _ARBITRARY) or (bool(origins) and all(each.startswith("global:") for each in origins))


def _takers(family: Family, drains: Iterable[tuple[Drain, Family]]) -> list[tuple[Drain, Family]]:
    """Those that can take tasks from a queue, when each of them does so for one CPU, or some, only."""
    takers = [(event, each) for event, each in drains if family.can_be(each)]
    return takers if all(_is_for_own_cpu(*each) for each in takers) else []


def _is_for_own_cpu(event: Drain, family: Family) -> bool:
    """Whether a CPU takes only from what was computed from its own number, or does so only if it is a certain one."""
    if event.root == "dispatch" and isinstance(event.values[1], Const):
        return True
    return family.varies is not None and bool(labels(family.varies)) and labels(family.varies) <= _THIS_CPU


def _is_arbitrary_choice(event: Insert, family: Family, taker: tuple[Drain, Family]) -> bool:
    drain, _ = taker
    return _is_arbitrary(event, family) or isinstance(drain.values[1], Const)


def _given_away(event: Event) -> Finding:
    return Finding(
        rule="stranded-on-cpu",
        severity="error",
        place=place(event),
        meaning="A task is given to a CPU that was chosen without looking where the task may run. When it is bound to "
        "another CPU, the kernel ends the policy.",
        remedy="Look with bpf_cpumask_test_cpu(cpu, p->cpus_ptr) first, or choose with scx_bpf_pick_idle_cpu().",
        details=way(event),
    )


def _waits_for_one_cpu(event: Event, family: Family) -> Finding:
    return Finding(
        rule="stranded-on-cpu",
        severity="error",
        place=place(event),
        meaning=f"Tasks are put into {_name(family)} without looking where they may run, and only some CPUs take tasks "
        "from there. A program that is bound to another CPU never runs again.",
        remedy="Choose the queue of a CPU in p->cpus_ptr, or let every CPU look into every queue in the end.",
        details=way(event),
    )


def _left_behind(seen: Seen) -> Iterator[Finding]:
    """Tasks that are bound to a CPU which goes away, in policies that want to survive that."""
    if not (seen.has("cpu_offline") or seen.has("cpu_online")):
        return
    going = [each for each in seen.all(Drain) if each.root == "cpu_offline"]
    moved_away = [family for each in going for family in families(each.values[0])]
    for event, family in seen.inserts():
        if family.is_built_in or any(family.can_be(each) for each in moved_away):
            continue
        yield Finding(
            rule="stranded-on-cpu",
            severity="warning",
            place=place(event),
            meaning="When a CPU is switched off, as on the way to sleep, a program that is bound to it and waits in "
            f"{_name(family)} stays there, and the computer waits for it.",
            remedy="Call empty_for_offline() for each queue in cpu_offline(), or leave cpu_online() and cpu_offline() "
            "out: the kernel then starts the policy anew.",
            details=way(event),
        )
