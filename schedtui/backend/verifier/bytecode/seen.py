"""All that was seen of one policy, by kind, and where its values come from."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeVar

from schedtui.backend.verifier.bytecode.events import Drain, Event, Insert, Move, Step, Store
from schedtui.backend.verifier.bytecode.families import Family, families
from schedtui.backend.verifier.bytecode.values import (
    Const,
    Load,
    Operation,
    Value,
    Variable,
    alternatives,
    compute,
    signed,
)
from schedtui.backend.verifier.elf import ObjectFile, StructOps

_Kind = TypeVar("_Kind", bound=Event)

_RARE = ("init", "exit", "init_task", "exit_task", "cpu_online", "cpu_offline", "dump", "dump_cpu", "dump_task")
_MOST_STEPS = 12


class Seen:
    """The events of one object."""

    def __init__(self, file: ObjectFile, events: Iterable[Event], pointers: Iterable[str] = ()) -> None:
        """``pointers`` are the labels of places that hold addresses."""
        self.file = file
        self.pointers = frozenset(pointers)
        self.ops: StructOps | None = file.struct_ops[0] if file.struct_ops else None
        self._by_kind: dict[type[Event], list[Event]] = {}
        for each in events:
            self._by_kind.setdefault(type(each), []).append(each)
        self.roots = {each.root for those in self._by_kind.values() for each in those}
        self._variables = {(each.section, each.offset): each for each in file.globals}

    def all(self, kind: type[_Kind]) -> list[_Kind]:
        """The events of one kind."""
        return [each for each in self._by_kind.get(kind, ()) if isinstance(each, kind)]

    def has(self, op: str) -> bool:
        return self.ops is not None and op in self.ops.callbacks

    def inserts(self) -> Iterator[tuple[Insert, Family]]:
        """Each insertion, with each queue that it can mean."""
        for each in self.all(Insert):
            for family in families(each.values[1]):
                yield each, family

    def moves(self) -> Iterator[tuple[Move, Family]]:
        """What puts tasks from one queue into another, with each queue that they can go to."""
        for each in self.all(Move):
            for family in families(each.values[0]):
                yield each, family

    def drains(self) -> Iterator[tuple[Drain, Family]]:
        """What takes tasks out of queues in the ordinary course of things, with each queue that it can mean."""
        for each in self.all(Drain):
            if each.root not in _RARE:
                for family in families(each.values[0]):
                    yield each, family

    def is_rare(self, event: Event) -> bool:
        """Whether it is in a callback that tasks do not wait for."""
        return event.root in _RARE

    def is_callback(self, event: Event) -> bool:
        """Whether it is in a callback of the kernel, and not in a timer's or a program that user space calls."""
        return self.has(event.root)

    def sources(self, origins: Iterable[str], *, but: tuple[str, ...] = ()) -> set[str]:
        """Everything that ``origins`` are made of, through what was stored in between.

        Stores in the callbacks ``but`` are left out.
        """
        fed: dict[str, set[str]] = {}
        for each in self.all(Store):
            if each.root not in but:
                for to in each.to:
                    fed.setdefault(to, set()).update(each.origins)
        found: set[str] = set()
        waiting = list(origins)
        while waiting:
            origin = waiting.pop()
            if origin not in found:
                found.add(origin)
                waiting += fed.get(origin, ())
        return found

    def numbers(self, value: Value) -> list[int]:
        """What a value is with the defaults of the tunables, where that can be said."""
        found = (self._number(each) for each in alternatives(value))
        return [each for each in found if each is not None]

    def _number(self, value: Value) -> int | None:
        if isinstance(value, Const):
            return value.number
        if isinstance(value, Load) and isinstance(value.address, Variable):
            variable = self._variables.get((value.address.section, value.address.offset))
            if variable and variable.section.startswith((".rodata", ".data")):
                return int.from_bytes(variable.initial[: value.size], "little")
        if isinstance(value, Operation):
            left, right = self._number(value.left), self._number(value.right)
            if left is not None and right is not None:
                return compute(value.sign, left, right)
        return None


def place(event: Event) -> str:
    """Where something happens, for a person."""
    if event.line is None:
        return event.root
    return f"{event.line.file.rpartition('/')[2]}:{event.line.number} ({event.root})"


def way(event: Event) -> str:
    """The branches that lead there, a line each."""
    lines: list[str] = []
    step: Step | None = event.steps
    while step is not None and len(lines) < _MOST_STEPS:
        text = f"{step.line.number}: {step.line.text}".rstrip(": ")
        if not lines or lines[-1] != text:
            lines.append(text)
        step = step.before
    return "\n".join(("The way there leads through these lines:", *reversed(lines))) if lines else ""


def clock(number: int) -> str:
    """A time in ns, for a person."""
    seconds = number / 1e9
    return "without end" if signed(number) < 0 else f"{seconds:.0f} s" if seconds >= 1 else f"{seconds * 1000:.0f} ms"
