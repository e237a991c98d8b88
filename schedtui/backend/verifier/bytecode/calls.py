"""What the kernel's functions and helpers mean for a scheduler, under all the names that they had.

Sources: kernel/sched/ext.c, tools/sched_ext/include/scx/compat.bpf.h and include/uapi/linux/bpf.h of the kernel.
"""

from __future__ import annotations

LOCAL_QUEUE = 0x8000000000000002
GLOBAL_QUEUE = 0x8000000000000001
LOCAL_ON = 0xC000000000000000
BUILT_IN = 1 << 63
INFINITE_SLICE = (1 << 64) - 1

PF_EXITING, PF_KTHREAD = 0x4, 0x200000
ENQ_PREEMPT, ENQ_REENQ, ENQ_LAST = 1 << 32, 1 << 40, 1 << 41
KICK_PREEMPT = 2

FILLED_BY_LOADER = {
    "__SCX_DSQ_FLAG_BUILTIN": BUILT_IN,
    "__SCX_DSQ_FLAG_LOCAL_ON": 1 << 62,
    "__SCX_DSQ_INVALID": BUILT_IN,
    "__SCX_DSQ_GLOBAL": GLOBAL_QUEUE,
    "__SCX_DSQ_LOCAL": LOCAL_QUEUE,
    "__SCX_DSQ_LOCAL_ON": LOCAL_ON,
    "__SCX_DSQ_LOCAL_CPU_MASK": 0xFFFFFFFF,
    "__SCX_SLICE_DFL": 20_000_000,
    "__SCX_SLICE_INF": INFINITE_SLICE,
    "__SCX_KICK_IDLE": 1,
    "__SCX_KICK_PREEMPT": KICK_PREEMPT,
    "__SCX_KICK_WAIT": 4,
    "__SCX_ENQ_WAKEUP": 1,
    "__SCX_ENQ_HEAD": 1 << 4,
    "__SCX_ENQ_CPU_SELECTED": 1 << 10,
    "__SCX_ENQ_PREEMPT": ENQ_PREEMPT,
    "__SCX_ENQ_REENQ": ENQ_REENQ,
    "__SCX_ENQ_LAST": ENQ_LAST,
    "__SCX_TASK_QUEUED": 1,
    "__SCX_PICK_IDLE_CORE": 1,
    "__SCX_OPS_ENQ_LAST": 2,
}
"""Constants that newer headers of sched_ext keep in variables, for the loader to fill in."""

INSERTS = {
    "scx_bpf_dsq_insert": False,
    "scx_bpf_dispatch": False,
    "scx_bpf_dsq_insert_vtime": True,
    "scx_bpf_dispatch_vtime": True,
    "__scx_bpf_dsq_insert_vtime": True,
}
"""Functions that put a task into a queue; true: sorted by vtime."""

INSERT_WITH_STRUCT = "__scx_bpf_dsq_insert_vtime"

MOVES_TO_LOCAL = ("scx_bpf_dsq_move_to_local", "scx_bpf_consume")
MOVES_TASK = (
    "scx_bpf_dsq_move",
    "scx_bpf_dsq_move_vtime",
    "scx_bpf_dispatch_from_dsq",
    "scx_bpf_dispatch_vtime_from_dsq",
    "__COMPAT_scx_bpf_dsq_move",
)
CREATES = "scx_bpf_create_dsq"
KICKS = ("scx_bpf_kick_cpu",)
SETS_SLICE = ("scx_bpf_task_set_slice",)
SETS_SLICE_OF_MOVED = ("scx_bpf_dsq_move_set_slice", "scx_bpf_dispatch_from_dsq_set_slice")
SETS_VTIME = ("scx_bpf_task_set_dsq_vtime",)
ENDS = ("scx_bpf_error_bstr", "scx_bpf_exit_bstr")
"""Functions that end the policy."""

REENQUEUES = ("scx_bpf_reenqueue_local", "scx_bpf_dsq_reenq")
QUEUE_LENGTH = "scx_bpf_dsq_nr_queued"
PEEKS = "scx_bpf_dsq_peek"

IDLE_IF_NOT_NEGATIVE = (
    "scx_bpf_pick_idle_cpu",
    "scx_bpf_pick_idle_cpu_node",
    "scx_bpf_select_cpu_and",
    "__scx_bpf_select_cpu_and",
)
IDLE_IF_TRUE = ("scx_bpf_test_and_clear_cpu_idle", "is_idle")
PICKS_ALLOWED = (
    *IDLE_IF_NOT_NEGATIVE,
    "scx_bpf_select_cpu_dfl",
    "scx_bpf_pick_any_cpu",
    "scx_bpf_pick_any_cpu_node",
    "scx_bpf_task_cpu",
    "bpf_cpumask_any_distribute",
    "bpf_cpumask_any_and_distribute",
    "bpf_cpumask_first",
    "bpf_cpumask_first_and",
)
"""Functions that give a CPU on which a task may run (when they are asked about its own CPUs)."""

CLOCKS = ("scx_bpf_now",)
TESTS_CPU = "bpf_cpumask_test_cpu"
SELECTS_CPU = "scx_bpf_select_cpu_dfl"

PARKS = (
    "bpf_list_push_front_impl",
    "bpf_list_push_back_impl",
    "bpf_rbtree_add_impl",
    "bpf_list_push_front",
    "bpf_list_push_back",
    "bpf_rbtree_add",
)
"""Functions that put something into a list or tree of the policy's own."""

TAKES_POINTERS = ("bpf_cpumask_", "bpf_task_", "bpf_cgroup_")
"""How the names of functions begin whose arguments are addresses, but for numbers of CPUs."""

ENQ_HEAD = 1 << 4
ITERATOR_BYTES = 48

LOOKUP, UPDATE, DELETE, PROBE_READ = 1, 2, 3, 4
KTIME = (5, 125, 160, 208)
PUSH, POP, PEEK = 87, 88, 89
RINGBUF_OUTPUT, RINGBUF_SUBMIT = 130, 132
STORAGE_GET, CGROUP_STORAGE_GET, PERCPU_LOOKUP = 156, 210, 195
FOR_EACH_ELEMENT, TIMER_SET_CALLBACK, TIMER_START, LOOP = 164, 170, 171, 181
KPTR_EXCHANGE = 194
WRITES_TO = {4: 0, 45: 0, 112: 0, 113: 0, 114: 0, 115: 0, 16: 0, POP: 1, PEEK: 1, 121: 2}
"""Helpers that write to memory that they are given -> which argument."""

STORAGE_CREATE = 1

MAP_ARRAY, MAP_PERCPU_ARRAY, MAP_QUEUE, MAP_STACK, MAP_TASK_STORAGE, MAP_CGROUP_STORAGE = 2, 6, 22, 23, 29, 32
ARRAYS = (MAP_ARRAY, MAP_PERCPU_ARRAY)
TABLES = (1, 5)
"""Hash maps that refuse what comes when they are full."""

MOST_PROCESSES = 1 << 22
"""Numbers of processes are below this. Source: PID_MAX_LIMIT of include/linux/threads.h."""


def plain_name(name: str) -> str:
    """A kernel function's name without what tells its forms apart; libbpf ignores that, too."""
    return name.partition("___")[0]
