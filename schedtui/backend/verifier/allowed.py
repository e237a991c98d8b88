"""What a policy may call and keep: the kernel's functions, BPF's helpers and kinds of maps that scheduling needs.

Whatever is not named here is not allowed. Functions are those of Linux 6.12 to 7.3 (kernel/sched/ext*, and
kernel/bpf/helpers.c, cpumask.c, arena.c and others); numbers are those of enum bpf_func_id and enum bpf_map_type
(include/uapi/linux/bpf.h).
"""

from __future__ import annotations

_SCX = """
    consume cpu_curr cpu_node cpu_rq cpuperf_cap cpuperf_cur cpuperf_set create_dsq destroy_dsq dispatch dispatch_cancel
    dispatch_from_dsq dispatch_from_dsq_set_slice dispatch_from_dsq_set_vtime dispatch_nr_slots dispatch_vtime
    dispatch_vtime_from_dsq dsq_insert dsq_insert_vtime dsq_move dsq_move_set_slice dsq_move_set_vtime dsq_move_to_local
    dsq_move_vtime dsq_nr_queued dsq_peek dsq_reenq dump_bstr error_bstr events exit_bstr get_idle_cpumask
    get_idle_cpumask_node get_idle_smtmask get_idle_smtmask_node get_online_cpumask get_possible_cpumask kick_cpu
    locked_rq now nr_cpu_ids nr_node_ids pick_any_cpu pick_any_cpu_node pick_idle_cpu pick_idle_cpu_node put_cpumask
    put_idle_cpumask reenqueue_local select_cpu_and select_cpu_dfl task_cgroup task_cpu task_running task_set_dsq_vtime
    task_set_slice test_and_clear_cpu_idle tid_to_task
    cid_curr cid_to_cpu cid_topo cidperf_cap cidperf_cur cidperf_set cpu_to_cid kick_cid nr_cids nr_online_cids
    online_cmask task_cid this_cid
"""
"""Without scx_bpf_sub_*, with which a scheduler rules over those of other control groups."""

_BPF = """
    arena_alloc_pages arena_free_pages arena_reserve_pages cast_to_kern_ctx
    cgroup_acquire cgroup_ancestor cgroup_from_id cgroup_release task_get_cgroup1 task_under_cgroup
    cpumask_acquire cpumask_and cpumask_any_and_distribute cpumask_any_distribute cpumask_clear cpumask_clear_cpu
    cpumask_copy cpumask_create cpumask_empty cpumask_equal cpumask_first cpumask_first_and cpumask_first_zero
    cpumask_full cpumask_intersects cpumask_or cpumask_populate cpumask_release cpumask_release_dtor cpumask_set_cpu
    cpumask_setall
    cpumask_subset cpumask_test_and_clear_cpu cpumask_test_and_set_cpu cpumask_test_cpu cpumask_weight cpumask_xor
    iter_bits_destroy iter_bits_new iter_bits_next iter_css_destroy iter_css_new iter_css_next
    iter_css_task_destroy iter_css_task_new iter_css_task_next iter_num_destroy iter_num_new iter_num_next
    iter_scx_dsq_destroy iter_scx_dsq_new iter_scx_dsq_next iter_task_destroy iter_task_new iter_task_next
    list_back list_front list_pop_back list_pop_front list_push_back list_push_back_impl list_push_front
    list_push_front_impl local_irq_restore local_irq_save map_sum_elem_count obj_drop obj_drop_impl obj_new obj_new_impl
    percpu_obj_drop percpu_obj_drop_impl percpu_obj_new percpu_obj_new_impl preempt_disable preempt_enable
    rbtree_add rbtree_add_impl rbtree_first rbtree_left rbtree_remove rbtree_right rbtree_root rcu_read_lock
    rcu_read_unlock refcount_acquire refcount_acquire_impl res_spin_lock res_spin_lock_irqsave res_spin_unlock
    res_spin_unlock_irqrestore task_acquire task_from_pid task_from_vpid task_release throw timer_cancel_async
    stream_vprintk stream_vprintk_impl wq_init wq_set_callback wq_set_callback_impl wq_start
    dynptr_adjust dynptr_clone dynptr_copy dynptr_is_null dynptr_is_rdonly dynptr_size dynptr_slice dynptr_slice_rdwr
"""

KFUNCS = frozenset(
    [f"scx_bpf_{each}" for each in _SCX.split()]
    + [f"bpf_{each}" for each in _BPF.split()]
    + ["__scx_bpf_dsq_insert_vtime", "__scx_bpf_select_cpu_and", "__bpf_trap"]
)

KFUNCS_THAT_READ = frozenset(
    {"bpf_rdonly_cast", "bpf_copy_from_user_str", "bpf_copy_from_user_task_str", "bpf_get_mem_cgroup"}
    | {f"bpf_probe_read_{whose}{how}_dynptr" for whose in ("user", "kernel") for how in ("", "_str")}
    | {f"bpf_copy_from_user{whose}{how}_dynptr" for whose in ("", "_task") for how in ("", "_str")}
    | {
        f"bpf_{each}"
        for each in ("strcmp", "strcasecmp", "strchr", "strchrnul", "strnchr", "strrchr", "strlen", "strnlen")
    }
    | {f"bpf_{each}" for each in ("strspn", "strcspn", "strstr", "strnstr", "strcasestr", "strncasestr", "strncasecmp")}
)
"""They read whatever address they are given."""

VARIABLES = frozenset({"sd_llc_id", "sd_llc_size"})
"""Of the kernel: which CPUs share a last-level cache."""

HELPERS = {
    1: "bpf_map_lookup_elem",
    2: "bpf_map_update_elem",
    3: "bpf_map_delete_elem",
    5: "bpf_ktime_get_ns",
    6: "bpf_trace_printk",
    7: "bpf_get_prandom_u32",
    8: "bpf_get_smp_processor_id",
    14: "bpf_get_current_pid_tgid",
    15: "bpf_get_current_uid_gid",
    16: "bpf_get_current_comm",
    35: "bpf_get_current_task",
    42: "bpf_get_numa_node_id",
    80: "bpf_get_current_cgroup_id",
    87: "bpf_map_push_elem",
    88: "bpf_map_pop_elem",
    89: "bpf_map_peek_elem",
    93: "bpf_spin_lock",
    94: "bpf_spin_unlock",
    118: "bpf_jiffies64",
    123: "bpf_get_current_ancestor_cgroup_id",
    125: "bpf_ktime_get_boot_ns",
    153: "bpf_per_cpu_ptr",
    154: "bpf_this_cpu_ptr",
    156: "bpf_task_storage_get",
    157: "bpf_task_storage_delete",
    158: "bpf_get_current_task_btf",
    160: "bpf_ktime_get_coarse_ns",
    164: "bpf_for_each_map_elem",
    169: "bpf_timer_init",
    170: "bpf_timer_set_callback",
    171: "bpf_timer_start",
    172: "bpf_timer_cancel",
    177: "bpf_trace_vprintk",
    181: "bpf_loop",
    182: "bpf_strncmp",
    194: "bpf_kptr_xchg",
    195: "bpf_map_lookup_percpu_elem",
    197: "bpf_dynptr_from_mem",
    201: "bpf_dynptr_read",
    202: "bpf_dynptr_write",
    203: "bpf_dynptr_data",
    208: "bpf_ktime_get_tai_ns",
    210: "bpf_cgrp_storage_get",
    211: "bpf_cgrp_storage_delete",
}

HELPERS_THAT_READ = {
    4: "bpf_probe_read",
    45: "bpf_probe_read_str",
    112: "bpf_probe_read_user",
    113: "bpf_probe_read_kernel",
    114: "bpf_probe_read_user_str",
    115: "bpf_probe_read_kernel_str",
    148: "bpf_copy_from_user",
    149: "bpf_snprintf_btf",
    165: "bpf_snprintf",
    191: "bpf_copy_from_user_task",
}
"""They read whatever address they are given; bpf_snprintf does for %s."""

OTHER_HELPERS = {
    12: "bpf_tail_call",
    25: "bpf_perf_event_output",
    36: "bpf_probe_write_user",
    58: "bpf_override_return",
    109: "bpf_send_signal",
    117: "bpf_send_signal_thread",
    130: "bpf_ringbuf_output",
    131: "bpf_ringbuf_reserve",
    132: "bpf_ringbuf_submit",
    133: "bpf_ringbuf_discard",
    134: "bpf_ringbuf_query",
    166: "bpf_sys_bpf",
    209: "bpf_user_ringbuf_drain",
}
"""Names for those that are met most among the rest."""

HASH, ARRAY, PERCPU_HASH, PERCPU_ARRAY, LRU_HASH, LRU_PERCPU_HASH = 1, 2, 5, 6, 9, 10
LPM_TRIE, QUEUE, STACK, TASK_STORAGE, BLOOM_FILTER, CGRP_STORAGE = 11, 22, 23, 29, 30, 32
MAPS = {
    HASH,
    ARRAY,
    PERCPU_HASH,
    PERCPU_ARRAY,
    LRU_HASH,
    LRU_PERCPU_HASH,
    LPM_TRIE,
    QUEUE,
    STACK,
    TASK_STORAGE,
    BLOOM_FILTER,
    CGRP_STORAGE,
}
OTHER_MAPS = {
    3: "a program array",
    4: "a perf event array",
    7: "a stack trace map",
    8: "a cgroup array",
    12: "an array of maps",
    13: "a hash of maps",
    27: "a ring buffer, which only a program of its own would read",
    31: "a ring buffer, which only a program of its own would fill",
    33: "an arena, memory that it shares with a program of its own",
}
