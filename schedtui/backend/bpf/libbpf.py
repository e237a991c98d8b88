"""libbpf's shared library, as far as this program needs it: open an object, change it, load, attach, read.

Objects live in memory, never in files. What goes wrong is raised as ``LibbpfFailure`` with the kernel's and
libbpf's own lines; saying it in a person's words is left to ``loader``.

Source: https://libbpf.readthedocs.io/en/latest/api.html; the ABI is stable since 1.0.
"""

from __future__ import annotations

import _ctypes
import ctypes
import errno
import mmap
import os
import threading
from collections.abc import Iterator
from functools import cache
from typing import Any

from schedtui.backend.errors import MissingTool

OLDEST = (1, 2)
"""First libbpf that attaches ``.struct_ops.link`` maps as links."""

STRUCT_OPS_MAP = 26
STRUCT_OPS_PROGRAM = 27

_KERNEL_LOG_BYTES = 1 << 20
"""The kernel keeps the end of a longer log, and the end is what decides."""
_WARNING, _INFORMATION = 0, 1

_INSTALL = (
    "Debian, Ubuntu: sudo apt install libbpf1 (Debian 12: sudo apt install -t bookworm-backports libbpf1)"
    " · Fedora: sudo dnf install libbpf · Arch: sudo pacman -S libbpf"
)

_pointer, _string, _int, _unsigned, _size = (
    ctypes.c_void_p,
    ctypes.c_char_p,
    ctypes.c_int,
    ctypes.c_uint,
    ctypes.c_size_t,
)

_FUNCTIONS: list[tuple[str, Any, list[Any]]] = [
    ("bpf_object__open_mem", _pointer, [_pointer, _size, _pointer]),
    ("bpf_object__load", _int, [_pointer]),
    ("bpf_object__close", None, [_pointer]),
    ("bpf_object__btf", _pointer, [_pointer]),
    ("bpf_object__next_map", _pointer, [_pointer, _pointer]),
    ("bpf_object__next_program", _pointer, [_pointer, _pointer]),
    ("btf__raw_data", _pointer, [_pointer, ctypes.POINTER(_unsigned)]),
    ("bpf_map__name", _string, [_pointer]),
    ("bpf_map__type", _int, [_pointer]),
    ("bpf_map__fd", _int, [_pointer]),
    ("bpf_map__value_size", _unsigned, [_pointer]),
    ("bpf_map__key_size", _unsigned, [_pointer]),
    ("bpf_map__max_entries", _unsigned, [_pointer]),
    ("bpf_map__set_max_entries", _int, [_pointer, _unsigned]),
    ("bpf_map__btf_value_type_id", _unsigned, [_pointer]),
    ("bpf_map__initial_value", _pointer, [_pointer, ctypes.POINTER(_size)]),
    ("bpf_map__attach_struct_ops", _pointer, [_pointer]),
    ("bpf_map_lookup_elem", _int, [_int, _pointer, _pointer]),
    ("bpf_map_update_elem", _int, [_int, _pointer, _pointer, ctypes.c_uint64]),
    ("bpf_map_delete_elem", _int, [_int, _pointer]),
    ("bpf_program__name", _string, [_pointer]),
    ("bpf_program__type", _int, [_pointer]),
    ("bpf_program__attach", _pointer, [_pointer]),
    ("bpf_link__destroy", _int, [_pointer]),
    ("bpf_link__fd", _int, [_pointer]),
    ("bpf_iter_create", _int, [_int]),
    ("libbpf_major_version", _unsigned, []),
    ("libbpf_minor_version", _unsigned, []),
    ("libbpf_num_possible_cpus", _int, []),
]

_PRINT = ctypes.CFUNCTYPE(_int, _int, _string, _pointer)
_heard = threading.local()


class _OpenOptions(ctypes.Structure):
    """struct bpf_object_open_opts of libbpf 1.2; ``sz`` tells a later one how much of it we know."""

    _fields_ = [
        ("sz", _size),
        ("object_name", _string),
        ("relaxed_maps", ctypes.c_bool),
        ("pin_root_path", _string),
        ("unused", _unsigned),
        ("kconfig", _string),
        ("btf_custom_path", _string),
        ("kernel_log_buf", _pointer),
        ("kernel_log_size", _size),
        ("kernel_log_level", _unsigned),
    ]


class LibbpfFailure(Exception):
    """libbpf or the kernel said no. ``errno`` is positive; ``kernel_log`` is the verifier's, if it got that far."""

    def __init__(self, number: int, messages: tuple[str, ...], kernel_log: str = "") -> None:
        super().__init__(f"{os.strerror(number)}: {'; '.join(messages)}")
        self.errno = number
        self.messages = messages
        self.kernel_log = kernel_log


@cache
def _library() -> Any:
    try:
        library = ctypes.CDLL("libbpf.so.1", use_errno=True)
        for name, result, arguments in _FUNCTIONS:
            function = getattr(library, name)
            function.restype, function.argtypes = result, arguments
    except (OSError, AttributeError) as error:
        raise MissingTool("libbpf is not installed: it is what loads schedulers into the kernel.", _INSTALL) from error
    found = (library.libbpf_major_version(), library.libbpf_minor_version())
    if found < OLDEST:
        _ctypes.dlclose(library._handle)  # else a newer one, installed next, would not be seen by this process
        raise MissingTool(
            f"libbpf {found[0]}.{found[1]} is too old: schedulers need {OLDEST[0]}.{OLDEST[1]} or newer.", _INSTALL
        )
    library.libbpf_set_print(_listener)
    return library


def version() -> tuple[int, int]:
    """Of the installed libbpf. Raises MissingTool when it is absent or too old."""
    library = _library()
    return library.libbpf_major_version(), library.libbpf_minor_version()


def possible_cpus() -> int:
    """How many CPUs this kernel could ever have: the length of a per-CPU table."""
    return max(1, int(_library().libbpf_num_possible_cpus()))


_format = ctypes.CDLL(None).vsnprintf
_format.restype, _format.argtypes = _int, [_pointer, _size, _string, _pointer]


def _hear(level: int, template: bytes, arguments: int) -> int:
    """libbpf calls it in the thread that called libbpf, so each thread hears only its own messages."""
    if level in (_WARNING, _INFORMATION):
        line = ctypes.create_string_buffer(2048)
        _format(line, len(line), template, arguments)
        messages = getattr(_heard, "messages", None)
        if messages is not None:
            messages.append(line.value.decode("utf-8", "replace").removeprefix("libbpf: ").rstrip())
    return 0


_listener = _PRINT(_hear)


def _listen() -> list[str]:
    """Begin a new list of this thread's messages."""
    _heard.messages = []
    return _heard.messages  # type: ignore[no-any-return]


class Link:
    """An attached program or scheduler. It lasts as long as this process and this object hold it."""

    def __init__(self, handle: int) -> None:
        self._handle: int | None = handle

    def walk(self) -> int:
        """Of an iterator: a descriptor; reading it to its end runs the program once for each of what it walks over.

        Whoever asks closes it. Raises LibbpfFailure.
        """
        made = int(_library().bpf_iter_create(_library().bpf_link__fd(self._handle)))
        if made < 0:
            raise LibbpfFailure(-made, ("the walk cannot begin",))
        return made

    def destroy(self) -> None:
        """Detach. For a scheduler, the kernel has taken it out when this returns. May be called twice."""
        handle, self._handle = self._handle, None
        if handle:
            _library().bpf_link__destroy(handle)


class Map:
    """One map of an object."""

    def __init__(self, handle: int) -> None:
        self._handle = handle
        self.name: str = _library().bpf_map__name(handle).decode("utf-8", "replace")
        self.type: int = _library().bpf_map__type(handle)

    @property
    def fd(self) -> int:
        """Descriptor, once the object is loaded; it belongs to the object."""
        return int(_library().bpf_map__fd(self._handle))

    @property
    def key_bytes(self) -> int:
        """Size of a key."""
        return int(_library().bpf_map__key_size(self._handle))

    @property
    def value_bytes(self) -> int:
        """Size of a value."""
        return int(_library().bpf_map__value_size(self._handle))

    @property
    def value_type(self) -> int:
        """BTF id of the value's type, 0 when it has none."""
        return int(_library().bpf_map__btf_value_type_id(self._handle))

    def set_max_entries(self, count: int) -> None:
        """Before the load."""
        number = -_library().bpf_map__set_max_entries(self._handle, count)
        if number:
            raise LibbpfFailure(number, (f"map {self.name} cannot have {count} entries",))

    def initial_content(self) -> memoryview:
        """What a data section will hold at the load; it can be changed until then, and read until ``close``."""
        size = _size()
        address = _library().bpf_map__initial_value(self._handle, ctypes.byref(size))
        return memoryview((ctypes.c_ubyte * size.value).from_address(address) if address else b"").cast("B")

    def shared_memory(self, *, writable: bool = False) -> memoryview:
        """The kernel's own memory of a data section or BPF_F_MMAPABLE array, for reading.

        Entry after entry, each 8-byte aligned; valid for as long as it is held. Raises OSError, ValueError.
        """
        length = _library().bpf_map__max_entries(self._handle) * (-(-self.value_bytes // 8) * 8)
        access = mmap.PROT_READ | (mmap.PROT_WRITE if writable else 0)
        return memoryview(mmap.mmap(self.fd, length, mmap.MAP_SHARED, access))

    def lookup(self, key: bytes) -> bytes | None:
        """One value, or None when there is no such entry. Raises LibbpfFailure."""
        self._check(key)
        value = ctypes.create_string_buffer(self.value_bytes)
        number = -_library().bpf_map_lookup_elem(self.fd, key, value)
        if number in (errno.ENOENT, errno.ESRCH):
            return None
        if number:
            raise LibbpfFailure(number, (f"map {self.name} cannot be read",))
        return value.raw

    def update(self, key: bytes, value: bytes) -> None:
        """Set one entry, or make it. Raises LibbpfFailure, as when the map is full."""
        self._check(key)
        if len(value) != self.value_bytes:
            raise ValueError(f"a value of map {self.name} has {self.value_bytes} bytes, not {len(value)}")
        number = -_library().bpf_map_update_elem(self.fd, key, value, 0)
        if number:
            raise LibbpfFailure(number, (f"map {self.name} cannot be written",))

    def delete(self, key: bytes) -> None:
        """Take one entry out; there need be none. Raises LibbpfFailure."""
        self._check(key)
        number = -_library().bpf_map_delete_elem(self.fd, key)
        if number and number != errno.ENOENT:
            raise LibbpfFailure(number, (f"map {self.name} cannot be written",))

    def _check(self, key: bytes) -> None:
        if len(key) != self.key_bytes:
            raise ValueError(f"a key of map {self.name} has {self.key_bytes} bytes, not {len(key)}")

    def attach_struct_ops(self) -> Link:
        """Hand the kernel what this map describes: a scheduler. Raises LibbpfFailure."""
        messages = _listen()
        handle = _library().bpf_map__attach_struct_ops(self._handle)
        if not handle:
            raise LibbpfFailure(ctypes.get_errno(), tuple(messages))
        return Link(handle)


class Program:
    """One program of an object."""

    def __init__(self, handle: int) -> None:
        self._handle = handle
        self.name: str = _library().bpf_program__name(handle).decode("utf-8", "replace")
        self.type: int = _library().bpf_program__type(handle)

    def attach(self) -> Link:
        """Attach it where its section name says. Raises LibbpfFailure."""
        messages = _listen()
        handle = _library().bpf_program__attach(self._handle)
        if not handle:
            raise LibbpfFailure(ctypes.get_errno(), tuple(messages))
        return Link(handle)


class BpfObject:
    """A compiled object: open from the start, in the kernel after ``load``, gone after ``close``."""

    def __init__(self, content: bytes) -> None:
        """Open it. Needs no privilege. Raises LibbpfFailure, and MissingTool when there is no libbpf."""
        library = _library()
        self._content = content
        self._log = ctypes.create_string_buffer(_KERNEL_LOG_BYTES)
        self._options = _OpenOptions(
            sz=ctypes.sizeof(_OpenOptions),
            object_name=b"schedtui",
            kernel_log_buf=ctypes.addressof(self._log),
            kernel_log_size=_KERNEL_LOG_BYTES,
        )
        messages = _listen()
        self._handle: int | None = library.bpf_object__open_mem(content, len(content), ctypes.byref(self._options))
        if not self._handle:
            raise LibbpfFailure(ctypes.get_errno(), tuple(messages))
        self.maps: tuple[Map, ...] = tuple(map(Map, self._walk(library.bpf_object__next_map)))
        self.programs: tuple[Program, ...] = tuple(map(Program, self._walk(library.bpf_object__next_program)))

    def _walk(self, following: Any) -> Iterator[int]:
        current = None
        while current := following(self._handle, current):
            yield current

    def btf(self) -> bytes:
        """The object's type information, with the offsets of its variables; empty when it has none."""
        described = _library().bpf_object__btf(self._handle)
        size = _unsigned()
        data = _library().btf__raw_data(described, ctypes.byref(size)) if described else None
        return ctypes.string_at(data, size.value) if data else b""

    def map_named(self, name: str) -> Map | None:
        """The map of that name."""
        return next((each for each in self.maps if each.name == name), None)

    def section(self, name: str) -> Map | None:
        """The map that holds a data section such as ``.bss``; libbpf puts the object's name before it."""
        return next((each for each in self.maps if each.name.endswith(name)), None)

    def load(self) -> None:
        """Create the maps and have every program verified. Raises LibbpfFailure."""
        messages = _listen()
        number = -_library().bpf_object__load(self._handle)
        if number:
            raise LibbpfFailure(number, tuple(messages), self._log.value.decode("utf-8", "replace"))

    def close(self) -> None:
        """Free everything, the initial content of its sections too. May be called twice."""
        handle, self._handle = self._handle, None
        if handle:
            _library().bpf_object__close(handle)
