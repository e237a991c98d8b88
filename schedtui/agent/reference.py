"""What a policy's author has to know: the one header, as signatures with their comments, and the verifier's rules.

Both are made from what is really there (schedtui.bpf.h, rules.RULES), so that neither can tell of something else. Short
by default; a topic tells more.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator

from msgspec import Struct

from schedtui.backend.errors import UnknownName
from schedtui.paths import shipped

_HEADER = "include/schedtui.bpf.h"
_FUNCTION = re.compile(r"^static __always_inline ([\w \*]+?[ \*])(\w+)\(([^)]*)\)\n\{", re.MULTILINE)
_KFUNC = re.compile(r"^([\w \*]+?[ \*])(\w+)\(([^)]*)\) __ksym(?: __weak)?;(?: /\* (.*) \*/)?", re.MULTILINE)
_MACRO = re.compile(r"^#define (\w+)\(([^)]*)\)", re.MULTILINE)
_COMMENT = re.compile(r"/\*((?:(?!\*/).)*)\*/\s*\Z", re.DOTALL)
_HIDDEN = re.compile(r"^_|___|^bpf_iter_|_bstr$|COMPAT|_form$")
_OLD_NAMES = re.compile(r"^scx_bpf_(dispatch|consume)|^(time_after|UEI_SET_SIZE|count_by)$")
_PRIMITIVES = "primitives"
_STRUCTS = ("task_struct", "sched_ext_entity", "sched_entity", "scx_exit_info", "scx_init_task_args")


class Entry(Struct, frozen=True, kw_only=True):
    """One thing that a policy may use."""

    name: str
    signature: str
    says: str = ""
    """Its comment."""


def overview() -> str:
    """Everything that most policies need, in about 1500 tokens, and the topics that tell more."""
    found = _entries()
    often = [each for each in found.values() if each.name in _OFTEN]
    others = sorted(each.name for each in found.values() if each.name not in _OFTEN and not _told_of(each.name))
    return "\n".join(
        [
            "#include <schedtui.bpf.h> and nothing else; C for BPF: no library, no recursion, bounded loops.",
            "Callbacks (all optional), declared with BPF_STRUCT_OPS(name, args…); init, exit and init_task may sleep: "
            "BPF_STRUCT_OPS_SLEEPABLE. Table: SCX_OPS_DEFINE(x_ops, .enqueue = (void *)x_enqueue, …, "
            '.timeout_ms = 5000, .name = "x");',
            *_callbacks(),
            "Tunable: const volatile u64 slice_us = 5000; (LIVE instead of const: volatile u64 x LIVE = 0;) "
            "Statistic: u64 nr_x; count(nr_x). State: TASK_STATE(tasks, struct s); "
            'End: UEI_DEFINE(uei); UEI_RECORD(uei, info) in exit. char _license[] SEC("license") = "GPL";',
            *(_short(each) for each in often),
            f"Also there: {', '.join(others)}; bpf_cpumask_* (topic: sets of cpus).",
            f"Ask for one by its name, or for a topic: {', '.join(topics())}.",
        ]
    )


def topics() -> list[str]:
    """What ``about`` knows beside names."""
    return [
        "how it works",
        "callbacks",
        "constants",
        "structures",
        "queues",
        "cpus",
        "tasks",
        "sets of cpus",
        _PRIMITIVES,
    ]


def about(topic: str) -> str:
    """One topic, or one name with its whole comment. Raises UnknownName."""
    wanted = topic.strip().lower()
    if wanted == "how it works":
        return _prose()
    if wanted == "callbacks":
        return "\n".join(_callbacks())
    if wanted == "constants":
        return "\n".join(_constants())
    if wanted == "structures":
        return "\n".join(_structures())
    if wanted == _PRIMITIVES:
        return "\n".join(_full(each) for each in _primitives())
    if wanted in ("queues", "cpus", "tasks", "sets of cpus"):
        return "\n".join(_short(each) for each in _group(wanted))
    entry = _entries().get(topic.strip().removesuffix("()"))
    if entry:
        return _full(entry)
    lines = [line.strip() for line in _text().splitlines() if topic.strip() and topic.strip() in line]
    if lines and len(topic.strip()) > 3:
        return "\n".join(lines[:20])
    raise UnknownName(f"The header has no “{topic}”.", f"Topics: {', '.join(topics())}; or a name from the overview.")


def rules() -> str:
    """The verifier's rules that a source can break, one line each."""
    from schedtui.backend.verifier.rules import RULES

    no_fault_of_a_source = ("guest-died", "not-this-kernel", "kernel-helped", "too-hard-to-follow")
    return "\n".join(
        f"{name}: {rule.title}"
        for name, rule in RULES.items()
        if rule.stage in ("bytecode", "kernel") and name not in no_fault_of_a_source
    )


_OFTEN = {
    "scx_bpf_create_dsq", "scx_bpf_dsq_insert", "scx_bpf_dsq_insert_vtime", "scx_bpf_dsq_move_to_local",
    "scx_bpf_dsq_nr_queued", "scx_bpf_select_cpu_dfl", "scx_bpf_kick_cpu", "scx_bpf_pick_idle_cpu",
    "scx_bpf_test_and_clear_cpu_idle", "scx_bpf_task_cpu", "scx_bpf_now", "scx_bpf_task_set_slice",
    "is_percpu_kthread", "kick_idle_cpu", "empty_for_offline", "wants_to_go_on", "nr_online_cpus", "slice_for_queue",
    "weighted", "time_before", "time_clamp", "clamp_u64", "new_task_state", "task_state", "first_vtime", "vclock_now",
    "vclock_turn", "vclock_start", "vclock_join", "vclock_leave", "scx_bpf_error", "nr_cpus_without",
}  # fmt: skip


@functools.cache
def _text() -> str:
    return (shipped("bpf") / _HEADER).read_text(encoding="utf-8")


@functools.cache
def _entries() -> dict[str, Entry]:
    found: dict[str, Entry] = {}
    text = _text()
    for match in _KFUNC.finditer(text):
        _add(found, match[2], f"{match[1]}{match[2]}({_one_line(match[3])})", match[4] or "")
    for match in _MACRO.finditer(text):
        _add(found, match[1], f"{match[1]}({match[2]})", _comment_before(match.start()))
    for match in _FUNCTION.finditer(text):
        _add(found, match[2], f"{match[1]}{match[2]}({_one_line(match[3])})", _comment_before(match.start()))
    for match in re.finditer(r"^#define (scx_bpf_dsq_move_to_local)\(", text, re.MULTILINE):
        at = text.rindex("/* Move the first", 0, match.start())
        says = _plain(text[at : text.index("*/", at)])
        _add(found, match[1], "bool scx_bpf_dsq_move_to_local(u64 dsq_id)", says)
    return found


def _told_of(name: str) -> bool:
    """What the overview names otherwise."""
    return name.startswith(("bpf_cpumask_", "BPF_STRUCT", "SCX_OPS", "UEI_", "TASK_STATE", "ARRAY_SIZE", "private"))


def _add(found: dict[str, Entry], name: str, signature: str, says: str) -> None:
    if not _HIDDEN.search(name) and not _OLD_NAMES.search(name):
        found[name] = Entry(name=name, signature=signature, says=says)


def _comment_before(at: int) -> str:
    before = _text()[max(0, at - 1200) : at]
    match = _COMMENT.search(before)
    return _plain(match[1]) if match and "----" not in match[1] else ""


def _plain(comment: str) -> str:
    return _one_line(re.sub(r"^\s*/?\*+ ?", "", comment, flags=re.MULTILINE))


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _short(entry: Entry) -> str:
    first = re.split(r"(?<=[.;]) ", entry.says)[0] if entry.says else ""
    return f"{entry.signature}{f' — {first}' if first else ''}"


def _full(entry: Entry) -> str:
    return f"{entry.signature}{f' — {entry.says}' if entry.says else ''}"


def _callbacks() -> list[str]:
    body = _between("struct sched_ext_ops {", "};")
    wanted = re.findall(r"^\t(\w+) \(\*(\w+)\)\(([^)]*)\);", body, re.MULTILINE)
    return [
        f"{kind} {name}({arguments})"
        for kind, name, arguments in wanted
        if not name.startswith(("dump", "cgroup", "core_sched", "cpu_acquire", "cpu_release"))
    ]


def _constants() -> Iterator[str]:
    part = _text()[_text().index("/* ---- constants") : _text().index("#define PF_IDLE")]
    for name, body in re.findall(r"enum (\w+) \{(.*?)\};", part, re.DOTALL):
        values = re.findall(r"^\t(\w+)", body, re.MULTILINE)
        yield f"{name}: {', '.join(values)}"


def _structures() -> Iterator[str]:
    for name in _STRUCTS:
        yield f"struct {name} {{ {_one_line(_between(f'struct {name} {{', '};'))} }}"


def _primitives() -> list[Entry]:
    at = _text().index("/* ---- primitives")
    names = {match[2] for match in _FUNCTION.finditer(_text(), at)} | {
        match[1] for match in _MACRO.finditer(_text(), at)
    }
    return [each for each in _entries().values() if each.name in names]


def _group(topic: str) -> list[Entry]:
    """Kernel functions under one of the header's small headings, and the wrappers with names of that kind."""
    heading = {
        "queues": "/* Queues */",
        "cpus": "/* CPUs */",
        "tasks": "/* Tasks */",
        "sets of cpus": "/* Sets of CPUs",
    }
    start = _text().index(heading[topic])
    end = min(at for each in (*heading.values(), "/* Ending") if (at := _text().find(each, start + 4)) > start)
    names = [match[2] for match in _KFUNC.finditer(_text(), start, end)]
    more = [name for name in _entries() if name.startswith("scx_bpf_dsq_")] if topic == "queues" else []
    return [_entries()[each] for each in dict.fromkeys([*names, *more]) if each in _entries()]


def _between(begin: str, end: str) -> str:
    start = _text().index(begin) + len(begin)
    return _text()[start : _text().index(end, start)]


def _prose() -> str:
    told = _between("What a policy is\n", " * Kernels\n")
    return re.sub(r"^ \* ?", "", told, flags=re.MULTILINE).strip()
