"""Why a scheduler ended, as the kernel's log and its dump tell it."""

from __future__ import annotations

import pytest

from schedtui.backend.bpf.kernel_says import LogRecord, exit_of, last_dump, parse_record


def records(*lines: bytes) -> list[LogRecord]:
    return [found for line in lines if (found := parse_record(line)) is not None]


THROWN_OUT = (
    b'6,600,7364036,-;sched_ext: BPF scheduler "fair_1" enabled\n SUBSYSTEM=x\n',
    b'3,601,9102179,-;sched_ext: BPF scheduler "fair_1" disabled (runnable task stall)\n',
    b"3,602,9103457,-;sched_ext: fair_1: python3[134] failed to run for 5.172s\n",
    b"3,603,9103500,-;   scx_watchdog_workfn+0x18a/0x210\n",
)


def test_a_scheduler_at_fault_was_thrown_out_with_reason_message_and_dump() -> None:
    ended = exit_of(records(*THROWN_OUT), "fair_1", "the dump")
    assert (ended.kind, ended.reason, ended.thrown_out) == ("stall", "runnable task stall", True)
    assert ended.message == "python3[134] failed to run for 5.172s"
    assert ended.dump == "the dump"


@pytest.mark.parametrize(
    ("reason", "kind"),
    [
        (b"unregistered from user space", "unregistered"),
        (b"disabled by sysrq-S", "sysrq"),
        (b"unregistered from the main kernel", "unregistered-kernel"),
        (b"something of a later kernel", "unknown"),
    ],
)
def test_an_orderly_end_is_no_fault_and_has_no_dump(reason: bytes, kind: str) -> None:
    line = b'6,1,2,-;sched_ext: BPF scheduler "a" disabled (' + reason + b")\n"
    ended = exit_of(records(line), "a", "a dump of something else")
    assert (ended.kind, ended.reason, ended.thrown_out, ended.dump) == (kind, reason.decode(), False, "")


def test_the_last_end_counts_and_that_of_another_scheduler_does_not() -> None:
    lines = records(
        b'6,1,2,-;sched_ext: BPF scheduler "a" disabled (unregistered from user space)\n',
        b'3,2,3,-;sched_ext: BPF scheduler "a" disabled (scx_bpf_error)\n',
        b"3,3,4,-;sched_ext: a: no state for cpu 3\\x0aat all\n",
        b'6,4,5,-;sched_ext: BPF scheduler "b" disabled (disabled by sysrq-S)\n',
    )
    assert exit_of(lines, "a").kind == "error-bpf"
    assert exit_of(lines, "a").message == "no state for cpu 3\nat all"
    assert exit_of(lines, "").scheduler == "b"


def test_a_log_that_says_nothing_is_reported_as_that() -> None:
    assert exit_of([], "a").kind == "unknown"
    assert exit_of([], "a").reason


@pytest.mark.parametrize(
    "record", [b"", b"garbage", b"6,1,2,-;usb 1-1: new device\n", b"x,1,2,-;sched_ext: y\n", b"\xff;"]
)
def test_other_records_of_the_log_are_passed_over(record: bytes) -> None:
    assert parse_record(record) is None


def test_the_last_dump_of_a_trace_is_taken_without_the_tracers_columns() -> None:
    trace = "\n".join(
        [
            "# tracer: nop",
            "#           TASK-PID     CPU#  |||||  TIMESTAMP  FUNCTION",
            "          <idle>-0       [000] d.h2.    12.345678: sched_ext_dump: old[1] triggered exit kind 1024:",
            "          <idle>-0       [000] d.h2.    12.345679: sched_ext_dump:   old news",
            "   kworker/u8:4-154     [001] d..1.    99.000001: sched_ext_dump: python3[9] triggered exit kind 1026:",
            "   kworker/u8:4-154     [001] d..1.    99.000002: sched_ext_dump:   runnable task stall (x)",
            "   kworker/u8:4-154     [001] d..1.    99.000003: sched_ext_dump: ",
            "   kworker/u8:4-154     [001] d..1.    99.000004: sched_ext_dump: CPU states",
        ]
    )
    assert last_dump(trace).splitlines() == [
        "python3[9] triggered exit kind 1026:",
        "  runnable task stall (x)",
        "",
        "CPU states",
    ]
    assert last_dump("") == ""
