/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Keeps its notes in a table by process id and never strikes a process out that has ended. When the table is full,
 * a new process cannot be noted, and is left out.
 */
#include <schedtui.bpf.h>

char _license[] SEC("license") = "GPL";

#define SHARED_DSQ 1
#define MOST_TASKS 32

UEI_DEFINE(uei);

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, MOST_TASKS);
	__type(key, s32);
	__type(value, u64);
} seen SEC(".maps");

u64 nr_refused;

void BPF_STRUCT_OPS(never_forgets_the_dead_enqueue, struct task_struct *p, u64 enq_flags)
{
	s32 pid = p->pid;
	u64 ran = p->se.sum_exec_runtime;

	if (bpf_map_update_elem(&seen, &pid, &ran, BPF_ANY)) {
		count(nr_refused);
		return;
	}
	scx_bpf_dsq_insert(p, SHARED_DSQ, 5 * NSEC_PER_MSEC, enq_flags);
	kick_idle_cpu(p);
}

void BPF_STRUCT_OPS(never_forgets_the_dead_dispatch, s32 cpu, struct task_struct *prev)
{
	scx_bpf_dsq_move_to_local(SHARED_DSQ);
}

s32 BPF_STRUCT_OPS_SLEEPABLE(never_forgets_the_dead_init)
{
	return scx_bpf_create_dsq(SHARED_DSQ, NUMA_NO_NODE);
}

void BPF_STRUCT_OPS(never_forgets_the_dead_exit, struct scx_exit_info *info)
{
	UEI_RECORD(uei, info);
}

SCX_OPS_DEFINE(never_forgets_the_dead_ops,
	.enqueue = (void *)never_forgets_the_dead_enqueue,
	.dispatch = (void *)never_forgets_the_dead_dispatch,
	.init = (void *)never_forgets_the_dead_init,
	.exit = (void *)never_forgets_the_dead_exit,
	.timeout_ms = 2000,
	.name = "never_forgets_the_dead");
