"""What a policy was seen to do, wherever its ways lead: the material of the rules."""

from __future__ import annotations

from msgspec import Struct

from schedtui.backend.verifier.btf import Line
from schedtui.backend.verifier.bytecode.values import Value

EXCUSED, PINNED, ALLOWED, STATELESS = "excused", "pinned", "allowed", "stateless"
"""What a way has established of its task: rare or brief by nature; bound to one CPU; its CPU was checked against those
that it may use; has no state, which cannot be when init_task() makes it."""

FAILED = "empty:"
"""Begins the mark of a queue in which this way found nothing."""

NULL = "null:"
"""Begins the mark of a place in memory that was found to hold 0."""

MADE, RENEWED = "made:", "renewed"
"""The beginning of the mark of a map in which this way made state for its task; that the running task's slice was
made longer."""


class Key(Struct, frozen=True, cache_hash=True):
    """What distinguishes ways that lead to the same instruction: the others are looked at as one."""

    placed: bool = False
    """The task that was to be queued is in a queue, or in a place of the policy's own."""
    holding: bool = False
    """A task was taken from a place of the policy's own, and is not in a queue again."""
    marks: frozenset[str] = frozenset()


class Step(Struct, frozen=True):
    """A branch that was taken, and those before it."""

    before: Step | None
    line: Line


class Event(Struct, frozen=True, kw_only=True):
    """Something that happens on a way through ``root`` (a callback's name, or that of a function called later)."""

    root: str
    line: Line | None
    key: Key
    steps: Step | None
    decisions: frozenset[str]
    """Origins of everything that was branched on before."""
    values: tuple[Value, ...]


class Insert(Event, frozen=True, kw_only=True):
    """A task is put into a queue. Values: task, queue, slice, enqueue flags, and for a sorted queue, vtime."""


class Create(Event, frozen=True, kw_only=True):
    """A queue is made. Values: queue."""


class Drain(Event, frozen=True, kw_only=True):
    """A task is taken out of a queue, to run. Values: queue, CPU (of dispatch)."""


class Move(Event, frozen=True, kw_only=True):
    """A task is put from one queue into another. Values: the queue where it goes."""


class Look(Event, frozen=True, kw_only=True):
    """A queue is looked at, and nothing taken out. Values: queue."""


class Recall(Event, frozen=True, kw_only=True):
    """The state of a task is looked up. Values: map."""

    creates: bool
    """It is made where there is none."""


class Kick(Event, frozen=True, kw_only=True):
    """A CPU is told to look. Values: CPU, flags."""


class SetSlice(Event, frozen=True, kw_only=True):
    """A task's slice is changed. Values: task, slice."""


class Store(Event, frozen=True, kw_only=True):
    """Something is written to memory. Values: address, value."""

    to: frozenset[str]
    origins: frozenset[str]


class Parked(Event, frozen=True, kw_only=True):
    """A task is put into a place of the policy's own. Values: map, if it is one."""


class Enter(Event, frozen=True, kw_only=True):
    """A task is entered into a table by its number. Values: map."""


class Strike(Event, frozen=True, kw_only=True):
    """Something is struck out of a table. Values: map."""


class Mixed(Event, frozen=True, kw_only=True):
    """A place is used whose number was cut from that of a task, so that several tasks share it."""

    to: frozenset[str]


class Taken(Event, frozen=True, kw_only=True):
    """Something is taken out of a map that is a queue. Values: map."""


class Return(Event, frozen=True, kw_only=True):
    """The end of a way. Values: what is returned."""


class Repeats(Event, frozen=True, kw_only=True):
    """A loop. Values: the queue, when it walks one."""

    times: int
    """At most this often, all loops around it included; 0: not known."""
    whole_queue: bool = False
    """Nothing but the end of the queue ends it."""
    nested: bool = False
    """Within another walk of a queue."""
