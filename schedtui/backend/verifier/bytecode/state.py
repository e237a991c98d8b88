"""What is known at one place of a program, and what a condition adds to it."""

from __future__ import annotations

from schedtui.backend.verifier.btf import Line
from schedtui.backend.verifier.bytecode import calls
from schedtui.backend.verifier.bytecode.events import ALLOWED, EXCUSED, FAILED, NULL, PINNED, STATELESS, Step
from schedtui.backend.verifier.bytecode.families import families
from schedtui.backend.verifier.bytecode.values import (
    Argument,
    Choice,
    Const,
    Field,
    Load,
    Operation,
    Result,
    Site,
    Stack,
    Unknown,
    Value,
    holds,
    join,
    labels,
    signed,
)

NONE_TAKEN, NOT_PLACED = "none taken", "not placed"
"""Marks that undo: nothing came out of a place of the policy's own, or nothing went in."""

Range = tuple[int, int, bool]
"""The lowest and the highest number that a value can be, and whether it is certainly not 0."""

_LOW, _HIGH = -(1 << 63), (1 << 64) - 1
_ANY: Range = (_LOW, _HIGH, False)
OPPOSITE = {
    "==": "!=",
    "!=": "==",
    "u>": "u<=",
    "u>=": "u<",
    "u<": "u>=",
    "u<=": "u>",
    ">": "<=",
    ">=": "<",
    "<": ">=",
    "<=": ">",
}
MIRRORED = {
    "==": "==",
    "!=": "!=",
    "u>": "u<",
    "u>=": "u<=",
    "u<": "u>",
    "u<=": "u>=",
    ">": "<",
    ">=": "<=",
    "<": ">",
    "<=": ">=",
}
_TRUE_OF_EQUALS = ("==", "u>=", "u<=", ">=", "<=")
_KERNEL_OWN = calls.PF_KTHREAD | calls.PF_EXITING
_RARE_ENQUEUES = calls.ENQ_LAST | calls.ENQ_REENQ


class State:
    """What is known at one place: registers, stack by frame and offset, and what conditions have told of values."""

    __slots__ = ("decisions", "facts", "line", "regs", "stack", "steps")

    def __init__(self) -> None:
        self.regs: list[Value] = [Unknown(("", -1, index)) for index in range(11)]
        self.stack: dict[tuple[int, int], tuple[int, Value]] = {}
        self.facts: dict[Value, Range] = {}
        self.line: Line | None = None
        self.steps: Step | None = None
        self.decisions: frozenset[str] = frozenset()

    def copy(self) -> State:
        other = State.__new__(State)
        other.regs = self.regs.copy()
        other.stack = self.stack.copy()
        other.facts = self.facts.copy()
        other.line, other.steps, other.decisions = self.line, self.steps, self.decisions
        return other

    def meet(self, other: State, function: str, block: int) -> bool:
        """Keep only what holds in both; whether anything changed."""
        changed = False
        if self.regs != other.regs:
            changed = self._meet_registers(other, function, block)
        if self.stack != other.stack:
            changed = self._meet_stack(other, function, block) or changed
        if self.facts != other.facts:
            for value in [value for value, known in self.facts.items() if other.facts.get(value) != known]:
                del self.facts[value]
                changed = True
        if not other.decisions <= self.decisions:
            self.decisions |= other.decisions
            changed = True
        return changed

    def _meet_registers(self, other: State, function: str, block: int) -> bool:
        changed = False
        for index, (value, there) in enumerate(zip(self.regs, other.regs, strict=True)):
            if value is not there and value != there:
                joined = join(value, there, (function, block, index))
                if joined is not value and joined != value:
                    self.regs[index], changed = joined, True
        return changed

    def _meet_stack(self, other: State, function: str, block: int) -> bool:
        changed = False
        for slot, (size, value) in list(self.stack.items()):
            beside = other.stack.get(slot)
            if beside is None or beside[0] != size:
                del self.stack[slot]
                changed = True
            elif value is not beside[1]:
                joined = join(value, beside[1], (function, block, 1000 * slot[0] + 16 - slot[1]))
                if joined is not value and joined != value:
                    self.stack[slot], changed = (size, joined), True
        return changed

    def value(self, value: Value) -> Value:
        """The value, by all that the way here has told of it."""
        known = self.facts.get(value)
        if known and known[0] == known[1]:
            return Const(known[0] & ((1 << 64) - 1))
        if isinstance(value, Choice) and known:
            left = [each for each in value.alternatives if _can_be(each, known)]
            if len(left) == 1:
                return left[0]
        return value

    def forget(self, value: Value) -> None:
        """What was known of a value that is made anew."""
        for each in [each for each in self.facts if holds(each, value)]:
            del self.facts[each]


def from_stack(state: State, frame: int, offset: int, size: int, site: Site) -> Value:
    """What a function reads from its stack, or a caller's."""
    there = state.stack.get((frame, offset))
    if there and there[0] >= size:
        return state.value(there[1])
    for distance in range(1, 8):
        around = state.stack.get((frame, offset - distance))
        if around and around[0] >= distance + size and isinstance(around[1], Const):
            return Const(around[1].number >> (8 * distance) & ((1 << (8 * size)) - 1))
    return Unknown(site)


def to_stack(state: State, frame: int, offset: int, size: int, value: Value) -> None:
    for distance in range(1, 8):
        state.stack.pop((frame, offset + distance), None) if distance < size else None
        before = state.stack.get((frame, offset - distance))
        if before and before[0] > distance:
            del state.stack[frame, offset - distance]
    state.stack[frame, offset] = (size, value)


def at(state: State, address: Value) -> Value | None:
    """What lies at an address of the stack, if that is known."""
    if not isinstance(address, Stack):
        return None
    there = state.stack.get((address.frame, address.offset))
    return there[1] if there else None


def put(state: State, address: Value, size: int, value: Value) -> None:
    """What a function of the kernel writes to the stack."""
    if isinstance(address, Stack):
        to_stack(state, address.frame, address.offset, size, value)


def narrowed(value: Value) -> Value:
    """A number as an instruction with 32 bits sees it, its sign kept."""
    if not isinstance(value, Const):
        return value
    low = value.number & 0xFFFFFFFF
    return Const((low - (1 << 32) if low >> 31 else low) & _HIGH)


def assume(state: State, sign: str, left: Value, right: Value) -> frozenset[str] | None:
    """Add a condition to a state. The marks that it brings, or None when it cannot hold."""
    if not isinstance(right, Const):
        if left == right and sign not in _TRUE_OF_EQUALS:
            return None
        return frozenset()
    number = signed(right.number)
    before = _known(state, left)
    after = _narrow(before, sign, number)
    if after is None:
        return None
    if isinstance(left, Const):
        return frozenset()
    if isinstance(left, Choice):
        return _assume_choice(state, sign, left, right, after)
    if isinstance(left, Operation) and left.sign == "^" and left.right == Const(1) and sign in ("==", "!="):
        return assume(state, OPPOSITE[sign], left.left, right) if number == 0 else frozenset()
    state.facts[left] = after
    return _marks(left, after)


def _assume_choice(state: State, sign: str, left: Choice, right: Const, after: Range) -> frozenset[str] | None:
    remaining = [each for each in left.alternatives if _narrow(_known(state, each), sign, signed(right.number))]
    if not remaining:
        return None
    state.facts[left] = after
    if len(remaining) == 1:
        return assume(state, sign, remaining[0], right)
    return frozenset()


def _known(state: State, value: Value) -> Range:
    if isinstance(value, Const):
        number = signed(value.number)
        return number, number, number != 0
    if value in state.facts:
        return state.facts[value]
    if isinstance(value, Operation) and isinstance(value.right, Const):
        limit = value.right.number
        if value.sign == "&" and limit >> 63 == 0:
            return 0, limit, False
        if value.sign == "%" and limit:
            return 0, limit - 1, False
    if isinstance(value, Stack):
        return 1, _HIGH, True
    if isinstance(value, Load) and value.size < 4:
        return 0, (1 << (8 * value.size)) - 1, False
    return _ANY


def _can_be(value: Value, known: Range) -> bool:
    if not isinstance(value, Const):
        return True
    number = signed(value.number)
    return known[0] <= number <= known[1] and not (number == 0 and known[2])


def _narrow(known: Range, sign: str, number: int) -> Range | None:
    """What is known after a comparison with a number; None when it cannot be true."""
    low, high, nonzero = known
    match sign:
        case "==":
            low, high = max(low, number), min(high, number)
        case "!=":
            low += low == number
            high -= high == number
            nonzero = nonzero or number == 0
        case ">" | ">=":
            low = max(low, number + (sign == ">"))
        case "<" | "<=":
            high = min(high, number - (sign == "<"))
        case "u<" | "u<=" if number >= 0:
            low, high = max(low, 0), min(high, number - (sign == "u<"))
        case "u>" | "u>=" if number >= 0:
            if low >= 0:
                low = max(low, number + (sign == "u>"))
            nonzero = nonzero or number > 0 or sign == "u>"
            if high < low or (low == high and low >= 0 and low < number):
                return None
    if low > high or (low == high == 0 and nonzero):
        return None
    return low, high, nonzero


def _marks(value: Value, known: Range) -> frozenset[str]:
    """What a condition says of the task, of queues, and of what was asked of the kernel."""
    low, high, nonzero = known
    is_true = nonzero or low > 0 or high < 0
    if isinstance(value, Result):
        return frozenset(_marks_of_result(value, is_true, low, high))
    if isinstance(value, Operation) and value.sign == "&" and isinstance(value.right, Const) and is_true:
        mask, about = value.right.number, value.left
        if _is_field(about, "task.flags") and mask & _KERNEL_OWN:
            return frozenset((EXCUSED,))
        if about == Argument(1) and mask & _RARE_ENQUEUES:
            return frozenset((EXCUSED,))
    if _is_field(value, "task.nr_cpus_allowed") and low == high == 1:
        return frozenset((PINNED, ALLOWED))
    if _is_field(value, "task.migration_disabled") and is_true:
        return frozenset((PINNED,))
    if _is_field(value, "task.mm") and low == high == 0:
        return frozenset((EXCUSED,))
    if isinstance(value, Load) and value.size == 8 and low == high == 0:
        return frozenset(NULL + each for each in labels(value) if each.startswith(("map:", "memory", "global:")))
    return frozenset()


def _is_field(value: Value, name: str) -> bool:
    return isinstance(value, Load) and isinstance(value.address, Field) and value.address.name == name


def _marks_of_result(value: Result, is_true: bool, low: int, high: int) -> tuple[str, ...]:
    name, is_zero = value.name, low == high == 0
    if name in ("move", calls.QUEUE_LENGTH, calls.PEEKS, "next task") and is_zero and value.about:
        found = families(value.about[0])
        empty = (FAILED + found[0].name,) if len(found) == 1 else ()
        return (*empty, EXCUSED) if name == calls.QUEUE_LENGTH else empty
    if name == calls.TESTS_CPU and is_true and value.about:
        of = labels(value.about[1])
        return tuple(mark for label, mark in ((_OWN_CPUS, ALLOWED), (_IDLE, EXCUSED)) if of & label)
    if name in calls.IDLE_IF_TRUE and is_true:
        return (EXCUSED,)
    if name in calls.IDLE_IF_NOT_NEGATIVE and low >= 0:
        return EXCUSED, ALLOWED
    if name in ("storage", "element") and is_zero:
        return (STATELESS,)
    if (name == "pop" and is_true) or (name == "bpf_task_from_pid" and is_zero):
        return (NONE_TAKEN,)
    if name == "push" and is_true:
        return NOT_PLACED, EXCUSED
    return ()


_OWN_CPUS = frozenset(("task.cpus_ptr",))
_IDLE = frozenset(
    (
        *("call:scx_bpf_get_idle_cpumask", "call:scx_bpf_get_idle_smtmask"),
        *("call:scx_bpf_get_idle_cpumask_node", "call:scx_bpf_get_idle_smtmask_node"),
    )
)
