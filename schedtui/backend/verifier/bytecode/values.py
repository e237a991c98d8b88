"""What a register can hold: a number, an address, or something of which only the origin is known.

Values are compared by what they are made of, so two loads of the same field are the same value. Values never
become large: what would be is replaced by something unknown that remembers its origins.
"""

from __future__ import annotations

from functools import lru_cache

from msgspec import Struct

MOST_CHOICES = 8
_MOST_PARTS = 24
_WIDE = (1 << 64) - 1

Site = tuple[str, int, int]
"""Where in the program a value came to be: function, instruction, and a register or slot."""


class Value(Struct, frozen=True, tag=True, cache_hash=True):
    """Anything that a register can hold."""


class Const(Value, frozen=True, cache_hash=True):
    """A number, as 64 bits without sign."""

    number: int


class Unknown(Value, frozen=True, cache_hash=True):
    """Any number. ``labels`` say what it was made of; see ``labels``."""

    site: Site
    origins: frozenset[str] = frozenset()


class Choice(Value, frozen=True, cache_hash=True):
    """One of a few values, depending on the way that was taken here."""

    site: Site
    alternatives: frozenset[Value]


class Context(Value, frozen=True, cache_hash=True):
    """The address of a callback's arguments."""


class Argument(Value, frozen=True, cache_hash=True):
    """An argument of the callback, the first is 0."""

    index: int


class Stack(Value, frozen=True, cache_hash=True):
    """An address on the stack of a function; ``frame`` counts the calls that it is deep in."""

    frame: int
    offset: int


class MapAddress(Value, frozen=True, cache_hash=True):
    """The handle of a map."""

    name: str


class Function(Value, frozen=True, cache_hash=True):
    """The address of a function of the object."""

    name: str


class Variable(Value, frozen=True, cache_hash=True):
    """The address of a global variable, or within it."""

    section: str
    offset: int


class Field(Value, frozen=True, cache_hash=True):
    """The address of a named field of a structure of the kernel."""

    base: Value
    name: str


class Load(Value, frozen=True, cache_hash=True):
    """What stands in memory."""

    address: Value
    size: int


class Result(Value, frozen=True, cache_hash=True):
    """What a function of the kernel returned; ``about`` is what it was asked about."""

    name: str
    site: Site
    about: tuple[Value, ...] = ()


class Operation(Value, frozen=True, cache_hash=True):
    """Two values, combined. ``sign`` as in C; ``s>>``, ``s/`` and ``s%`` keep a sign."""

    sign: str
    left: Value
    right: Value


class Walk(Value, frozen=True, cache_hash=True):
    """An iterator over a queue, in memory."""

    queue: Value


class Count(Value, frozen=True, cache_hash=True):
    """An iterator over numbers, in memory, from ``start`` to ``end``."""

    start: Value
    end: Value


def signed(number: int) -> int:
    """64 bits, read as a number with a sign."""
    return number - (1 << 64) if number >> 63 else number


@lru_cache(maxsize=1 << 14)
def _parts(value: Value) -> int:
    """How many values this one is made of."""
    if isinstance(value, Operation):
        return 1 + _parts(value.left) + _parts(value.right)
    if isinstance(value, Load):
        return 1 + _parts(value.address)
    if isinstance(value, Field):
        return 1 + _parts(value.base)
    if isinstance(value, Result):
        return 1 + sum(map(_parts, value.about))
    if isinstance(value, Choice):
        return 1 + sum(map(_parts, value.alternatives))
    return 1


def bounded(value: Value, site: Site) -> Value:
    """The value, or something unknown of the same origins when it grew too large."""
    return value if _parts(value) <= _MOST_PARTS else Unknown(site, labels(value))


@lru_cache(maxsize=1 << 14)
def labels(value: Value) -> frozenset[str]:
    """Where a value comes from.

    ``task.scx.weight`` a field of a task (other structures have their own names); ``map:NAME+8`` a place in what a map
    holds, ``ptr:NAME`` its address; ``global:NAME`` a variable; ``arg:1`` an argument; ``now`` the clock;
    ``call:NAME`` another function of the kernel; ``memory+8`` a place of which nothing more is known.
    """
    match value:
        case Unknown():
            return value.origins
        case Choice():
            return frozenset().union(*map(labels, value.alternatives))
        case Argument():
            return frozenset((f"arg:{value.index}",))
        case Load():
            return place_labels(value.address)
        case Result():
            return _result_labels(value)
        case Operation():
            return labels(value.left) | labels(value.right)
        case Count():
            return labels(value.start)
        case Field():
            return labels(value.base)
        case Variable():
            return frozenset((f"at:{value.section}+{value.offset}",))
        case MapAddress():
            return frozenset((f"ptr:{value.name}",))
    return frozenset()


def _result_labels(value: Result) -> frozenset[str]:
    if value.name == "now":
        return frozenset(("now",))
    if value.name == "next number":
        return frozenset(("loop",)).union(*map(labels, value.about))
    if value.name in ("lookup", "element", "storage", "create storage"):
        return frozenset().union(*(labels(each) for each in value.about if isinstance(each, MapAddress)))
    return frozenset((f"call:{value.name}",))


@lru_cache(maxsize=1 << 14)
def place_labels(address: Value) -> frozenset[str]:
    """The labels of what stands at an address."""
    if isinstance(address, Field):
        return frozenset((address.name,))
    if isinstance(address, Variable):
        return frozenset((f"global:{address.section}+{address.offset}",))
    base, offset = split_offset(address)
    if isinstance(base, Variable):
        return frozenset((f"global:{base.section}+{base.offset}",))
    found: set[str] = set()
    for each in labels(base):
        if each.startswith("ptr:"):
            found.add(f"map:{each[4:]}+{offset}")
        elif each.startswith("at:"):
            found.add(f"global:{each[3:]}")
        elif each == "loop":
            return labels(base)
        elif each.startswith(("map:", "global:", "call:", "arg:")):
            found.add(f"memory+{offset}")
    return frozenset(found)


def split_offset(address: Value) -> tuple[Value, int]:
    """An address as base and constant distance."""
    if isinstance(address, Operation) and address.sign == "+" and isinstance(address.right, Const):
        return address.left, signed(address.right.number)
    return address, 0


def displaced(address: Value, offset: int) -> Value:
    """The address ``offset`` bytes further on."""
    if isinstance(address, Stack):
        return Stack(address.frame, address.offset + offset)
    if isinstance(address, Variable):
        return Variable(address.section, address.offset + offset)
    if isinstance(address, Const):
        return Const((address.number + offset) & _WIDE)
    base, already = split_offset(address)
    total = already + offset
    return Operation("+", base, Const(total & _WIDE)) if total else base


@lru_cache(maxsize=1 << 14)
def holds(value: Value, part: Value) -> bool:
    """Whether ``value`` is ``part`` or made of it."""
    if value == part:
        return True
    match value:
        case Operation():
            return holds(value.left, part) or holds(value.right, part)
        case Load():
            return holds(value.address, part)
        case Field():
            return holds(value.base, part)
        case Result():
            return any(holds(each, part) for each in value.about)
        case Choice():
            return any(holds(each, part) for each in value.alternatives)
    return False


NUMBERS_OF_TASKS = frozenset(("task.pid", "task.tgid"))


@lru_cache(maxsize=1 << 14)
def mixes_tasks(value: Value, most: int) -> bool:
    """Whether it has a part of a task's number, so that it is the same for several; ``most`` are all numbers."""
    if not isinstance(value, Operation):
        return False
    if isinstance(value.right, Const) and labels(value.left) & NUMBERS_OF_TASKS:
        number = value.right.number
        if value.sign in ("&", "%") and number < most - 1:
            return True
        if value.sign == ">>" and isinstance(value.left, Operation) and value.left.sign == "*":
            return True  # as hash functions do
    return mixes_tasks(value.left, most) or mixes_tasks(value.right, most)


def alternatives(value: Value) -> frozenset[Value]:
    """The values that it can be."""
    return value.alternatives if isinstance(value, Choice) else frozenset((value,))


def has_bit(flags: Value, bit: int) -> bool:
    """Whether flags certainly have a bit, in one of the ways that they can be."""
    for each in alternatives(flags):
        fixed = each.right if isinstance(each, Operation) and each.sign == "|" else each
        if isinstance(fixed, Const) and fixed.number & bit:
            return True
    return False


@lru_cache(maxsize=1 << 14)
def join(first: Value, second: Value, site: Site) -> Value:
    """What is known when either may be the case."""
    if first == second:
        return first
    for own, other in ((first, second), (second, first)):
        if isinstance(own, Unknown) and own.site == site:
            more = labels(other)
            return own if more <= own.origins else Unknown(site, own.origins | more)
    if isinstance(first, Unknown) or isinstance(second, Unknown):
        return Unknown(site, labels(first) | labels(second))
    either = alternatives(first) | alternatives(second)
    if len(either) <= MOST_CHOICES and sum(map(_parts, either)) <= 2 * _MOST_PARTS:
        return Choice(site, either)
    return Unknown(site, labels(first) | labels(second))


_NARROW = (1 << 32) - 1


def _divide(left: int, right: int) -> int:
    return left // right if right else 0


def _remain(left: int, right: int) -> int:
    return left % right if right else left


def combine(sign: str, left: Value, right: Value, site: Site, *, narrow: bool = False) -> Value:
    """The result of an instruction that computes. ``narrow``: with 32 bits."""
    if isinstance(left, Const) and isinstance(right, Const):
        return Const(compute(sign, left.number, right.number, narrow))
    if isinstance(right, Const):
        simple = _simplify(sign, left, right.number, narrow)
        if simple is not None:
            return simple
        if isinstance(left, Choice):
            return _distribute(sign, left, right, site, narrow)
    if isinstance(left, Const) and sign in "+*|&^":
        return combine(sign, right, left, site, narrow=narrow)
    if sign == "-" and left == right:
        return Const(0)
    return bounded(Operation(sign, left, right), site)


def compute(sign: str, left: int, right: int, narrow: bool = False) -> int:
    """As the processor does, with 64 bits or with 32; a quotient by 0 is 0."""
    mask = _NARROW if narrow else _WIDE
    bits = 32 if narrow else 64
    left, right = left & mask, right & mask
    shift = right & (bits - 1)
    with_sign = left - (1 << bits) if left >> (bits - 1) else left
    match sign:
        case "+":
            result = left + right
        case "-":
            result = left - right
        case "*":
            result = left * right
        case "/" | "s/":
            result = _divide(left, right)
        case "%" | "s%":
            result = _remain(left, right)
        case "|":
            result = left | right
        case "&":
            result = left & right
        case "^":
            result = left ^ right
        case "<<":
            result = left << shift
        case ">>":
            result = left >> shift
        case _:
            result = with_sign >> shift
    return result & mask


def _simplify(sign: str, left: Value, right: int, narrow: bool) -> Value | None:
    """Known outcomes, and the pairs of shifts by which compilers cut to 32 bits: those keep the value here."""
    if right == 0:
        if sign in ("+", "-", "|", "^", "<<", ">>", "s>>"):
            return left
        if sign in ("&", "*"):
            return Const(0)
    if sign in ("+", "-") and not narrow:
        return displaced(left, signed(right) if sign == "+" else -signed(right))
    if sign in ("*", "/") and right == 1:
        return left
    if sign == "&" and right in (_NARROW, _WIDE):
        return left
    if sign == "&" and right in (1, 255) and isinstance(left, Result):
        return left  # a truth value
    cuts = sign in (">>", "s>>") and right in (32, 48, 56)
    if cuts and isinstance(left, Operation) and left.sign == "<<" and left.right == Const(right):
        return left.left
    return None


def _distribute(sign: str, left: Choice, right: Const, site: Site, narrow: bool) -> Value:
    each_way = frozenset(combine(sign, each, right, site, narrow=narrow) for each in left.alternatives)
    if len(each_way) == 1:
        return next(iter(each_way))
    if any(isinstance(each, Choice) for each in each_way):
        return Unknown(site, frozenset().union(*map(labels, each_way)))
    return bounded(Choice(site, each_way), site)
