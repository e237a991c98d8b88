"""The third stage: what the compiled callbacks do with tasks, as far as that can be seen without running them.

``walk`` goes through the callbacks and notes events; ``tasks``, ``queues``, ``fairness`` and ``times`` hold the rules
about them. What only shows when a policy runs, such as how fair a sorted queue is in the end, is the kernel stage's.
"""

from __future__ import annotations

import time
from collections.abc import Iterable

from schedtui.backend.model import Finding, Stage
from schedtui.backend.verifier.bytecode import fairness, queues, tasks, times
from schedtui.backend.verifier.bytecode.seen import Seen
from schedtui.backend.verifier.bytecode.walk import Walker
from schedtui.backend.verifier.elf import ObjectFile

_RULES = (tasks.judge, queues.judge, fairness.judge, times.judge)
_MOST_FINDINGS = 24
_NEED_ALL_WAYS = (
    *("dsq-not-created", "dsq-never-drained", "endless-slice", "table-fills-up", "vtime-never-charged"),
    "stranded-on-cpu",
)
"""Rules that something breaks which is missing: it may be where nobody could look."""

_HAND_TASKS_OVER = ("init_task", "enable", "dispatch", "enqueue", "select_cpu")


def check_bytecode(file: ObjectFile) -> Stage:
    """Judge the callbacks of an object that the object stage has let pass."""
    began = time.monotonic()
    walker = Walker(file, on_new_kernel=True)
    seen = Seen(file, walker.walk(), walker.pointers)
    older = Walker(file, on_new_kernel=False)
    on_old_kernel = Seen(file, older.walk(only=_HAND_TASKS_OVER), older.pointers | walker.pointers)
    findings = [finding for rule in _RULES for finding in rule(seen)]
    findings += tasks.lost(on_old_kernel)
    if walker.too_hard:
        findings = [each for each in findings if each.rule not in _NEED_ALL_WAYS]
    findings += [_too_hard(root) for root in dict.fromkeys(walker.too_hard + older.too_hard)]
    findings = _once_each(findings)[:_MOST_FINDINGS]
    severities = {each.severity for each in findings}
    return Stage(
        name="bytecode",
        verdict="fail" if "error" in severities else "warn" if "warning" in severities else "pass",
        seconds=time.monotonic() - began,
        findings=tuple(findings),
        summary=f"{len(seen.roots)} callbacks, all ways through them",
        figures={"callbacks": len(seen.roots), "instructions": sum(len(each.instructions) for each in file.programs)},
    )


def _once_each(findings: Iterable[Finding]) -> list[Finding]:
    """Errors first; of several for the same rule and place, the first."""
    ranked = sorted(findings, key=lambda each: ("error", "warning", "note").index(each.severity))
    return list({(each.rule, each.place): each for each in reversed(ranked)}.values())[::-1]


def _too_hard(root: str) -> Finding:
    return Finding(
        rule="too-hard-to-follow",
        severity="note",
        place=root,
        meaning="This part branches and loops so much that not all ways through it could be looked at. Whether it "
        "treats every task well, only running it shows.",
        remedy="Shorter functions and fewer nested loops make it possible.",
    )
