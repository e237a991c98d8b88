"""Read a compiled BPF object: its programs, maps, global variables and the table of callbacks.

What it reads may be hostile, so nothing is believed: every offset is checked, and the work is bounded by the size of
the file. That is why it reads the three tables that it needs by itself, and not with a general ELF library: those
allocate what a file claims to need. What may be in an object is for ``object`` to judge, what it does for ``bytecode``.

Sources: the System V ABI (ELF-64), https://docs.kernel.org/bpf/llvm_reloc.html, and libbpf for what an object means.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Literal, NamedTuple

from msgspec import Struct

from schedtui.backend.errors import BadFile
from schedtui.backend.verifier import btf
from schedtui.backend.verifier.btf import Adapted, Damaged, Line, Places, Types

ReferenceKind = Literal["map", "global", "kfunc", "kconfig", "program"]

EM_BPF = 247
INSTRUCTION_BYTES = 8
LD_IMM64 = 0x18
CALL = 0x85
PSEUDO_CALL = 1
"""In a call's ``src``: to a function of the same object."""

_IDENT = b"\x7fELF"
_HEADER = struct.Struct("<HHIQQQIHHHHHH")
_SECTION = struct.Struct("<IIQQQQIIQQ")
_SYMBOL = struct.Struct("<IBBHQQ")
_RELOCATION = struct.Struct("<QQ")
_INSTRUCTION = struct.Struct("<BBhi")

_SYMTAB, _STRTAB, _NOBITS, _REL = 2, 3, 8, 9
_EXECUTABLE, _COMPRESSED = 4, 0x800
_OBJECT, _FUNCTION, _OF_SECTION = 1, 2, 3
_LOCAL, _WEAK = 0, 2
_RELOCATABLE = 1
_UNDEFINED, _FIRST_RESERVED = 0, 0xFF00

_MOST_SECTIONS = 4096
_MOST_SYMBOLS = 1 << 17
_MOST_INSTRUCTIONS = 1 << 18
_STRUCT_OPS = (".struct_ops", ".struct_ops.link")
_NOT_DATA = (".maps", *_STRUCT_OPS)
_NUMBERS = {
    "type": "type",
    "key_size": "key_bytes",
    "value_size": "value_bytes",
    "max_entries": "max_entries",
    "map_flags": "flags",
    "map_extra": "extra",
    "pinning": "pinning",
}

_REMEDY = "Compile the policy again, with clang 16 or newer."


class Reference(NamedTuple):
    """What an instruction refers to.

    ``name`` is that of the map, variable, kfunc or program. A variable is ``offset`` bytes into ``section``; when no
    variable begins there, as in the middle of an array, ``name`` is that of the one around it, or empty.
    """

    kind: ReferenceKind
    name: str
    section: str = ""
    offset: int = 0


class Instruction(NamedTuple):
    """One slot of 8 bytes. The second slot of a 64-bit load has code 0; the first holds the whole number.

    ``line`` and ``adapted`` are there when the compiler told them; a line stands for what follows it, too.
    """

    code: int
    dst: int
    src: int
    off: int
    imm: int
    reference: Reference | None = None
    adapted: Adapted | None = None
    line: Line | None = None


class Program(Struct, frozen=True, kw_only=True):
    """A function. ``op`` is the callback that it implements (``enqueue``); empty for a subprogram."""

    name: str
    section: str
    op: str
    struct_ops: str
    """The name of the table of callbacks that it stands in; empty for a subprogram."""
    instructions: tuple[Instruction, ...]


class Map(Struct, frozen=True, kw_only=True):
    """A map. ``type`` as in enum bpf_map_type; ``value_type`` is the C name of what it holds, if it has one."""

    name: str
    type: int
    key_bytes: int = 0
    value_bytes: int = 0
    max_entries: int = 0
    flags: int = 0
    extra: int = 0
    pinning: int = 0
    value_type: str = ""
    inner: bool = False
    """It holds other maps, or programs."""


class Global(Struct, frozen=True, kw_only=True):
    """A variable of a data section, with what it holds at first. ``offset`` and ``size`` are bytes."""

    name: str
    section: str
    offset: int
    size: int
    initial: bytes
    is_const_volatile: bool
    """A tunable, or what a loader fills in: its initial value says nothing."""
    is_static: bool


class StructOps(Struct, frozen=True, kw_only=True):
    """A table of callbacks: ``callbacks`` by member to the name of the function, ``values`` by member."""

    name: str
    type_name: str
    section: str
    callbacks: dict[str, str]
    values: dict[str, int | str]


class Extern(Struct, frozen=True, kw_only=True):
    """Something that the kernel must have. ``section`` is .ksyms or .kconfig."""

    name: str
    section: str
    is_function: bool
    is_weak: bool


class Section(Struct, frozen=True, kw_only=True):
    """A section of the file. ``size`` in bytes, and for .bss what it will take."""

    name: str
    type: int
    flags: int
    size: int

    @property
    def is_executable(self) -> bool:
        return bool(self.flags & _EXECUTABLE)


class ObjectFile(Struct, frozen=True, kw_only=True):
    """A compiled BPF object."""

    programs: tuple[Program, ...]
    maps: tuple[Map, ...]
    globals: tuple[Global, ...]
    struct_ops: tuple[StructOps, ...]
    externs: tuple[Extern, ...]
    sections: tuple[Section, ...]
    license: str
    machine: int
    has_btf: bool

    def program(self, name: str) -> Program | None:
        return next((each for each in self.programs if each.name == name), None)


class _RawSection(NamedTuple):
    name: str
    type: int
    flags: int
    offset: int
    size: int
    link: int
    info: int


class _Symbol(NamedTuple):
    name: str
    type: int
    binding: int
    section: int
    value: int
    size: int


def read_object(data: bytes) -> ObjectFile:
    """Read an object. Raises BadFile when it is none, or is damaged, or was made for another machine."""
    try:
        return _Reader(data).read()
    except (Damaged, struct.error, ValueError, IndexError, OverflowError) as error:
        raise BadFile("This file is damaged: its parts do not fit together.", _REMEDY) from error


class _Reader:
    """The tables of one file, and how they refer to each other."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._machine = _check_header(data)
        self._sections = self._read_sections()
        self._symbols = self._read_symbols()
        self._btf = self._types()
        self._placed = {
            (section, each.name): each
            for section, placed in (self._btf.sections() if self._btf else ())
            for each in placed
        }
        self._globals = tuple(self._read_globals())
        self._around = _by_section(self._globals)
        self._functions = self._find_functions()

    def read(self) -> ObjectFile:
        struct_ops = tuple(self._read_struct_ops())
        roles = {function: (each.name, member) for each in struct_ops for member, function in each.callbacks.items()}
        return ObjectFile(
            programs=tuple(self._read_programs(roles)),
            maps=tuple(self._read_maps()),
            globals=self._globals,
            struct_ops=struct_ops,
            externs=tuple(self._read_externs()),
            sections=tuple(
                Section(name=each.name, type=each.type, flags=each.flags, size=each.size) for each in self._sections
            ),
            license=self._license(),
            machine=self._machine,
            has_btf=self._btf is not None,
        )

    def _read_sections(self) -> list[_RawSection]:
        header = _HEADER.unpack_from(self._data, 16)
        offset, entry_bytes, count, names = header[5], header[10], header[11], header[12]
        if entry_bytes != _SECTION.size or not 0 < count <= _MOST_SECTIONS or names >= count:
            raise Damaged
        raw = [_SECTION.unpack_from(self._data, offset + index * entry_bytes) for index in range(count)]
        strings = self._slice(raw[names][4], raw[names][5])
        sections = [
            _RawSection(_text(strings, name), kind, flags, start, size, link, info)
            for name, kind, flags, _, start, size, link, info, _, _ in raw
        ]
        claimed = sum(each.size for each in sections if each.type != _NOBITS)
        if claimed > 2 * len(self._data) or any(each.flags & _COMPRESSED for each in sections):
            raise Damaged
        return sections

    def _slice(self, offset: int, size: int) -> bytes:
        if offset + size > len(self._data):
            raise Damaged
        return self._data[offset : offset + size]

    def _bytes(self, section: _RawSection) -> bytes:
        return b"" if section.type == _NOBITS else self._slice(section.offset, section.size)

    def _named(self, name: str) -> _RawSection | None:
        return next((each for each in self._sections if each.name == name), None)

    def _read_symbols(self) -> list[_Symbol]:
        table = next((each for each in self._sections if each.type == _SYMTAB), None)
        if table is None or table.link >= len(self._sections):
            raise Damaged
        strings = self._bytes(self._sections[table.link])
        raw = self._bytes(table)
        if len(raw) % _SYMBOL.size or len(raw) // _SYMBOL.size > _MOST_SYMBOLS:
            raise Damaged
        return [
            _Symbol(_text(strings, name), info & 15, info >> 4, section, value, size)
            for name, info, _, section, value, size in _SYMBOL.iter_unpack(raw)
        ]

    def _section_of(self, symbol: _Symbol) -> _RawSection | None:
        if symbol.section == _UNDEFINED or symbol.section >= _FIRST_RESERVED:
            return None
        return self._sections[symbol.section]

    def _types(self) -> Types | None:
        section = self._named(".BTF")
        return Types(self._bytes(section)) if section else None

    def _places(self) -> Places | None:
        section = self._named(".BTF.ext")
        return Places(self._bytes(section), self._btf) if section and self._btf else None

    def _relocations(self, index: int) -> Iterator[tuple[int, _Symbol]]:
        """Places in a section, in bytes, and the symbols that they refer to."""
        for each in self._sections:
            if each.type == _REL and each.info == index:
                for offset, info in _RELOCATION.iter_unpack(self._bytes(each)):
                    yield offset, self._symbols[info >> 32]

    # ---- data

    def _read_globals(self) -> Iterator[Global]:
        for symbol in self._symbols:
            section = self._section_of(symbol)
            if symbol.type != _OBJECT or section is None or not _is_data(section):
                continue
            if symbol.value + symbol.size > section.size:
                raise Damaged
            yield Global(
                name=symbol.name,
                section=section.name,
                offset=symbol.value,
                size=symbol.size,
                initial=self._slice(section.offset + symbol.value, symbol.size) if section.type != _NOBITS else b"",
                is_const_volatile=self._is_const_volatile(section.name, symbol.name),
                is_static=symbol.binding == _LOCAL,
            )

    def _is_const_volatile(self, section: str, name: str) -> bool:
        placed = self._placed.get((section, name))
        if self._btf is None or placed is None or not section.startswith(".rodata"):
            return False
        type_id = placed.type_id
        for _ in range(4):  # C puts the qualifiers of an array on its elements
            bare, around = self._btf.unwrap(type_id)
            if btf.VOLATILE in around:
                return True
            if bare.kind != btf.ARRAY:
                break
            type_id = self._btf.array(bare)[0]
        return False

    def _read_maps(self) -> Iterator[Map]:
        if self._btf is None:
            return
        for (section, name), placed in self._placed.items():
            if section == ".maps":
                yield self._read_map(self._btf, name, self._btf.bare(placed.type_id))

    def _read_map(self, types: Types, name: str, declared: btf.Type) -> Map:
        numbers = {"type": 0}
        value_type, inner = "", False
        for member in types.members(declared):
            if member.name in _NUMBERS:
                numbers[_NUMBERS[member.name]] = types.hidden_number(member.type_id)
            elif member.name in ("key", "value"):
                pointed = types.bare(member.type_id).detail
                numbers[f"{member.name}_bytes"] = types.size(pointed)
                if member.name == "value":
                    value_type = types.bare(pointed).name
            elif member.name == "values":
                inner = True
        return Map(name=name, value_type=value_type, inner=inner, **numbers)

    def _read_externs(self) -> Iterator[Extern]:
        weak = {each.name: each.binding == _WEAK for each in self._symbols if each.section == _UNDEFINED}
        kinds = {
            name: (section, self._btf.get(placed.type_id).kind == btf.FUNCTION)
            for (section, name), placed in self._placed.items()
            if section in (".ksyms", ".kconfig") and self._btf
        }
        for name, is_weak in weak.items():
            if name:
                section, is_function = kinds.get(name, (".ksyms", True))
                yield Extern(name=name, section=section, is_function=is_function, is_weak=is_weak)

    def _license(self) -> str:
        section = self._named("license")
        return self._bytes(section).partition(b"\0")[0].decode("utf-8", "replace") if section else ""

    def _read_struct_ops(self) -> Iterator[StructOps]:
        for (section, name), placed in self._placed.items():
            if section in _STRUCT_OPS and self._btf:
                yield self._read_table(self._btf, section, name, self._btf.bare(placed.type_id))

    def _read_table(self, types: Types, section_name: str, name: str, declared: btf.Type) -> StructOps:
        symbol = next((each for each in self._symbols if each.name == name and each.type == _OBJECT), None)
        section = self._section_of(symbol) if symbol else None
        if symbol is None or section is None or section.name != section_name:
            raise Damaged
        raw = self._bytes(section)
        referred = dict(self._relocations(symbol.section))
        callbacks: dict[str, str] = {}
        values: dict[str, int | str] = {}
        for member in types.members(declared):
            offset, size = symbol.value + member.bit_offset // 8, types.size(member.type_id)
            bare = types.bare(member.type_id)
            if offset in referred:
                callbacks[member.name] = self._function_at(referred[offset], raw[offset : offset + 8])
            elif bare.kind == btf.ARRAY:
                values[member.name] = raw[offset : offset + size].partition(b"\0")[0].decode("utf-8", "replace")
            elif bare.kind != btf.POINTER and 0 < size <= 8:
                values[member.name] = int.from_bytes(raw[offset : offset + size], "little")
        return StructOps(name=name, type_name=declared.name, section=section_name, callbacks=callbacks, values=values)

    # ---- programs

    def _find_functions(self) -> dict[tuple[int, int], _Symbol]:
        """By the section's number and their place in it, in bytes. Static ones of the same name get a number."""
        found: dict[tuple[int, int], _Symbol] = {}
        seen: dict[str, int] = {}
        for each in self._symbols:
            section = self._section_of(each)
            if each.type != _FUNCTION or section is None:
                continue
            if each.value % INSTRUCTION_BYTES or each.size % INSTRUCTION_BYTES or each.value + each.size > section.size:
                raise Damaged
            seen[each.name] = seen.get(each.name, 0) + 1
            unique = each.name if seen[each.name] == 1 else f"{each.name}.{seen[each.name]}"
            found[each.section, each.value] = each._replace(name=unique)
        return found

    def _function_at(self, symbol: _Symbol, addend: bytes) -> str:
        offset = symbol.value + (int.from_bytes(addend, "little") if symbol.type == _OF_SECTION else 0)
        function = self._functions.get((symbol.section, offset))
        if function is None:
            raise Damaged
        return function.name

    def _read_programs(self, roles: dict[str, tuple[str, str]]) -> Iterator[Program]:
        places = self._places()
        total = sum(each.size for each in self._functions.values()) // INSTRUCTION_BYTES
        if total > _MOST_INSTRUCTIONS:
            raise Damaged
        decoded: dict[int, list[Instruction]] = {}
        for (index, offset), function in self._functions.items():
            if index not in decoded:
                decoded[index] = self._decode(index, places)
            first = offset // INSTRUCTION_BYTES
            table, op = roles.get(function.name, ("", ""))
            yield Program(
                name=function.name,
                section=self._sections[index].name,
                op=op,
                struct_ops=table,
                instructions=tuple(decoded[index][first : first + function.size // INSTRUCTION_BYTES]),
            )

    def _decode(self, index: int, places: Places | None) -> list[Instruction]:
        """All instructions of a section."""
        section = self._sections[index]
        raw = self._bytes(section)
        lines = places.lines.get(section.name, {}) if places else {}
        adapted = places.adapted.get(section.name, {}) if places else {}
        symbols = dict(self._relocations(index))
        instructions = []
        following = None
        for place, (code, registers, off, imm) in enumerate(_INSTRUCTION.iter_unpack(raw)):
            offset = place * INSTRUCTION_BYTES
            src = registers >> 4
            reference = self._reference(index, offset, code, src, imm, symbols.get(offset))
            if code == LD_IMM64 and offset + 16 <= len(raw):
                imm = (imm & 0xFFFFFFFF) | int.from_bytes(raw[offset + 12 : offset + 16], "little") << 32
            following = lines.get(offset, following)
            instructions.append(
                Instruction(code, registers & 15, src, off, imm, reference, adapted.get(offset), following)
            )
        return instructions

    def _reference(
        self, index: int, offset: int, code: int, src: int, imm: int, symbol: _Symbol | None
    ) -> Reference | None:
        if symbol is None:
            if code != CALL or src != PSEUDO_CALL:
                return None
            return self._to_function(index, offset + (imm + 1) * INSTRUCTION_BYTES)
        if symbol.section == _UNDEFINED:
            placed = self._placed.get((".kconfig", symbol.name))
            return Reference("kconfig" if placed else "kfunc", symbol.name)
        section = self._section_of(symbol)
        if section is None:
            raise Damaged
        if section.name == ".maps":
            return Reference("map", symbol.name)
        of_section = symbol.type == _OF_SECTION
        if section.flags & _EXECUTABLE:
            within = (imm + 1) * INSTRUCTION_BYTES if code == CALL else imm
            return self._to_function(symbol.section, symbol.value + (within if of_section else 0))
        return self._to_global(section.name, symbol.value + imm)

    def _to_function(self, index: int, offset: int) -> Reference:
        function = self._functions.get((index, offset))
        if function is None:
            raise Damaged
        return Reference("program", function.name)

    def _to_global(self, section: str, offset: int) -> Reference:
        around = next(
            (each for each in self._around.get(section, ()) if each.offset <= offset < each.offset + each.size), None
        )
        return Reference("global", around.name if around else "", section, offset)


def _check_header(data: bytes) -> int:
    """The machine that the file is for. Raises BadFile."""
    if data[:4] != _IDENT:
        raise BadFile("This is no compiled BPF object.", "Give a .bpf.o file, or a .bpf.c source.")
    if len(data) < 16 + _HEADER.size:
        raise BadFile("This object is cut off.", _REMEDY)
    if data[4:6] != b"\x02\x01":
        raise BadFile("This object is for another kind of processor (not 64-bit, or big-endian).", _REMEDY)
    kind, machine = _HEADER.unpack_from(data, 16)[:2]
    if machine != EM_BPF:
        raise BadFile("This is a native program or object, not BPF.", "Give a .bpf.o file, or a .bpf.c source.")
    if kind != _RELOCATABLE:
        raise BadFile("This file is not an object as a compiler writes it.", _REMEDY)
    return int(machine)


def _is_data(section: _RawSection) -> bool:
    return section.name.startswith((".data", ".rodata", ".bss")) and section.name not in _NOT_DATA


def _by_section(variables: tuple[Global, ...]) -> dict[str, list[Global]]:
    found: dict[str, list[Global]] = {}
    for each in variables:
        found.setdefault(each.section, []).append(each)
    return found


def _text(strings: bytes, offset: int) -> str:
    end = strings.find(b"\0", offset)
    if offset > len(strings) or end < 0:
        raise Damaged
    return strings[offset:end].decode("utf-8", "replace")
