"""The second stage: what a compiled policy is made of, before anyone asks what it does.

A scheduler and nothing else; only functions, helpers and maps of ``allowed``; memory, tunables and the watchdog's time
within bounds. Reading the file is ``elf``'s, following its programs ``bytecode``'s. Runs in the child.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import PurePath

from schedtui.backend.bpf.btf import LIVE_SECTION
from schedtui.backend.errors import BadFile
from schedtui.backend.model import Finding, Severity, Stage, Tunable, Verdict
from schedtui.backend.verifier import allowed
from schedtui.backend.verifier.elf import CALL, EM_BPF, LD_IMM64, Global, Instruction, Map, ObjectFile, Program

MOST_MAP_BYTES = 64 << 20
MOST_BYTES = 128 << 20
MANY_BYTES = 16 << 20
MOST_TASK_BYTES = 16 << 10
ASSUMED_CPUS = 128
"""A map for each CPU is counted for a large desktop: a verdict must not hang on the machine that gives it."""
LONG_TIMEOUT_MS = 10_000
LONGEST_TIMEOUT_MS = 30_000
"""SCX_WATCHDOG_MAX_TIMEOUT of kernel/sched/ext.c: the kernel refuses more, and takes this when none is given."""

_SCHED_EXT = "sched_ext_ops"
_PROGRAM_SECTIONS = (".text", "struct_ops", "?struct_ops")
_NATIVE_SECTIONS = (".init_array", ".fini_array", ".preinit_array", ".ctors", ".dtors", ".init", ".fini")
_HASH_ENTRY_BYTES = 64
"""What the kernel adds to each entry of a hash map, rounded up."""
_PER_CPU = (allowed.PERCPU_HASH, allowed.PERCPU_ARRAY, allowed.LRU_PERCPU_HASH)
_HASHED = (allowed.HASH, allowed.PERCPU_HASH, allowed.LRU_HASH, allowed.LRU_PERCPU_HASH, allowed.LPM_TRIE)
_PER_OWNER = (allowed.TASK_STORAGE, allowed.CGRP_STORAGE)
_CGROUP_ID_BYTES = 8
_BY_NUMBER = {
    (CALL, 2): ("kfunc-not-allowed", "a function of the kernel"),
    (LD_IMM64, 3): ("kernel-variable", "a variable of the kernel"),
    **{(LD_IMM64, kind): ("map-not-allowed", "a map of another program") for kind in (1, 2, 5, 6)},
}
"""By code and source register: BPF_PSEUDO_KFUNC_CALL, _BTF_ID, _MAP_FD, _MAP_VALUE, _MAP_IDX and _MAP_IDX_VALUE."""
_GPL = ("GPL", "GPL v2", "GPL and additional rights", "Dual BSD/GPL", "Dual MIT/GPL", "Dual MPL/GPL")
"""license_is_gpl_compatible of include/linux/license.h."""
_MOST_FINDINGS = 24
_WORSE: dict[Severity, Verdict] = {"error": "fail", "warning": "warn", "note": "pass"}


def check_object(file: ObjectFile, tunables: tuple[Tunable, ...] | None = None) -> Stage:
    """Judge what a policy is made of. ``tunables`` are the library's word on it; None: it has none."""
    began = time.monotonic()
    checks: tuple[Callable[[ObjectFile], Iterator[Finding]], ...] = (
        _check_types,
        _check_kind,
        _check_license,
        _check_functions,
        _check_helpers,
        _check_numbers,
        _check_maps,
        _check_memory,
        _check_timeout,
    )
    findings = [finding for check in checks for finding in check(file)]
    if tunables is not None:
        findings += _check_tunables(file, tunables)
    findings.sort(key=lambda each: ("error", "warning", "note").index(each.severity))
    verdict: Verdict = "pass" if not findings else max((_WORSE[each.severity] for each in findings), key=_rank)
    callbacks = sum(1 for each in file.programs if each.op)
    return Stage(
        name="object",
        verdict=verdict,
        seconds=time.monotonic() - began,
        findings=tuple(findings[:_MOST_FINDINGS]),
        summary=f"{callbacks} callbacks, {len(file.maps)} maps, {len(_functions(file))} kernel functions",
        figures={"map_bytes": sum(_map_bytes(each) for each in file.maps) + _data_bytes(file)},
    )


def unreadable(data: bytes, error: BadFile) -> Finding:
    """What is wrong with a file that is no object for this verifier."""
    elf = data[:4] == b"\x7fELF" and len(data) >= 20
    foreign = elf and (data[4:6] != b"\x02\x01" or int.from_bytes(data[18:20], "little") != EM_BPF)
    return Finding(
        rule="wrong-architecture" if foreign else "not-an-object",
        severity="error",
        place="the file",
        meaning=error.message,
        remedy=error.remedy or "Compile the policy again.",
    )


def _rank(verdict: Verdict) -> int:
    return ("pass", "warn", "fail").index(verdict)


def _check_types(file: ObjectFile) -> Iterator[Finding]:
    if not file.has_btf:
        yield _error(
            "no-btf",
            "the file",
            "It has no type information, so neither the kernel nor this verifier knows what it works on.",
            "Compile it with -g, and do not strip it.",
        )


def _check_kind(file: ObjectFile) -> Iterator[Finding]:
    tables = [each for each in file.struct_ops if _essential(each.type_name) == _SCHED_EXT]
    if len(tables) != 1 and file.has_btf:
        what = "no scheduler" if not tables else f"{len(tables)} schedulers"
        yield _error(
            "foreign-program", "the file", f"It holds {what}.", "A policy has exactly one SCX_OPS_DEFINE(…) table."
        )
    for table in file.struct_ops:
        if table not in tables:
            yield _error(
                "foreign-program",
                table.name,
                f"It also replaces another part of the kernel ({table.type_name}), which is no part of scheduling.",
                "Take that table out.",
            )
    for section in dict.fromkeys(each.section for each in file.programs):
        if section.partition("/")[0].partition(".s")[0] not in _PROGRAM_SECTIONS:
            names = ", ".join(each.name for each in file.programs if each.section == section)
            yield _error(
                "foreign-program",
                names,
                f"This program is no callback of a scheduler: its section is {section}. "
                "It is for a loader of its own, which schedtui does not run.",
                "Take it out; or run the whole scheduler with its own program, as an external one.",
            )
    for each in file.sections:
        if each.name.startswith(_NATIVE_SECTIONS) and each.size:
            yield _error(
                "foreign-program",
                each.name,
                "It holds a function that a native program would run at its start. Nothing here ever runs it.",
                "Take __attribute__((constructor)) and its kin out; a scheduler sets things up in init().",
            )


def _check_license(file: ObjectFile) -> Iterator[Finding]:
    if file.license not in _GPL:
        said = f"says “{file.license[:40]}”" if file.license else "says nothing"
        yield _error(
            "license-not-gpl",
            "its licence",
            f"Its licence {said}; the kernel lets only programs under the GPL schedule.",
            'Write: char _license[] SEC("license") = "GPL";',
        )


def _functions(file: ObjectFile) -> list[str]:
    """The kernel's functions that it names, called or not, without the suffixes that tell their forms apart."""
    return sorted({_essential(each.name) for each in file.externs if each.section == ".ksyms" and each.is_function})


def _essential(name: str) -> str:
    """libbpf ignores what follows three underscores."""
    return name.partition("___")[0] or name


def _check_functions(file: ObjectFile) -> Iterator[Finding]:
    for name in _functions(file):
        if name in allowed.KFUNCS:
            continue
        place = _first_call(file, name)
        if name in allowed.KFUNCS_THAT_READ:
            yield _reads_memory(place, name)
        else:
            yield _error(
                "kfunc-not-allowed",
                place,
                f"It calls {name}(), which is not among the kernel's functions that policies may call.",
                "Use those that schedtui's header declares.",
            )
    for each in file.externs:
        if each.section == ".kconfig":
            yield _error(
                "kconfig-extern",
                each.name,
                f"It reads {each.name}, how the kernel was built: it can do one thing where it is proven and another "
                "elsewhere.",
                "Ask with bpf_core_field_exists() and its kin for what really matters, or make it a tunable.",
            )
        elif each.section == ".ksyms" and not each.is_function and each.name not in allowed.VARIABLES:
            yield _error(
                "kernel-variable",
                each.name,
                f"It reads {each.name}, a variable inside the kernel, which the next may use differently; its address "
                "tells where the kernel is in memory.",
                "Use what schedtui's header and the scx_bpf_ functions tell.",
            )


def _first_call(file: ObjectFile, name: str) -> str:
    for program in file.programs:
        for instruction in program.instructions:
            to = instruction.reference
            if to is not None and to.kind == "kfunc" and _essential(to.name) == name:
                return _place(program, instruction)
    return "the file"


def _check_helpers(file: ObjectFile) -> Iterator[Finding]:
    used: dict[int, str] = {}
    for program in file.programs:
        for instruction in program.instructions:
            if instruction.code == CALL and instruction.src == 0 and instruction.reference is None:
                used.setdefault(instruction.imm, _place(program, instruction))
    for number, place in sorted(used.items()):
        if number in allowed.HELPERS_THAT_READ:
            yield _reads_memory(place, allowed.HELPERS_THAT_READ[number])
        elif number not in allowed.HELPERS:
            name = allowed.OTHER_HELPERS.get(number, f"helper number {number}")
            yield _error(
                "helper-not-allowed",
                place,
                f"It calls {name}, which no scheduling decision needs.",
                "Use what schedtui's header declares.",
            )


def _check_numbers(file: ObjectFile) -> Iterator[Finding]:
    """Parts of the kernel can also be named by number, past every list: no compiler writes such an object."""
    found: dict[tuple[str, str], str] = {}
    for program in file.programs:
        for each in program.instructions:
            by_number = _BY_NUMBER.get((each.code, each.src)) if each.reference is None else None
            if by_number:
                found.setdefault(by_number, _place(program, each))
    for (rule, what), place in found.items():
        yield _error(
            rule,
            place,
            f"It names {what} by its number, so that it is another one in another kernel, or anything at all.",
            "Compile the policy from its source again.",
        )


def _check_maps(file: ObjectFile) -> Iterator[Finding]:
    for each in file.maps:
        if each.type not in allowed.MAPS:
            what = allowed.OTHER_MAPS.get(each.type, f"a map of kind {each.type}")
            yield _error(
                "map-not-allowed",
                each.name,
                f"{each.name} is {what}: not for policies.",
                "Use hash, array, queue or storage maps.",
            )
        if each.pinning:
            yield _error(
                "pinned-map",
                each.name,
                f"{each.name} would stay in the file system when the scheduler is gone, open to other programs.",
                "Take __uint(pinning, …) out of the map.",
            )


def _check_memory(file: ObjectFile) -> Iterator[Finding]:
    sizes = {each.name: _map_bytes(each) for each in file.maps if each.type in allowed.MAPS}
    sizes["its variables"] = _data_bytes(file)
    for name, size in sizes.items():
        if size > MANY_BYTES:
            yield _memory(name, size, "error" if size > MOST_MAP_BYTES else "warning")
    if sum(sizes.values()) > MOST_BYTES and max(sizes.values()) <= MOST_MAP_BYTES:
        yield _memory("all maps together", sum(sizes.values()), "error")
    for each in file.maps:
        if each.type in _PER_OWNER and each.value_bytes > MOST_TASK_BYTES:
            yield _error(
                "too-much-memory",
                each.name,
                f"{each.name} takes {each.value_bytes >> 10} KB for each task; a desktop has thousands of them.",
                f"Keep at most {MOST_TASK_BYTES >> 10} KB for a task.",
            )


def _memory(name: str, size: int, severity: Severity) -> Finding:
    return Finding(
        rule="too-much-memory",
        severity=severity,
        place=name,
        meaning=f"It takes {size >> 20} MB of the kernel's memory on a computer with {ASSUMED_CPUS} CPUs.",
        remedy=f"Lower max_entries or the size of the values; at most {MOST_MAP_BYTES >> 20} MB for a map, "
        f"{MOST_BYTES >> 20} MB in all.",
    )


def _map_bytes(each: Map) -> int:
    """What a map takes when it is full."""
    value = -(-each.value_bytes // 8) * 8 * (ASSUMED_CPUS if each.type in _PER_CPU else 1)
    key = -(-each.key_bytes // 8) * 8 + _HASH_ENTRY_BYTES if each.type in _HASHED else 0
    return 0 if each.type in _PER_OWNER else each.max_entries * (key + value)


def _data_bytes(file: ObjectFile) -> int:
    return sum(each.size for each in file.sections if each.name.startswith((".bss", ".data", ".rodata")))


def _check_timeout(file: ObjectFile) -> Iterator[Finding]:
    for table in file.struct_ops:
        if _essential(table.type_name) != _SCHED_EXT:
            continue
        given = table.values.get("timeout_ms", 0)
        timeout_ms = given if isinstance(given, int) else 0
        if timeout_ms > LONGEST_TIMEOUT_MS:
            yield _timeout(table.name, "error", f"{timeout_ms / 1000:g} s, more than the kernel accepts")
        elif timeout_ms > LONG_TIMEOUT_MS:
            yield _timeout(table.name, "warning", f"{timeout_ms / 1000:g} s")
        elif timeout_ms == 0:
            yield _timeout(table.name, "warning", "not set, so the kernel takes 30 s")


def _timeout(place: str, severity: Severity, what: str) -> Finding:
    return Finding(
        rule="timeout-too-long",
        severity=severity,
        place=place,
        meaning=f"timeout_ms is {what}. That long a forgotten program may stand still before the kernel steps in.",
        remedy="Write .timeout_ms = 5000 into the table of callbacks.",
    )


def _check_tunables(file: ObjectFile, tunables: tuple[Tunable, ...]) -> Iterator[Finding]:
    offered = {
        each.name: each
        for each in file.globals
        if (each.is_const_volatile or each.section == LIVE_SECTION) and not each.is_static
    }
    for tunable in tunables:
        there = offered.get(tunable.name)
        fault = (
            "it is neither a const volatile nor a LIVE global of the source"
            if there is None
            else _misfit(tunable, there)
        )
        if fault:
            yield _error(
                "tunable-out-of-bounds",
                tunable.name,
                f"{tunable.name}, which policy.toml lists, cannot be set as it says: {fault}.",
                "Make the source and policy.toml say the same.",
            )
    for name in sorted(offered.keys() - {each.name for each in tunables}):
        if not name.startswith("__"):
            yield Finding(
                rule="tunable-out-of-bounds",
                severity="warning",
                place=name,
                meaning=f"policy.toml does not list {name}, so nobody can see or set it.",
                remedy="List it with its range, or make it static.",
            )


def _misfit(tunable: Tunable, there: Global) -> str:
    """Why a global cannot hold what the library says; empty when it can."""
    if tunable.live != (there.section == LIVE_SECTION):
        return "only one of the two says that it can be changed while it runs"
    if isinstance(tunable.default, str) and tunable.name.endswith("cgroup") and there.size == _CGROUP_ID_BYTES:
        return ""  # a person gives a path, the loader the number that the kernel has for it
    if isinstance(tunable.default, str):
        return _misfit_of_text(tunable.default, tunable.max_length or 0, there)
    if there.size not in (1, 2, 4, 8) or (isinstance(tunable.default, bool) and there.size != 1):
        return f"its {there.size} bytes hold no {'yes or no' if isinstance(tunable.default, bool) else 'number'}"
    low, high = tunable.minimum or 0, tunable.maximum if tunable.maximum is not None else 1
    bits = 8 * there.size - (1 if low < 0 else 0)
    if low < -(1 << bits) or high >= 1 << bits:
        return f"{low} to {high} does not fit into {there.size} bytes"
    initial = int.from_bytes(there.initial, "little", signed=low < 0)
    return f"it begins with {initial}, not with {int(tunable.default)}" if initial != tunable.default else ""


def _misfit_of_text(default: str, longest: int, there: Global) -> str:
    if longest >= there.size:
        return f"{longest} bytes and the 0 that ends them do not fit into {there.size}"
    initial = there.initial.partition(b"\0")[0].decode("utf-8", "replace")
    return f"it begins with “{initial}”, not with “{default}”" if initial != default else ""


def _reads_memory(place: str, name: str) -> Finding:
    return _error(
        "reads-kernel-memory",
        place,
        f"It calls {name}, which reads any address: what it reads could leave the kernel through its statistics.",
        "Follow the kernel's pointers in plain C (p->scx.weight): the kernel checks those.",
    )


def _place(program: Program, instruction: Instruction) -> str:
    if instruction.line is None:
        return program.name
    return f"{PurePath(instruction.line.file).name}:{instruction.line.number}"


def _error(rule: str, place: str, meaning: str, remedy: str) -> Finding:
    return Finding(rule=rule, severity="error", place=place, meaning=meaning, remedy=remedy)
