"""The few lines of the kernel verifier's log that say why a program was rejected.

The log replays every instruction on the way to the fault and can be a megabyte; the fault is at its end.
Text in, text out.

Source of the format: kernel/bpf/verifier.c and kernel/bpf/log.c (print_insn_state, verbose_linfo). From 7.3 on the
kernel adds a report in plain words, with a reason and a suggestion, which is better than ours.
"""

from __future__ import annotations

import re

from msgspec import Struct

_SOURCE = re.compile(r"^; (?P<code>.*) @ (?P<file>[^ @]+):(?P<line>\d+)$")
_INSTRUCTION = re.compile(r"^\d+: \([0-9a-f]{2}\) ")
_STATE = re.compile(r"^(?:from \d+ to \d+: |\d+: (?:frame\d+: )?)[Rf]")
_NOISE = re.compile(
    r"^(?:processed \d+ insns|verification time|stack depth|insns processed|peak_states|cur state:|old state:|"
    r"mark_precise: |last_idx |regs=|parent state |parent didn't have|arg#\d+ reference type|func#\d+ @|caller:$|"
    r"callee:$|returning from callee|to caller at|Func#|Validating |(?:from \d+ to \d+|\d+): safe$)"
)
_REPORT = "Verification failed: "
_LONGEST_LINE = 200
_LONGEST_EXPLANATION = 500
_MOST_FAULT_LINES = 4

_PLAIN = (
    (r"CO-RE relocation", "The policy uses a type, field or constant that this kernel does not have."),
    (r"or_null|possibly NULL", "A pointer is used that may be NULL: test it first."),
    (r"invalid mem access 'scalar'", "A number is used as a pointer: the verifier does not know where it points."),
    (r"infinite loop|back-edge|too complex|too large", "The verifier sees no end of a loop: bound it by a constant."),
    (r"[Rr]eference|lock|region", "What was acquired (a task, a lock, an RCU section) is not released on every path."),
    (r"math between|min value|unbounded|outside of|invalid access to", "An index or offset is not checked first."),
    (
        r"calling kernel function .* not allowed|must be sleepable",
        "This function may not be called from this callback on this kernel.",
    ),
    (r"unknown func|invalid func|not allowed in", "This function does not exist, or may not be used, on this kernel."),
)


class Rejection(Struct, frozen=True):
    """Why the verifier rejected a program. ``file`` is empty when the log names no source line."""

    fault: str
    """The verifier's own sentence."""
    file: str
    line: int
    lines: tuple[str, ...]
    """The decisive lines: source, instruction, registers when short, fault."""
    plain: str
    """What that usually means, in plain words; empty when it is not a common one."""


def reduce_log(log: str) -> Rejection:
    """The decisive lines of a whole verifier log."""
    replay, _, report = log.partition(f"\n{_REPORT}")
    lines = [line.rstrip() for line in replay.splitlines() if line.strip() and not _NOISE.match(line.strip())]
    fault_lines = _fault_at_the_end(lines)
    before = lines[: len(lines) - len(fault_lines)]
    instruction = next((line for line in reversed(before) if _INSTRUCTION.match(line)), "")
    source = next((found for line in reversed(before) if (found := _SOURCE.match(line))), None)
    fault = fault_lines[-1] if fault_lines else "the verifier gives no reason"
    place = f"{source['file']}:{source['line']}: {source['code'].strip()}" if source else ""
    decisive = [place, *_split_state(instruction), *fault_lines[-_MOST_FAULT_LINES:]]
    return Rejection(
        fault=_shorten(fault),
        file=source["file"] if source else "",
        line=int(source["line"]) if source else 0,
        lines=tuple(_shorten(line) for line in decisive if line),
        plain=_explanation(report)
        or next((words for pattern, words in _PLAIN if re.search(pattern, "\n".join(fault_lines))), ""),
    )


def _explanation(report: str) -> str:
    """The reason and the suggestion of the kernel's own report, as one paragraph."""
    sections = re.findall(r"^(?:Reason|Suggestion):\n((?:  .*\n?)+)", report, re.MULTILINE)
    return " ".join(" ".join(sections).split())[:_LONGEST_EXPLANATION]


def _fault_at_the_end(lines: list[str]) -> list[str]:
    """The lines after the last that only report progress."""
    end = len(lines)
    while end and not (
        _SOURCE.match(lines[end - 1]) or _INSTRUCTION.match(lines[end - 1]) or _STATE.match(lines[end - 1])
    ):
        end -= 1
    return lines[end:]


def _split_state(instruction: str) -> list[str]:
    """``12: (79) r0 = *(u64 *)(r1 +0) ; R0_w=scalar()`` as instruction and registers, where those are short."""
    code, separator, registers = instruction.partition(" ; ")
    return [code.rstrip(), *([registers.strip()] if separator and len(registers) <= _LONGEST_LINE else [])]


def _shorten(line: str) -> str:
    return line if len(line) <= _LONGEST_LINE else line[: _LONGEST_LINE - 1] + "…"
