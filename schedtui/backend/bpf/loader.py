"""Put a compiled scheduler into the kernel and take it out again; attach a probe and read its maps.

Runs where the kernel is: in the privileged helper, and in the lab's guest. It holds the BPF link, and links are never
pinned: when this process ends in whatever way, the kernel is back on its own scheduler. Compiling is
``compiler``'s; deciding what may be loaded is the helper's.
"""

from __future__ import annotations

import contextlib
import difflib
import errno
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

from msgspec import Struct

from schedtui.backend.bpf import kernel_says, libbpf
from schedtui.backend.bpf.btf import LIVE_SECTION, Variable, read_variables, type_name
from schedtui.backend.bpf.libbpf import BpfObject, LibbpfFailure, Link
from schedtui.backend.bpf.verifier_log import reduce_log
from schedtui.backend.errors import (
    BadFile,
    BadTunable,
    Interrupted,
    KernelUnsuitable,
    LoadRejected,
    NotPermitted,
    SchedtuiError,
)
from schedtui.backend.model import ExitInfo, Setting

_SETTLE_S = 10.0
"""Longest wait for the kernel to finish enabling or disabling. It takes 60 to 110 ms in a guest without KVM."""
_POLL_S = 0.005
_TRY_THE_LAB = "Try it in the lab, which has such a kernel."
_CGROUPS = "/sys/fs/cgroup"
_ELF_MAGIC = b"\x7fELF"


class ObjectFacts(Struct, frozen=True):
    """What an object offers: tunables with the values its source gives them, counters, and its programs."""

    tunables: dict[str, Setting]
    statistics: tuple[str, ...]
    programs: tuple[str, ...]


def read_object(obj: bytes) -> ObjectFacts:
    """What an object offers, without loading it; needs no privilege. Raises BadFile, MissingTool."""
    with contextlib.closing(_open(obj)) as opened:
        variables = read_variables(opened.btf())
        tunables = [each for each in variables if each.tunable]
        sections = {name: opened.section(name) for name in {each.section for each in tunables}}
        contents = {name: found.initial_content() if found else memoryview(b"") for name, found in sections.items()}
        return ObjectFacts(
            tunables={each.name: _default_of(each, contents[each.section]) for each in tunables},
            statistics=tuple(each.name for each in variables if each.statistic),
            programs=tuple(each.name for each in opened.programs),
        )


class LoadedScheduler:
    """A scheduler that the kernel runs because we hold its link. Its methods may be called from any thread."""

    def __init__(
        self,
        opened: BpfObject,
        link: Link,
        state: kernel_says.State,
        log: kernel_says.KernelLog,
        trace: kernel_says.DumpTrace,
    ) -> None:
        self.name = state.ops
        """As the kernel names it."""
        self._enable_seq = state.enable_seq
        self._object = opened
        self._link = link
        self._log = log
        self._trace = trace
        self._lock = threading.Lock()
        self._counters: _Counters | None = _Counters(opened)
        self._live: _Live | None = _Live(opened)
        self._last_statistics: dict[str, int] = {}
        self._exit: ExitInfo | None = None

    def statistics(self) -> dict[str, int]:
        """The policy's own counters now; after its end, their last values. Waits for nothing."""
        counters = self._counters
        return counters.read() if counters else dict(self._last_statistics)

    def tune(self, settings: dict[str, Setting]) -> None:
        """Change tunables of the running policy that can be changed so: all of these, or none.

        Raises BadTunable, and SchedtuiError when the policy has ended.
        """
        live = self._live
        if live is None:
            raise SchedtuiError(f"{self.name} has ended: there is nothing to change.", "Load it again.")
        live.write(settings)

    def exit_info(self) -> ExitInfo | None:
        """None while the kernel runs it; else why it ended. Cheap: it reads two small files of sysfs."""
        with self._lock:
            if self._exit is None and self._is_over():
                self._exit = _exit_of(self.name, self._log, self._trace)
            return self._exit

    def follows(self, _name: str, _enable_seq: int) -> bool:
        """It never starts itself anew."""
        return False

    def output(self) -> str:
        """Nothing: it prints nothing."""
        return ""

    def unload(self, *, at_once: bool = True) -> ExitInfo:
        """Give the machine back to the kernel's own scheduler, and say why this one ended. Nobody is to be asked first.

        Returns when the kernel has taken it out. May be called again, and by several threads. Raises
        SchedtuiError when the kernel does not finish within 10 s.
        """
        with self._lock:
            self._link.destroy()
            if not _wait_until(self._is_over):
                raise SchedtuiError(
                    f"The kernel still says “{kernel_says.read_word()}” for {self.name}.",
                    "Press F12, or ask the kernel: echo S | sudo tee /proc/sysrq-trigger",
                )
            if self._exit is None:
                self._exit = _exit_of(self.name, self._log, self._trace)
            if self._counters:
                self._last_statistics = self._counters.read()
                self._counters = self._live = None
                self._object.close()
                self._log.close()
                self._trace.close()
            return self._exit

    def _is_over(self) -> bool:
        return kernel_says.read_word() == "disabled" or kernel_says.read_enable_seq() != self._enable_seq


def load_scheduler(obj: bytes, settings: dict[str, Setting], *, may_attach: Callable[[], bool]) -> LoadedScheduler:
    """Load a compiled policy with its tunables set, and have the kernel run every normal task by it.

    ``may_attach`` is asked right before the kernel hands over its tasks, and once more right after: when it
    says no, nothing stays loaded and Interrupted is raised.
    Raises BadTunable, BadFile, LoadRejected, KernelUnsuitable, NotPermitted, MissingTool.
    """
    with contextlib.ExitStack() as undo:
        opened = _open(obj)
        undo.callback(opened.close)
        ops = _scheduler_map(opened)
        _set_tunables(opened, settings)
        if not kernel_says.read_word():
            raise KernelUnsuitable("This kernel has no sched_ext: it cannot load schedulers.", _TRY_THE_LAB)
        _load(opened)
        log = kernel_says.KernelLog()
        undo.callback(log.close)
        trace = kernel_says.DumpTrace()
        undo.callback(trace.close)
        if not may_attach():
            raise Interrupted("The scheduler was not loaded: panic came first.")
        link = _attach(ops, log)
        undo.callback(link.destroy)
        if not may_attach():
            raise Interrupted("The scheduler was taken out again: panic came while it was being loaded.")
        loaded = LoadedScheduler(opened, link, _wait_until_enabled(log, trace), log, trace)
        undo.pop_all()
        return loaded


class LoadedProbe:
    """Attached tracing programs and their maps. Its methods may be called from any thread."""

    def __init__(self, opened: BpfObject, links: dict[str, Link]) -> None:
        self._object = opened
        self._links = links
        self._lock = threading.Lock()
        self._counters: _Counters | None = _Counters(opened)
        self._live: _Live | None = _Live(opened)

    def map_fd(self, name: str) -> int:
        """Descriptor of a map; it belongs to the probe. Raises BadFile when there is no such map."""
        return self._map(name).fd

    def mmap(self, name: str) -> memoryview:
        """A BPF_F_MMAPABLE array as the kernel writes it: entry after entry, each 8-byte aligned, read-only.

        Stays valid after ``close``, when nothing is counted any more. Raises LoadRejected when it cannot be mapped.
        """
        try:
            return self._map(name).shared_memory()
        except (OSError, ValueError) as error:
            raise LoadRejected(f"The map “{name}” of this probe cannot be mapped: {error}") from error

    def globals(self) -> dict[str, int]:
        """The numbers it counts in .bss."""
        counters = self._counters
        if counters is None:
            raise SchedtuiError("The probe was closed.")
        return counters.read()

    def lookup(self, name: str, key: bytes, size: int) -> bytes | None:
        """The ``size`` bytes of one entry; None when there is none. Raises BadFile when the map has other sizes."""
        with self._lock:
            found = self._map(name)
            if found.value_bytes != size or found.key_bytes != len(key):
                raise BadFile(f"The map “{name}” of this probe does not have entries of {size} bytes.")
            try:
                return found.lookup(key)
            except LibbpfFailure as failure:
                raise SchedtuiError(f"The map “{name}” of the probe cannot be read: {failure}") from failure

    def change(self, name: str, entries: dict[bytes, bytes | None]) -> None:
        """Set entries of a map, and take out those that are None. Raises BadFile, SchedtuiError (it is full)."""
        with self._lock:
            found = self._map(name)
            try:
                for key, value in entries.items():
                    if value is None:
                        found.delete(key)
                    else:
                        found.update(key, value)
            except LibbpfFailure as failure:
                raise SchedtuiError(f"The map “{name}” of the probe cannot be written: {failure}") from failure

    def tune(self, settings: dict[str, Setting]) -> None:
        """Set its ``LIVE`` globals. Raises BadTunable, SchedtuiError."""
        with self._lock:
            if self._live is None:
                raise SchedtuiError("The probe was closed.")
            self._live.write(settings)

    def walk(self, program: str, size: int) -> bytes:
        """What an iterator program wrote while it walked, up to ``size`` bytes. Raises BadFile, SchedtuiError."""
        with self._lock:
            link = self._links.get(program)
            if link is None:
                raise BadFile(f"This probe has no program “{program}”.")
            try:
                descriptor = link.walk()
            except LibbpfFailure as failure:
                raise SchedtuiError(f"The probe's {program} cannot run: {failure}") from failure
            try:
                return os.read(descriptor, size)
            except OSError as error:
                raise SchedtuiError(f"The probe's {program} cannot be read: {error.strerror}") from error
            finally:
                os.close(descriptor)

    def close(self) -> None:
        """Detach and free. May be called twice."""
        with self._lock:
            for link in self._links.values():
                link.destroy()
            self._links = {}
            self._counters = self._live = None
            self._object.close()

    def _map(self, name: str) -> libbpf.Map:
        if self._counters is None:
            raise SchedtuiError("The probe was closed.")
        found = self._object.map_named(name)
        if found is None:
            raise BadFile(f"This probe has no map “{name}”.")
        return found


def load_probe(obj: bytes, *, map_entries: dict[str, int]) -> LoadedProbe:
    """Load a probe, with the number of entries of its maps, and attach all its programs.

    Raises BadFile, LoadRejected, KernelUnsuitable, NotPermitted, MissingTool.
    """
    with contextlib.ExitStack() as undo:
        opened = _open(obj)
        undo.callback(opened.close)
        for name, count in map_entries.items():
            resized = opened.map_named(name)
            if resized is None:
                raise BadFile(f"This probe has no map “{name}”.")
            resized.set_max_entries(count)
        _load(opened)
        links = {}
        for program in opened.programs:
            try:
                link = program.attach()
            except LibbpfFailure as failure:
                raise _explain(failure, f"The kernel does not let the probe's {program.name} be attached") from failure
            undo.callback(link.destroy)
            links[program.name] = link
        loaded = LoadedProbe(opened, links)
        undo.pop_all()
        return loaded


class _Counters:
    """The exported numbers of a loaded object's .bss, read from the kernel's own memory without a system call."""

    def __init__(self, opened: BpfObject) -> None:
        section = opened.section(".bss")
        self._variables = [each for each in read_variables(opened.btf()) if each.statistic] if section else []
        self._memory = section.shared_memory() if section and self._variables else memoryview(b"")

    def read(self) -> dict[str, int]:
        return {each.name: int(_decode(each, self._memory)) for each in self._variables}


class _Live:
    """The tunables of a loaded object that stay changeable, in the kernel's own memory."""

    def __init__(self, opened: BpfObject) -> None:
        section = opened.section(LIVE_SECTION)
        self._variables = {each.name: each for each in read_variables(opened.btf()) if each.exported}
        self._places = {name: each for name, each in self._variables.items() if each.live}
        self._memory = section.shared_memory(writable=True) if section and self._places else memoryview(b"")

    def write(self, settings: dict[str, Setting]) -> None:
        for name in settings:
            if name in self._variables and self._variables[name].tunable and name not in self._places:
                raise BadTunable(
                    f"“{name}” cannot be changed while the policy runs.", "Apply the policy anew with that setting."
                )
            if name not in self._places:
                raise _no_such_tunable(name, self._variables, self._places)
        contents = {name: _encode(self._places[name], value) for name, value in settings.items()}
        for name, content in contents.items():
            place = self._places[name]
            self._memory[place.offset : place.offset + place.size] = content


def _open(obj: bytes) -> BpfObject:
    if not obj.startswith(_ELF_MAGIC):
        raise BadFile("This is not a compiled policy (an ELF object).", "Compile the policy again.")
    try:
        return BpfObject(obj)
    except LibbpfFailure as failure:
        raise BadFile(
            "This is not a compiled policy that libbpf can read.",
            "Compile the policy again.",
            "\n".join(failure.messages),
        ) from failure


def _scheduler_map(opened: BpfObject) -> libbpf.Map:
    """The one sched_ext_ops that the object defines. Raises BadFile when it holds anything else that attaches."""
    foreign = [each.name for each in opened.programs if each.type != libbpf.STRUCT_OPS_PROGRAM]
    if foreign:
        raise BadFile(
            f"This object holds programs that are not a scheduler's: {', '.join(foreign)}.",
            "A policy consists of struct_ops callbacks alone.",
        )
    raw = opened.btf()
    found = [each for each in opened.maps if each.type == libbpf.STRUCT_OPS_MAP]
    if len(found) != 1 or type_name(raw, found[0].value_type) != "sched_ext_ops":
        raise BadFile(
            "This object does not define exactly one scheduler.",
            'A policy has one struct sched_ext_ops in the section ".struct_ops.link".',
        )
    return found[0]


def _set_tunables(opened: BpfObject, settings: dict[str, Setting]) -> None:
    if not settings:
        return
    variables = {each.name: each for each in read_variables(opened.btf()) if each.exported}
    tunables = {name: each for name, each in variables.items() if each.tunable}
    for name, value in settings.items():
        section = opened.section(tunables[name].section) if name in tunables else None
        if section is None:
            raise _no_such_tunable(name, variables, tunables)
        variable = tunables[name]
        place = section.initial_content()[variable.offset : variable.offset + variable.size]
        if len(place) != variable.size:
            raise BadFile("The type information (BTF) of this object is damaged.", "Compile the policy again.")
        place[:] = _encode(variable, value)


def _no_such_tunable(name: str, variables: dict[str, Variable], tunables: dict[str, Variable]) -> BadTunable:
    if name in variables:
        return BadTunable(f"“{name}” cannot be set: it is a variable of the policy, not a tunable.", _list(tunables))
    near = difflib.get_close_matches(name, tunables, n=3, cutoff=0.5)
    meant = f" Did you mean {' or '.join(near)}?" if near else ""
    return BadTunable(f"This policy has no tunable “{name}”.{meant}", _list(tunables))


def _list(tunables: dict[str, Variable]) -> str:
    return f"It has: {', '.join(tunables)}." if tunables else "It has no tunables."


def _encode(variable: Variable, value: Setting) -> bytes:
    """The bytes of a setting. Raises BadTunable when it does not fit the variable."""
    name = variable.name
    if variable.kind == "text":
        if not isinstance(value, str):
            raise BadTunable(f"“{name}” holds a text, not {value!r}.")
        content = value.encode()
        if len(content) >= variable.size or b"\0" in content:
            raise BadTunable(f"“{name}” holds a text of at most {variable.size - 1} bytes.")
        return content.ljust(variable.size, b"\0")
    if isinstance(value, str) and _names_cgroup(variable):
        value = _cgroup_id(name, value)
    if isinstance(value, str) or (variable.kind == "number" and isinstance(value, bool)):
        raise BadTunable(
            f"“{name}” holds {'a number' if variable.kind == 'number' else 'true or false'}, not {value!r}."
        )
    smallest, largest = (0, 1) if variable.kind == "truth" else variable.bounds
    if not smallest <= value <= largest:
        raise BadTunable(f"“{name}” holds {smallest} to {largest}; {value} does not fit.")
    return int(value).to_bytes(variable.size, "little", signed=variable.signed and variable.kind == "number")


def _names_cgroup(variable: Variable) -> bool:
    """A number whose name ends in ``cgroup`` is that of a control group: a person gives its path."""
    return variable.kind == "number" and variable.name.endswith("cgroup")


def _default_of(variable: Variable, section: memoryview) -> Setting:
    value = _decode(variable, section)
    return "" if _names_cgroup(variable) and value == 0 else value


def _cgroup_id(name: str, path: str) -> int:
    """The number by which a policy knows a control group: the inode of its folder. Empty: none."""
    if not path:
        return 0
    if ".." in path.split("/"):
        raise BadTunable(f"“{name}” holds the path of a control group, without “..”.")
    try:
        return Path(_CGROUPS, path.removeprefix(_CGROUPS).strip("/")).stat().st_ino
    except (OSError, ValueError) as error:
        raise BadTunable(
            f"“{name}”: there is no control group “{path}”.",
            "Give its path below /sys/fs/cgroup, such as /user.slice; systemd-cgls shows them.",
        ) from error


def _decode(variable: Variable, section: memoryview) -> Setting:
    content = bytes(section[variable.offset : variable.offset + variable.size])
    if variable.kind == "text":
        return content.split(b"\0", 1)[0].decode("utf-8", "replace")
    number = int.from_bytes(content, "little", signed=variable.signed)
    return bool(number) if variable.kind == "truth" else number


def _load(opened: BpfObject) -> None:
    try:
        opened.load()
    except LibbpfFailure as failure:
        raise _explain(failure, "The kernel rejected it") from failure


def _explain(failure: LibbpfFailure, what: str, said: str = "") -> SchedtuiError:
    """libbpf's and the verifier's words (and what else was ``said``) as an error for a person."""
    said = said or "\n".join(failure.messages)
    if failure.errno in (errno.EPERM, errno.EACCES) and not failure.kernel_log:
        return NotPermitted("Loading programs into the kernel needs root.", _TRY_THE_LAB, said)
    if "sched_ext_ops" in said and "kernel BTF" in said:
        return KernelUnsuitable("This kernel has no sched_ext: it cannot load schedulers.", _TRY_THE_LAB, said)
    if "vmlinux BTF" in said or "kernel BTF is missing" in said:
        return KernelUnsuitable(
            "This kernel does not describe its own types (BTF), which every scheduler needs.",
            f"It must be built with CONFIG_DEBUG_INFO_BTF. {_TRY_THE_LAB}",
            said,
        )
    program = _between(said, "prog '", "': BPF program load failed")
    if program and failure.kernel_log:
        return _rejected_program(program, failure)
    function = _between(said, "extern (func ksym) '", "'")
    if function:
        return LoadRejected(
            f"This kernel has no function {function}, which the policy calls.",
            "Declare it __weak and test it with bpf_ksym_exists before the call.",
            said,
        )
    return LoadRejected(f"{what}: {os.strerror(failure.errno)}.", details=said)


def _rejected_program(program: str, failure: LibbpfFailure) -> LoadRejected:
    rejection = reduce_log(failure.kernel_log)
    place = f"{rejection.file}:{rejection.line}: " if rejection.file else ""
    return LoadRejected(
        f"The kernel rejected {program}: {place}{rejection.fault}", rejection.plain, "\n".join(rejection.lines)
    )


def _between(text: str, before: str, after: str) -> str:
    """What stands between two phrases on one line; the last such place."""
    for line in reversed(text.splitlines()):
        _, found, rest = line.partition(before)
        inside, closed, _ = rest.partition(after)
        if found and closed:
            return inside
    return ""


def _attach(ops: libbpf.Map, log: kernel_says.KernelLog) -> Link:
    try:
        return ops.attach_struct_ops()
    except LibbpfFailure as failure:
        said = "\n".join([*failure.messages, *(each.text for each in log.records())])
        running = kernel_says.read_state().ops
        if failure.errno == errno.EBUSY:
            raise LoadRejected(
                f"Another scheduler{f' ({running})' if running else ''} is loaded; the kernel runs one at a time.",
                "Stop the program that loaded it, or press F12.",
                said,
            ) from failure
        if failure.errno == errno.E2BIG:
            raise LoadRejected(
                "Its timeout_ms is longer than the kernel allows.", "The kernel allows 30000 ms (30 s) at most.", said
            ) from failure
        raise _explain(failure, "The kernel does not take this scheduler", said) from failure


def _wait_until_enabled(log: kernel_says.KernelLog, trace: kernel_says.DumpTrace) -> kernel_says.State:
    """What runs after an attach. A scheduler whose init fails is attached all the same, and thrown out at once."""
    _wait_until(lambda: kernel_says.read_word() in ("enabled", "disabled"))
    state = kernel_says.read_state()
    if state.state == "enabled" and state.ops:
        return state
    ended = _exit_of("", log, trace)
    raise LoadRejected(
        f"The kernel threw {ended.scheduler or 'the scheduler'} out at once ({ended.reason}): {ended.message}".rstrip(
            ": "
        ),
        "",
        ended.dump,
    )


def _exit_of(name: str, log: kernel_says.KernelLog, trace: kernel_says.DumpTrace) -> ExitInfo:
    return kernel_says.exit_of(log.records(), name, trace.read())


def _wait_until(reached: Callable[[], bool]) -> bool:
    limit = time.monotonic() + _SETTLE_S
    while not reached():
        if time.monotonic() > limit:
            return False
        time.sleep(_POLL_S)
    return True
