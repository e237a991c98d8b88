"""The bytecode stage: for each rule what breaks it, and what comes close and is sound."""

from __future__ import annotations

from pathlib import Path

import pytest

from schedtui.backend.bpf.compiler import compile_bpf
from schedtui.backend.library.catalogue import load_library
from schedtui.backend.model import Policy, Stage
from schedtui.backend.verifier.bytecode import check_bytecode
from schedtui.backend.verifier.elf import read_object
from schedtui.backend.verifier.rules import RULES

POLICIES = [each for each in load_library().policies.values() if each.source and each.origin == "built-in"]

INSERT = "scx_bpf_dsq_insert(p, 1, SCX_SLICE_DFL, enq_flags);"
DRAIN = "scx_bpf_dsq_move_to_local(1);"
CREATE = "return scx_bpf_create_dsq(1, NUMA_NO_NODE);"
TEMPLATE = """
#include <schedtui.bpf.h>
char _license[] SEC("license") = "GPL";
UEI_DEFINE(uei);
%(state)s
void BPF_STRUCT_OPS(policy_enqueue, struct task_struct *p, u64 enq_flags) { %(enqueue)s }
void BPF_STRUCT_OPS(policy_dispatch, s32 cpu, struct task_struct *prev) { %(dispatch)s }
void BPF_STRUCT_OPS(policy_stopping, struct task_struct *p, bool runnable) { %(stopping)s }
void BPF_STRUCT_OPS(policy_tick, struct task_struct *p) { %(tick)s }
s32 BPF_STRUCT_OPS_SLEEPABLE(policy_init_task, struct task_struct *p, struct scx_init_task_args *args) { %(init_task)s }
s32 BPF_STRUCT_OPS_SLEEPABLE(policy_init) { %(init)s }
void BPF_STRUCT_OPS(policy_exit, struct scx_exit_info *info) { UEI_RECORD(uei, info); }
SCX_OPS_DEFINE(policy_ops, .enqueue = (void *)policy_enqueue, .dispatch = (void *)policy_dispatch,
	.stopping = (void *)policy_stopping, .tick = (void *)policy_tick, .init_task = (void *)policy_init_task,
	.init = (void *)policy_init, .exit = (void *)policy_exit, .timeout_ms = 2000, .name = "policy");
"""

TASKS = "struct known { u64 vtime; u64 began; u32 level; };\nTASK_STATE(tasks, struct known);"
MAKES_STATE = "return new_task_state(&tasks, p) ? 0 : -ENOMEM;"
STATE = "struct known *state = task_state(&tasks, p); "
ACCOUNTS = (
    "struct { __uint(type, BPF_MAP_TYPE_HASH); __uint(max_entries, 8192); __type(key, u32); __type(value, u64); } "
    'accounts SEC(".maps");'
)
FORGETS = "u32 pid = p->pid; bpf_map_delete_elem(&accounts, &pid);"
WAITING = (
    'struct { __uint(type, BPF_MAP_TYPE_QUEUE); __uint(max_entries, 64); __type(value, s32); } waiting SEC(".maps");'
)
TAKES = "s32 pid; if (bpf_map_pop_elem(&waiting, &pid)) return; struct task_struct *p = bpf_task_from_pid(pid); "
TWO = "s32 error = scx_bpf_create_dsq(1, NUMA_NO_NODE); return error ?: scx_bpf_create_dsq(2, NUMA_NO_NODE);"
FOR_EACH_CPU = (
    "int i; bpf_for(i, 0, scx_bpf_nr_cpu_ids()) { s32 error = scx_bpf_create_dsq(i, NUMA_NO_NODE); "
    "if (error) return error; } return 0;"
)
HIGH_OR_LOW = "scx_bpf_dsq_insert(p, p->scx.weight > 100 ? 1 : 2, SCX_SLICE_DFL, enq_flags);"
BY_VTIME = "if (!state) { scx_bpf_dsq_insert(p, SCX_DSQ_LOCAL, SCX_SLICE_DFL, enq_flags); return; } "
SORTED = f"{STATE}{BY_VTIME}scx_bpf_dsq_insert_vtime(p, 1, SCX_SLICE_DFL, state->vtime, enq_flags);"
SORTED_POLICY = {"state": TASKS, "init_task": MAKES_STATE, "enqueue": SORTED}

BROKEN: dict[str, tuple[str, dict[str, str]]] = {
    "a look-up that can fail": (
        "lost-task",
        {
            "state": "struct { __uint(type, BPF_MAP_TYPE_HASH); __uint(max_entries, 8); __type(key, s32); "
            '__type(value, u64); } known SEC(".maps");',
            "enqueue": f"s32 pid = p->pid; if (!bpf_map_lookup_elem(&known, &pid)) return; {INSERT}",
        },
    ),
    "a counter that happens to be 0": (
        "lost-task",
        {"state": "u64 budget;", "enqueue": f"if (!budget) return; budget--; {INSERT}"},
    ),
    "a task taken from a list and not run": (
        "lost-task",
        {
            "state": WAITING,
            "enqueue": f"s32 pid = p->pid; if (bpf_map_push_elem(&waiting, &pid, 0)) {INSERT}",
            "dispatch": f"{DRAIN} {TAKES} if (!p) return; if (bpf_cpumask_test_cpu(cpu, p->cpus_ptr)) "
            "scx_bpf_dsq_insert(p, SCX_DSQ_LOCAL, SCX_SLICE_DFL, 0); bpf_task_release(p);",
        },
    ),
    "a task inserted twice": ("inserted-twice", {"enqueue": f"{INSERT} if (p->scx.weight < 100) {INSERT}"}),
    "a queue that is not created": (
        "dsq-not-created",
        {"enqueue": HIGH_OR_LOW, "dispatch": f"if (prev) {{ {DRAIN} }} scx_bpf_dsq_move_to_local(2); {DRAIN}"},
    ),
    "a look at a queue that is not there": (
        "dsq-not-created",
        {"enqueue": f"if (!scx_bpf_dsq_nr_queued(7)) kick_idle_cpu(p); {INSERT}"},
    ),
    "state that nothing makes": (
        "state-never-made",
        {"state": TASKS, "enqueue": f"{STATE} if (state) state->level++; {INSERT}"},
    ),
    "a queue that is filled only": ("dsq-never-drained", {"enqueue": HIGH_OR_LOW, "init": TWO}),
    "a slice of minutes by default": (
        "endless-slice",
        {
            "state": "const volatile u64 slice_ms = 120000;",
            "enqueue": "scx_bpf_dsq_insert(p, 1, slice_ms * NSEC_PER_MSEC, enq_flags);",
        },
    ),
    "an endless slice that only some tasks interrupt": (
        "endless-slice",
        {
            "enqueue": "scx_bpf_dsq_insert(p, 1, SCX_SLICE_INF, enq_flags); if (p->scx.weight > 100) "
            "scx_bpf_kick_cpu(scx_bpf_task_cpu(p), SCX_KICK_PREEMPT);",
        },
    ),
    "a task moved into a queue that is not there": (
        "dsq-not-created",
        {
            "dispatch": "struct task_struct *p; bpf_for_each(scx_dsq, p, 1, 0) { "
            f"scx_bpf_dsq_move(BPF_FOR_EACH_ITER, p, SCX_DSQ_LOCAL + 77, 0); break; }} {DRAIN}",
        },
    ),
    "a CPU that no computer has": (
        "dsq-not-created",
        {
            "enqueue": "if (p->nr_cpus_allowed == 1) scx_bpf_dsq_insert(p, SCX_DSQ_LOCAL_ON | 99999, SCX_SLICE_DFL, "
            f"enq_flags); else {INSERT}",
        },
    ),
    "a table of tasks that only grows": (
        "table-fills-up",
        {
            "state": ACCOUNTS,
            "init_task": "u32 pid = p->pid; u64 none = 0; return bpf_map_update_elem(&accounts, &pid, &none, 0);",
        },
    ),
    "accounts by the last digits of a process id": (
        "tasks-mixed-up",
        {
            "state": "u64 used[64];",
            "enqueue": "scx_bpf_dsq_insert_vtime(p, 1, SCX_SLICE_DFL, used[p->pid & 63], enq_flags);",
            "stopping": "used[p->pid & 63] += SCX_SLICE_DFL - p->scx.slice;",
        },
    ),
    "one queue strictly before the other": (
        "starving-priority",
        {"enqueue": HIGH_OR_LOW, "init": TWO, "dispatch": f"if (!{DRAIN[:-1]}) scx_bpf_dsq_move_to_local(2);"},
    ),
    "levels from the first on": (
        "starving-priority",
        {
            "enqueue": "u32 level = p->static_prio & 15; scx_bpf_dsq_insert(p, level, SCX_SLICE_DFL, enq_flags);",
            "init": FOR_EACH_CPU.replace("scx_bpf_nr_cpu_ids()", "16"),
            "dispatch": "int i; bpf_for(i, 0, 16) { if (scx_bpf_dsq_move_to_local(i)) return; }",
        },
    ),
    "a queue sorted by priority": (
        "starving-priority",
        {"enqueue": "scx_bpf_dsq_insert_vtime(p, 1, SCX_SLICE_DFL, p->static_prio, enq_flags);"},
    ),
    "vtime that only its limit moves": (
        "vtime-never-charged",
        {**SORTED_POLICY, "stopping": f"{STATE} if (state && state->vtime < 5) state->vtime = 5;"},
    ),
    "a queue of a CPU that came by chance": (
        "stranded-on-cpu",
        {
            "enqueue": "scx_bpf_dsq_insert(p, bpf_get_prandom_u32() % scx_bpf_nr_cpu_ids(), SCX_SLICE_DFL, enq_flags);",
            "dispatch": "scx_bpf_dsq_move_to_local(cpu);",
            "init": FOR_EACH_CPU,
        },
    ),
    "a loop of a million rounds": (
        "unbounded-work",
        {"state": "u64 nr;", "enqueue": f"int i; bpf_for(i, 0, 1 << 20) nr += i; {INSERT}"},
    ),
}

DOUBTFUL: dict[str, tuple[str, dict[str, str]]] = {
    "vtime that only a common clock moves": (
        "vtime-never-charged",
        {
            **SORTED_POLICY,
            "state": f"{TASKS} static struct vclock common;",
            "stopping": f"{STATE} if (state) state->vtime = max(state->vtime, vclock_now(&common));",
        },
    ),
    "tasks that wake up overtake": (
        "starving-priority",
        {
            "enqueue": "if (enq_flags & SCX_ENQ_WAKEUP) scx_bpf_dsq_insert(p, SCX_DSQ_LOCAL, 0, enq_flags); "
            f"else {INSERT}"
        },
    ),
    "a look at all that wait": (
        "unbounded-work",
        {
            "state": "u64 nr;",
            "enqueue": f"struct task_struct *other; bpf_for_each(scx_dsq, other, 1, 0) nr += other->pid; {INSERT}",
        },
    ),
}

SOUND: dict[str, dict[str, str]] = {
    "state that each task has": {
        "state": TASKS,
        "init_task": MAKES_STATE,
        "enqueue": f"{STATE} if (!state) return; state->level++; {INSERT}",
    },
    "a fault that ends the policy": {
        "enqueue": f'if (!p->scx.weight) {{ scx_bpf_error("no weight"); return; }} {INSERT}',
    },
    "a list with a way out when it is full": {
        "state": WAITING,
        "enqueue": f"s32 pid = p->pid; if (bpf_map_push_elem(&waiting, &pid, 0)) {INSERT}",
        "dispatch": f"{DRAIN} {TAKES} if (!p) return; scx_bpf_dsq_insert(p, 1, SCX_SLICE_DFL, 0); bpf_task_release(p);",
    },
    "an endless slice that is interrupted": {
        "enqueue": "scx_bpf_dsq_insert(p, 1, SCX_SLICE_INF, enq_flags); "
        "scx_bpf_kick_cpu(scx_bpf_task_cpu(p), SCX_KICK_PREEMPT);",
    },
    "an endless slice that a tick ends": {
        "enqueue": "scx_bpf_dsq_insert(p, 1, SCX_SLICE_INF, enq_flags);",
        "tick": "if (scx_bpf_dsq_nr_queued(1)) scx_bpf_task_set_slice(p, 0);",
    },
    "a table of tasks from which they are struck out": {
        "state": ACCOUNTS,
        "init_task": "u32 pid = p->pid; u64 none = 0; return bpf_map_update_elem(&accounts, &pid, &none, 0);",
        "stopping": FORGETS,
    },
    "a table of tasks that forgets the oldest": {
        "state": ACCOUNTS.replace("TYPE_HASH", "TYPE_LRU_HASH"),
        "init_task": "u32 pid = p->pid; u64 none = 0; return bpf_map_update_elem(&accounts, &pid, &none, 0);",
    },
    "a count by the last digits that decides nothing": {
        "state": "u64 seen[64];",
        "enqueue": f"seen[p->pid & 63]++; {INSERT}",
    },
    "a clock of each of several queues, chosen by process id": {
        "state": "u64 clocks[4];",
        "enqueue": "u32 nr = p->pid & 3; scx_bpf_dsq_insert_vtime(p, nr, SCX_SLICE_DFL, clocks[nr], enq_flags); "
        "clocks[nr] += SCX_SLICE_DFL - p->scx.slice;",
        "init": FOR_EACH_CPU.replace("scx_bpf_nr_cpu_ids()", "4"),
        "dispatch": "static u32 turn; int i; bpf_for(i, 0, 4) { if (scx_bpf_dsq_move_to_local(++turn & 3)) return; }",
    },
    "an endless slice that whoever is queued interrupts, threads of one CPU aside": {
        "enqueue": "scx_bpf_dsq_insert(p, 1, SCX_SLICE_INF, enq_flags); if (!is_percpu_kthread(p)) "
        "scx_bpf_kick_cpu(scx_bpf_task_cpu(p), SCX_KICK_PREEMPT);",
    },
    "a slice that keeps what is left": {"enqueue": "scx_bpf_dsq_insert(p, 1, 0, enq_flags);"},
    "two queues that take turns": {
        "state": "u64 nr;",
        "enqueue": HIGH_OR_LOW,
        "init": TWO,
        "dispatch": "u64 first = ++nr & 1 ? 1 : 2; if (!scx_bpf_dsq_move_to_local(first)) "
        "scx_bpf_dsq_move_to_local(3 - first);",
    },
    "a first queue for threads of the kernel only": {
        "enqueue": f"if (p->flags & PF_KTHREAD) scx_bpf_dsq_insert(p, 2, SCX_SLICE_DFL, enq_flags); else {INSERT}",
        "init": TWO,
        "dispatch": f"if (!scx_bpf_dsq_move_to_local(2)) {DRAIN}",
    },
    "an idle CPU at once, the queue otherwise": {
        "enqueue": "s32 cpu = scx_bpf_pick_idle_cpu(p->cpus_ptr, 0); if (cpu >= 0) "
        f"scx_bpf_dsq_insert(p, SCX_DSQ_LOCAL_ON | cpu, SCX_SLICE_DFL, enq_flags); else {INSERT}",
    },
    "vtime that is charged": {
        **SORTED_POLICY,
        "stopping": f"{STATE} if (state) state->vtime += weighted(p, SCX_SLICE_DFL - p->scx.slice);",
    },
    "vtime that is charged by the clock": {
        **SORTED_POLICY,
        "tick": f"{STATE} if (state) state->began = scx_bpf_now();",
        "stopping": f"{STATE} if (state) state->vtime += scx_bpf_now() - state->began;",
    },
    "the queue of the CPU where a task was": {
        "enqueue": "scx_bpf_dsq_insert(p, scx_bpf_task_cpu(p), SCX_SLICE_DFL, enq_flags);",
        "dispatch": "scx_bpf_dsq_move_to_local(cpu);",
        "init": FOR_EACH_CPU,
    },
    "any CPU's queue, and all look everywhere": {
        "enqueue": "scx_bpf_dsq_insert(p, p->pid % scx_bpf_nr_cpu_ids(), SCX_SLICE_DFL, enq_flags);",
        "dispatch": "int i; if (scx_bpf_dsq_move_to_local(cpu)) return; bpf_for(i, 0, scx_bpf_nr_cpu_ids()) { "
        "if (scx_bpf_dsq_move_to_local(i)) return; }",
        "init": FOR_EACH_CPU,
    },
    "the first of a queue": {
        "dispatch": "u64 first; if (wants_to_go_on(prev) && !first_vtime(1, &first)) "
        f"{{ scx_bpf_task_set_slice(prev, SCX_SLICE_DFL); return; }} {DRAIN}",
    },
    "a loop over the CPUs": {"state": "u64 nr;", "enqueue": f"int i; bpf_for(i, 0, 1024) nr += i; {INSERT}"},
}


def examined(folder: Path, parts: dict[str, str]) -> Stage:
    sound = {"state": "", "enqueue": INSERT, "dispatch": DRAIN, "stopping": "", "tick": "", "init_task": "return 0;"}
    source = folder / "policy.bpf.c"
    source.write_text(TEMPLATE % {**sound, "init": CREATE, **parts})
    return check_bytecode(read_object(compile_bpf(source)))


@pytest.mark.parametrize("what", BROKEN)
def test_what_breaks_a_rule_fails_by_that_rule(what: str, tmp_path: Path) -> None:
    rule, parts = BROKEN[what]
    stage = examined(tmp_path, parts)
    assert stage.verdict == "fail"
    assert {each.rule for each in stage.findings if each.severity == "error"} == {rule}
    assert rule in RULES


@pytest.mark.parametrize("what", DOUBTFUL)
def test_what_may_be_meant_passes_with_a_warning(what: str, tmp_path: Path) -> None:
    rule, parts = DOUBTFUL[what]
    stage = examined(tmp_path, parts)
    assert [(each.rule, each.severity) for each in stage.findings] == [(rule, "warning")]
    assert stage.verdict == "warn"


@pytest.mark.parametrize("what", SOUND)
def test_what_comes_close_and_is_sound_passes_without_a_word(what: str, tmp_path: Path) -> None:
    assert [(each.rule, each.place, each.details) for each in examined(tmp_path, SOUND[what]).findings] == []


@pytest.mark.slow
@pytest.mark.parametrize("policy", POLICIES, ids=lambda policy: policy.name)
def test_a_policy_that_ships_passes_without_a_word(policy: Policy) -> None:
    stage = check_bytecode(read_object(compile_bpf(Path(policy.source))))
    assert stage.findings == ()
    assert stage.verdict == "pass"


def test_a_finding_says_where_and_by_which_lines(tmp_path: Path) -> None:
    stage = examined(tmp_path, {"enqueue": f"\nif (p->scx.weight < 100)\n\treturn;\n{INSERT}\n"})
    (finding,) = stage.findings
    assert finding.place.startswith("policy.bpf.c:")
    assert finding.place.endswith("(enqueue)")
    assert "if (p->scx.weight < 100)" in finding.details


def test_what_cannot_be_followed_is_a_note_and_nothing_is_said_to_be_missing_there(tmp_path: Path) -> None:
    tests = " ".join(f"if (scx_bpf_dsq_move_to_local({queue})) nr++;" for queue in range(2, 14))
    stage = examined(tmp_path, {"state": "u64 nr;", "dispatch": f"{tests} {DRAIN}"})
    assert [(each.rule, each.severity, each.place) for each in stage.findings] == [
        ("too-hard-to-follow", "note", "dispatch")
    ]
    assert stage.verdict == "pass"
