"""Reading compiled objects: programs with what they refer to, maps, variables, the table of callbacks; and damage."""

from __future__ import annotations

from pathlib import Path

import pytest

from schedtui.backend.bpf.compiler import compile_bpf
from schedtui.backend.errors import BadFile
from schedtui.backend.library.catalogue import load_library
from schedtui.backend.verifier.elf import Instruction, ObjectFile, Program, Reference, read_object


@pytest.fixture(scope="module")
def compiled() -> bytes:
    return compile_bpf(Path(load_library().policy("powersave").source))


@pytest.fixture(scope="module")
def powersave(compiled: bytes) -> ObjectFile:
    return read_object(compiled)


def program(file: ObjectFile, name: str) -> Program:
    found = file.program(name)
    assert found, name
    return found


def referred(instructions: tuple[Instruction, ...], kind: str) -> set[str]:
    return {each.reference.name for each in instructions if each.reference and each.reference.kind == kind}


def test_the_table_of_callbacks_names_the_function_of_each_and_its_numbers(powersave: ObjectFile) -> None:
    (table,) = powersave.struct_ops
    assert (table.name, table.type_name) == ("powersave_ops", "sched_ext_ops")
    assert table.callbacks["enqueue"] == "powersave_enqueue"
    assert table.values["timeout_ms"] == 5000
    assert table.values["name"] == "powersave"
    assert program(powersave, "powersave_enqueue").op == "enqueue"
    assert program(powersave, "powersave_pick_idle").op == ""


def test_an_instruction_tells_what_it_refers_to(powersave: ObjectFile) -> None:
    enqueue = program(powersave, "powersave_enqueue").instructions
    assert "tasks" in referred(enqueue, "map")
    assert "nr_queued" in referred(enqueue, "global")
    assert "powersave_pick_idle" in referred(enqueue, "program")
    assert "scx_bpf_kick_cpu" in referred(enqueue, "kfunc")


def test_a_function_that_is_called_later_is_referred_to_by_its_address(powersave: ObjectFile) -> None:
    assert "powersave_alarm" in referred(program(powersave, "powersave_init").instructions, "program")


def test_an_access_to_a_field_of_the_kernel_has_the_fields_name(powersave: ObjectFile) -> None:
    accesses = {
        (each.adapted.type_name, each.adapted.path)
        for each in program(powersave, "powersave_enqueue").instructions
        if each.adapted
    }
    assert ("task_struct", ("flags",)) in accesses


def test_instructions_know_their_lines(powersave: ObjectFile) -> None:
    lines = {each.line.text for each in program(powersave, "powersave_running").instructions if each.line}
    assert "state->charged = p->se.sum_exec_runtime;" in lines


def test_maps_are_read_with_their_sizes_and_kinds(powersave: ObjectFile) -> None:
    cpus = next(each for each in powersave.maps if each.name == "cpus")
    assert (cpus.type, cpus.key_bytes, cpus.max_entries, cpus.value_type) == (2, 4, 1024, "powersave_cpu")
    tasks = next(each for each in powersave.maps if each.name == "tasks")
    assert (tasks.type, tasks.flags, tasks.pinning) == (29, 1, 0)


def test_variables_are_read_with_what_they_hold_at_first(powersave: ObjectFile) -> None:
    variables = {each.name: each for each in powersave.globals}
    assert int.from_bytes(variables["slice_us"].initial, "little") == 5000
    assert variables["slice_us"].is_const_volatile
    assert not variables["nr_queued"].is_const_volatile
    assert variables["order"].size == 4096
    assert variables["order"].is_static


def test_weak_and_strong_functions_of_the_kernel_are_told_apart(powersave: ObjectFile) -> None:
    externs = {each.name: each for each in powersave.externs}
    assert not externs["scx_bpf_kick_cpu"].is_weak
    assert externs["scx_bpf_dsq_insert___v2___form"].is_weak
    assert externs["scx_bpf_kick_cpu"].is_function


def test_a_place_within_an_array_is_told_by_the_array_and_the_distance(tmp_path: Path) -> None:
    source = tmp_path / "array.bpf.c"
    source.write_text(
        "#include <schedtui.bpf.h>\n"
        'char _license[] SEC("license") = "GPL";\n'
        "u64 numbers[8];\n"
        "void BPF_STRUCT_OPS(array_running, struct task_struct *p)\n{\n\tnumbers[3] = 1;\n}\n"
        'SCX_OPS_DEFINE(array_ops, .running = (void *)array_running, .name = "array");\n'
    )
    running = program(read_object(compile_bpf(source)), "array_running").instructions
    places = {(each.reference, each.off) for each in running if each.code == 0x7B or each.reference}
    assert (Reference("global", "numbers", ".bss", 0), 0) in places or any(
        each.reference == Reference("global", "numbers", ".bss", 24) for each in running
    )


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "no compiled BPF object"),
        (b"#include <schedtui.bpf.h>\n", "no compiled BPF object"),
        (b"\x7fELF", "cut off"),
    ],
)
def test_what_is_no_object_is_said_so(data: bytes, message: str) -> None:
    with pytest.raises(BadFile, match=message):
        read_object(data)


def test_a_native_object_is_said_so(compiled: bytes) -> None:
    with pytest.raises(BadFile, match="native"):
        read_object(compiled[:18] + b"\x3e\x00" + compiled[20:])


@pytest.mark.parametrize("kept", [0.05, 0.3, 0.6, 0.9, 0.99])
def test_a_truncated_object_is_refused(compiled: bytes, kept: float) -> None:
    with pytest.raises(BadFile):
        read_object(compiled[: int(len(compiled) * kept)])
