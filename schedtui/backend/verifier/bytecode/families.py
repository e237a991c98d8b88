"""Which queue an instruction means, as far as its number can be known."""

from __future__ import annotations

from typing import NamedTuple

from schedtui.backend.verifier.bytecode import calls
from schedtui.backend.verifier.bytecode.values import (
    Argument,
    Const,
    Load,
    Operation,
    Result,
    Unknown,
    Value,
    alternatives,
    labels,
)


class Family(NamedTuple):
    """One queue, or several whose numbers are computed: a fixed ``base``, plus something that ``varies``."""

    base: int
    varies: Value | None

    @property
    def name(self) -> str:
        """The same for two queues that cannot be told apart."""
        if self.varies is None:
            return f"{self.base:#x}"
        return f"{self.base:#x}+{','.join(sorted(labels(self.varies)))}"

    @property
    def is_built_in(self) -> bool:
        return bool(self.base & calls.BUILT_IN)

    @property
    def is_open(self) -> bool:
        """Its number was read from somewhere, so that nothing certain is known of it."""
        return self.varies is not None and _is_open(self.varies)

    def can_be(self, other: Family) -> bool:
        """Whether both can mean the same queue."""
        if self.varies is None and other.varies is None:
            return self.base == other.base
        if self.is_open or other.is_open:
            return True
        if self.varies is not None and other.varies is not None:
            return self.base == other.base
        fixed, varying = (self, other) if self.varies is None else (other, self)
        return varying.base <= fixed.base < varying.base + _MOST_IN_A_ROW


_COMPUTED_FROM = ("arg:", "call:", "loop", "now", "task.")
"""Origins in which no number of a queue is kept."""

_MOST_IN_A_ROW = 1 << 16
"""As many queues with numbers in a row as there can be CPUs, and more."""


def families(queue: Value) -> tuple[Family, ...]:
    """The queues that a number can mean."""
    return tuple(dict.fromkeys(map(_family, sorted(alternatives(queue), key=repr))))


def _family(queue: Value) -> Family:
    if isinstance(queue, Const):
        return Family(queue.number, None)
    if isinstance(queue, Operation) and queue.sign in ("+", "|") and isinstance(queue.right, Const):
        inner = _family(queue.left)
        return Family((inner.base + queue.right.number) & ((1 << 64) - 1), inner.varies)
    return Family(0, queue)


def _is_open(value: Value) -> bool:
    if isinstance(value, Operation):
        return _is_open(value.left) or _is_open(value.right)
    if isinstance(value, Unknown):
        return any(not each.startswith(_COMPUTED_FROM) for each in value.origins)
    if isinstance(value, Load):
        return not all(each.startswith(_COMPUTED_FROM) for each in labels(value))
    return not isinstance(value, Const | Argument | Result)
