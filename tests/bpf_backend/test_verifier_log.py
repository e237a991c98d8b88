"""The verifier's logs are reduced to what decides. The logs were taken from real kernels."""

from __future__ import annotations

from pathlib import Path

import pytest

from schedtui.backend.bpf.verifier_log import reduce_log

LOGS = Path(__file__).parent / "logs"


def log(name: str) -> str:
    return (LOGS / f"{name}.log").read_text()


@pytest.mark.parametrize(
    ("name", "file", "line", "fault"),
    [
        (
            "unbounded-6.18",
            "unbounded.bpf.c",
            82,
            "math between map_value pointer and register with unbounded min value",
        ),
        (
            "unbounded-7.3",
            "unbounded.bpf.c",
            82,
            "math between map_value pointer and register with unbounded min value",
        ),
        ("loop-6.16", "loop.bpf.c", 81, "infinite loop detected at insn 12"),
        ("loop-7.3", "loop.bpf.c", 81, "infinite loop detected at insn 12"),
        ("null-6.18", "null.bpf.c", 90, "R1 invalid mem access 'trusted_ptr_or_null_'"),
        ("null-7.3", "null.bpf.c", 90, "R1 invalid mem access 'trusted_ptr_or_null_'"),
        ("not-allowed-6.18", "notallowed.bpf.c", 90, "program must be sleepable to call sleepable kfunc"),
        ("not-allowed-7.3", "notallowed.bpf.c", 90, "calling kernel function scx_bpf_create_dsq is not allowed"),
        ("field-6.16", "field.bpf.c", 90, "failed to resolve CO-RE relocation"),
    ],
)
def test_the_fault_and_its_source_line_are_found(name: str, file: str, line: int, fault: str) -> None:
    found = reduce_log(log(name))
    assert (found.file, found.line) == (file, line)
    assert found.fault.startswith(fault)
    assert found.lines[0].startswith(f"{file}:{line}: ")
    assert found.lines[-1] == found.fault
    assert len(found.lines) <= 6
    assert found.plain


def test_the_instruction_stands_between_source_and_fault() -> None:
    assert reduce_log(log("null-6.18")).lines == (
        "null.bpf.c:90: scx_bpf_dsq_move_to_local(prev->pid);",
        "1: (61) r1 = *(u32 *)(r1 +2704)",
        "R1 invalid mem access 'trusted_ptr_or_null_'",
    )


def test_the_explanation_of_newer_kernels_is_taken_over() -> None:
    plain = reduce_log(log("null-7.3")).plain
    assert plain.startswith("R1 may be NULL here (a nullable kernel object pointer).")
    assert plain.endswith("dereference the pointer only on the non-NULL path.")


def test_older_kernels_are_explained_by_us() -> None:
    assert reduce_log(log("null-6.18")).plain == "A pointer is used that may be NULL: test it first."


@pytest.mark.parametrize("text", ["", "\n\n", "processed 0 insns (limit 1000000)\n", "0: R1=ctx() R10=fp0\n"])
def test_a_log_without_a_reason_says_so(text: str) -> None:
    found = reduce_log(text)
    assert found.fault == "the verifier gives no reason"
    assert (found.file, found.line) == ("", 0)


def test_a_log_that_begins_in_the_middle_of_a_line_is_read_all_the_same() -> None:
    whole = log("loop-6.16")
    assert reduce_log(whole[len(whole) // 2 :]).fault == "infinite loop detected at insn 12"


def test_very_long_lines_are_cut() -> None:
    found = reduce_log("5: (0f) r5 += r3\n" + "x" * 10_000)
    assert max(map(len, found.lines)) <= 200
