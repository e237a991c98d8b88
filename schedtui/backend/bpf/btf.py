"""Read the global variables of an object from its BTF: what can be tuned, and what can be counted.

The bytes come from libbpf, which has filled in the offsets that a compiler leaves to it. Check the
memory behind the offsets is ``libbpf``'s.

Source of the layout: https://docs.kernel.org/bpf/btf.html
"""

from __future__ import annotations

import struct
from typing import Literal, NamedTuple

from msgspec import Struct

from schedtui.backend.errors import BadFile

VariableKind = Literal["number", "truth", "text", "other"]

LIVE_SECTION = ".data.live"
"""Where the header's ``LIVE`` puts a tunable that can be changed while the policy runs."""

_MAGIC = 0xEB9F
_HEADER = struct.Struct("=HBBIIIII")
_TYPE = struct.Struct("=III")
_WORD = struct.Struct("=I")
_ARRAY = struct.Struct("=III")
_SECTION_ENTRY = struct.Struct("=III")

_INT, _ARRAY_KIND, _TYPEDEF, _VOLATILE, _CONST, _RESTRICT, _VAR, _DATASEC, _TYPE_TAG = 1, 3, 8, 9, 10, 11, 14, 15, 18
_ENUM, _ENUM64 = 6, 19
_TRANSPARENT = (_TYPEDEF, _VOLATILE, _CONST, _RESTRICT, _TYPE_TAG)
_TRAILING_BYTES = {_INT: 4, _ARRAY_KIND: 12, _VAR: 4, 17: 4}
_TRAILING_BYTES_EACH = {4: 12, 5: 12, _ENUM: 8, 13: 8, _DATASEC: 12, _ENUM64: 12}

_SIGNED, _BOOL = 1, 4
_LONGEST_CHAIN = 64
"""No real declaration wraps a type in more typedefs and qualifiers; a longer chain is a loop."""


class Variable(Struct, frozen=True, kw_only=True):
    """A global of the source. ``offset`` and ``size`` are bytes within its section."""

    name: str
    section: str
    offset: int
    size: int
    kind: VariableKind
    signed: bool = False
    volatile: bool = False
    exported: bool = False
    """Not ``static``: meant to be seen from outside."""

    @property
    def tunable(self) -> bool:
        """A ``const volatile`` global: set before the load, constant after it. Or one that stays changeable."""
        return self.live or (self.section == ".rodata" and self.volatile and self.exported and self.kind != "other")

    @property
    def live(self) -> bool:
        """A tunable that can be changed while the policy runs: a ``LIVE`` global of the header."""
        return self.section == LIVE_SECTION and self.exported and self.kind != "other"

    @property
    def statistic(self) -> bool:
        """A global number that the program changes while it runs."""
        return self.section == ".bss" and self.exported and self.kind == "number"

    @property
    def bounds(self) -> tuple[int, int]:
        """The smallest and the largest number that fit."""
        bits = 8 * self.size
        return (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) if self.signed else (0, (1 << bits) - 1)


class _Type(NamedTuple):
    name: str
    kind: int
    size_or_type: int
    trailing: bytes


def read_variables(raw: bytes) -> tuple[Variable, ...]:
    """Every variable of every data section, in the order of the object. Raises BadFile."""
    try:
        types = _read_types(raw)
        return tuple(
            variable
            for each in types
            if each.kind == _DATASEC
            for variable in _variables_of_section(types, each.name, each.trailing)
        )
    except (struct.error, IndexError, ValueError) as error:
        raise BadFile("The type information (BTF) of this object is damaged.", "Compile the policy again.") from error


def type_name(raw: bytes, type_id: int) -> str:
    """The name of one type, such as ``sched_ext_ops``. Raises BadFile."""
    try:
        return _read_types(raw)[type_id].name
    except (struct.error, IndexError, ValueError) as error:
        raise BadFile("The type information (BTF) of this object is damaged.", "Compile the policy again.") from error


def _read_types(raw: bytes) -> list[_Type]:
    """All types; the index is the type's id (0 is ``void``)."""
    magic, _, _, header_bytes, type_offset, type_bytes, string_offset, string_bytes = _HEADER.unpack_from(raw)
    if magic != _MAGIC:
        raise ValueError("not BTF")
    strings = raw[header_bytes + string_offset : header_bytes + string_offset + string_bytes]
    position, end = header_bytes + type_offset, header_bytes + type_offset + type_bytes
    types = [_Type("", 0, 0, b"")]
    while position < end:
        name_offset, info, size_or_type = _TYPE.unpack_from(raw, position)
        kind, count = (info >> 24) & 0x1F, info & 0xFFFF
        trailing = _TRAILING_BYTES.get(kind, 0) + count * _TRAILING_BYTES_EACH.get(kind, 0)
        position += _TYPE.size
        types.append(_Type(_text(strings, name_offset), kind, size_or_type, raw[position : position + trailing]))
        position += trailing
    return types


def _text(strings: bytes, offset: int) -> str:
    return strings[offset : strings.index(b"\0", offset)].decode("utf-8", "replace")


def _variables_of_section(types: list[_Type], section: str, entries: bytes) -> list[Variable]:
    found = []
    for type_id, offset, size in _SECTION_ENTRY.iter_unpack(entries):
        declared = types[type_id]
        if declared.kind != _VAR:
            continue
        (linkage,) = _WORD.unpack(declared.trailing)
        kind, signed, volatile = _classify(types, declared.size_or_type, size)
        found.append(
            Variable(
                name=declared.name,
                section=section,
                offset=offset,
                size=size,
                kind=kind,
                signed=signed,
                volatile=volatile,
                exported=linkage != 0,
            )
        )
    return found


def _classify(types: list[_Type], type_id: int, size: int) -> tuple[VariableKind, bool, bool]:
    """Kind, signedness and whether it is volatile. C puts the qualifiers of an array on its elements."""
    inner, volatile = _unwrap(types, type_id)
    if inner.kind == _ARRAY_KIND:
        element, element_volatile = _unwrap(types, _ARRAY.unpack(inner.trailing)[0])
        return ("text" if element.name == "char" else "other"), False, volatile or element_volatile
    if inner.kind in (_ENUM, _ENUM64):
        return "number", False, volatile
    if inner.kind != _INT or size not in (1, 2, 4, 8):
        return "other", False, volatile
    encoding = (_WORD.unpack(inner.trailing)[0] >> 24) & 0x0F
    return ("truth" if encoding & _BOOL else "number"), bool(encoding & _SIGNED), volatile


def _unwrap(types: list[_Type], type_id: int) -> tuple[_Type, bool]:
    """The type below typedefs and qualifiers, and whether one of them was ``volatile``."""
    volatile = False
    for _ in range(_LONGEST_CHAIN):
        current = types[type_id]
        if current.kind not in _TRANSPARENT:
            return current, volatile
        volatile = volatile or current.kind == _VOLATILE
        type_id = current.size_or_type
    raise ValueError("a type that contains itself")
