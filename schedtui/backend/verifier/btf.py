"""Read what a compiler tells of an object's types, source lines and places that the loader adapts (.BTF, .BTF.ext).

The bytes may be hostile: every read is checked, and every chain and recursion is bounded. What the types mean for an
object is ``elf``'s.

Sources: https://docs.kernel.org/bpf/btf.html, include/uapi/linux/btf.h and include/uapi/linux/bpf.h of the kernel.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

INT, POINTER, ARRAY, STRUCT, UNION, ENUM, FORWARD, TYPEDEF, VOLATILE, CONST, RESTRICT = range(1, 12)
FUNCTION, PROTOTYPE, VARIABLE, SECTION, FLOAT, DECLARATION_TAG, TYPE_TAG, ENUM64 = range(12, 20)

_QUALIFIERS = (TYPEDEF, VOLATILE, CONST, RESTRICT, TYPE_TAG)
_MAGIC = 0xEB9F
_HEADER = struct.Struct("<HBBIIIII")
_EXT_HEADER = struct.Struct("<HBBIIIIIII")
_TYPE = struct.Struct("<III")
_TRAILING_BYTES = {INT: 4, ARRAY: 12, VARIABLE: 4, DECLARATION_TAG: 4}
_TRAILING_BYTES_EACH = {STRUCT: 12, UNION: 12, ENUM: 8, PROTOTYPE: 8, SECTION: 12, ENUM64: 12}
_LONGEST_CHAIN = 64
_DEEPEST_ACCESS = 16
_MOST_RECORDS = 1 << 18


class Damaged(Exception):
    """The bytes are not what they claim to be."""


class Type(NamedTuple):
    """One type. ``detail`` is a size in bytes or the number of another type; ``length`` and ``flag`` are the kind's."""

    name: str
    kind: int
    length: int
    flag: bool
    detail: int
    trailing: bytes


class Member(NamedTuple):
    """A field of a struct or union."""

    name: str
    type_id: int
    bit_offset: int


class Placed(NamedTuple):
    """A variable in a data section; ``size`` in bytes. Where it lies, only the symbol table tells."""

    name: str
    type_id: int
    size: int
    linkage: int


class Line(NamedTuple):
    """Where an instruction comes from, and what stands there."""

    file: str
    number: int
    text: str


class Adapted(NamedTuple):
    """What the loader asks the running kernel about: a field, or a value of an enumeration.

    ``kind`` as in enum bpf_core_relo_kind. ``path`` are the names of the fields, outermost first, or of the value.
    """

    kind: int
    type_name: str
    path: tuple[str, ...]
    value: int = 0
    """The value at compile time, of an enumeration's."""


class Types:
    """All types of an object; the number of a type is its place in ``all`` (0 is ``void``)."""

    def __init__(self, raw: bytes) -> None:
        """Raises Damaged."""
        if len(raw) < _HEADER.size:
            raise Damaged
        magic, _, _, header, type_offset, type_bytes, string_offset, string_bytes = _HEADER.unpack_from(raw)
        if magic != _MAGIC or header + max(type_offset + type_bytes, string_offset + string_bytes) > len(raw):
            raise Damaged
        self._strings = raw[header + string_offset : header + string_offset + string_bytes]
        self.all: list[Type] = [Type("", 0, 0, False, 0, b"")]
        self._read(raw, header + type_offset, header + type_offset + type_bytes)

    def _read(self, raw: bytes, position: int, end: int) -> None:
        while position < end:
            if position + _TYPE.size > end:
                raise Damaged
            name, info, detail = _TYPE.unpack_from(raw, position)
            kind, count = (info >> 24) & 0x1F, info & 0xFFFF
            begin = position + _TYPE.size
            position = begin + _TRAILING_BYTES.get(kind, 0) + count * _TRAILING_BYTES_EACH.get(kind, 0)
            if not 1 <= kind <= ENUM64 or position > end:
                raise Damaged
            trailing = raw[begin:position]
            self.all.append(Type(self.text(name), kind, count, bool(info >> 31), detail, trailing))

    def text(self, offset: int) -> str:
        """A string of the object by its place. Raises Damaged."""
        end = self._strings.find(b"\0", offset)
        if offset > len(self._strings) or end < 0:
            raise Damaged
        return self._strings[offset:end].decode("utf-8", "replace")

    def get(self, type_id: int) -> Type:
        if type_id >= len(self.all):
            raise Damaged
        return self.all[type_id]

    def bare(self, type_id: int) -> Type:
        """The type without names and qualifiers around it. Raises Damaged."""
        return self.unwrap(type_id)[0]

    def unwrap(self, type_id: int) -> tuple[Type, frozenset[int]]:
        """The type without names and qualifiers around it, and the kinds of those. Raises Damaged."""
        around: set[int] = set()
        for _ in range(_LONGEST_CHAIN):
            current = self.get(type_id)
            if current.kind not in _QUALIFIERS:
                return current, frozenset(around)
            around.add(current.kind)
            type_id = current.detail
        raise Damaged

    def array(self, array: Type) -> tuple[int, int]:
        """The type of the elements, and how many they are."""
        element, _, count = _TYPE.unpack(array.trailing)
        return element, count

    def hidden_number(self, type_id: int) -> int:
        """The number that libbpf's ``__uint`` (an array's length) or ``__ulong`` (an enumeration's value) hides."""
        hidden = self.bare(type_id)
        pointed = self.bare(hidden.detail) if hidden.kind == POINTER else hidden
        if pointed.kind == ARRAY:
            return self.array(pointed)[1]
        if pointed.kind in (ENUM, ENUM64) and pointed.length:
            return self._enumerated(pointed, 0)[1]
        raise Damaged

    def size(self, type_id: int) -> int:
        """Bytes; 0 where a type has none. Raises Damaged."""
        factor = 1
        for _ in range(_LONGEST_CHAIN):
            bare = self.bare(type_id)
            if bare.kind == ARRAY:
                type_id, count = self.array(bare)
                factor *= count
            elif bare.kind == POINTER:
                return 8 * factor
            else:
                return bare.detail * factor if bare.kind in (INT, STRUCT, UNION, ENUM, ENUM64, FLOAT) else 0
        raise Damaged

    def members(self, aggregate: Type) -> Iterator[Member]:
        for name, type_id, offset in _TYPE.iter_unpack(aggregate.trailing):
            yield Member(self.text(name), type_id, offset & 0xFFFFFF if aggregate.flag else offset)

    def member(self, aggregate: Type, index: int) -> Member:
        if aggregate.kind not in (STRUCT, UNION) or index >= aggregate.length:
            raise Damaged
        name, type_id, offset = _TYPE.unpack_from(aggregate.trailing, 12 * index)
        return Member(self.text(name), type_id, offset & 0xFFFFFF if aggregate.flag else offset)

    def sections(self) -> Iterator[tuple[str, list[Placed]]]:
        """The data sections, each with its variables and functions."""
        for each in self.all:
            if each.kind == SECTION:
                yield each.name, [self._placed(*entry) for entry in _TYPE.iter_unpack(each.trailing)]

    def _placed(self, type_id: int, _: int, size: int) -> Placed:
        declared = self.get(type_id)
        if declared.kind == VARIABLE:
            return Placed(declared.name, declared.detail, size, int.from_bytes(declared.trailing, "little"))
        if declared.kind == FUNCTION:
            return Placed(declared.name, type_id, size, declared.length)
        raise Damaged

    def accessed(self, type_id: int, access: str, kind: int) -> Adapted:
        """What an access string such as ``0:3:1`` means. Raises Damaged."""
        try:
            steps = [int(each) for each in access.split(":")]
        except ValueError as error:
            raise Damaged from error
        if len(steps) > _DEEPEST_ACCESS or min(steps) < 0:
            raise Damaged
        bare = self.bare(type_id)
        name = bare.name.partition("___")[0]
        if kind in (10, 11):
            return self._accessed_value(bare, name, steps[0], kind)
        path = []
        for step in steps[1:]:
            if bare.kind == ARRAY:
                path.append(f"[{step}]")
                bare = self.bare(self.array(bare)[0])
            else:
                member = self.member(bare, step)
                path.append(member.name)
                bare = self.bare(member.type_id)
        return Adapted(kind, name, tuple(path))

    def _accessed_value(self, enumeration: Type, name: str, index: int, kind: int) -> Adapted:
        name_of_value, value = self._enumerated(enumeration, index)
        return Adapted(kind, name, (name_of_value,), value)

    def _enumerated(self, enumeration: Type, index: int) -> tuple[str, int]:
        """Name and number of one value."""
        if enumeration.kind not in (ENUM, ENUM64) or index >= enumeration.length:
            raise Damaged
        if enumeration.kind == ENUM64:
            text, low, high = _TYPE.unpack_from(enumeration.trailing, 12 * index)
            return self.text(text), low | high << 32
        text, value = struct.unpack_from("<Ii" if enumeration.flag else "<II", enumeration.trailing, 8 * index)
        return self.text(text), value


class Places:
    """What .BTF.ext tells of each section's instructions, by their place in bytes."""

    def __init__(self, raw: bytes, types: Types) -> None:
        """Raises Damaged."""
        self.lines: dict[str, dict[int, Line]] = {}
        self.adapted: dict[str, dict[int, Adapted]] = {}
        if len(raw) < _EXT_HEADER.size - 8:
            raise Damaged
        magic, _, _, header, _, _, line_offset, line_bytes = _HEADER.unpack_from(raw)
        if magic != _MAGIC or header < _EXT_HEADER.size - 8:
            raise Damaged
        texts: dict[int, str] = {}
        for section, (offset, name, source, column) in _records(raw, header + line_offset, line_bytes, types):
            for each in (name, source):
                if each not in texts:
                    texts[each] = types.text(each)
            self.lines.setdefault(section, {})[offset] = Line(texts[name], column >> 10, texts[source].strip())
        if header >= _EXT_HEADER.size:
            core_offset, core_bytes = _EXT_HEADER.unpack_from(raw)[8:]
            for section, (offset, type_id, access, kind) in _records(raw, header + core_offset, core_bytes, types):
                adapted = types.accessed(type_id, types.text(access), kind)
                self.adapted.setdefault(section, {})[offset] = adapted


def _records(raw: bytes, begin: int, length: int, types: Types) -> Iterator[tuple[str, tuple[int, int, int, int]]]:
    """The records of one part of .BTF.ext, four words each, with the name of the section that they are of."""
    end, position, seen = begin + length, begin + 4, 0
    if not length:
        return
    if end > len(raw) or length < 4:
        raise Damaged
    record_bytes = int.from_bytes(raw[begin:position], "little")
    if not 16 <= record_bytes <= 256:
        raise Damaged
    while position + 8 <= end:
        name, count = struct.unpack_from("<II", raw, position)
        position += 8
        seen += count
        if seen > _MOST_RECORDS or position + count * record_bytes > end:
            raise Damaged
        section = types.text(name)
        for _ in range(count):
            yield section, struct.unpack_from("<IIII", raw, position)
            position += record_bytes
