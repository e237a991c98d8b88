/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Searches a growing list for each decision: the work for a choice grows with all tasks that it ever saw.
 */
#include <schedtui.bpf.h>

char _license[] SEC("license") = "GPL";

#define SHARED_DSQ 1
#define MOST_NOTES (1 << 19)

UEI_DEFINE(uei);

static u32 notes[MOST_NOTES];

u64 nr_notes;
u64 nr_found;

void BPF_STRUCT_OPS(slower_with_each_task_enqueue, struct task_struct *p, u64 enq_flags)
{
	u64 known = nr_notes;
	int i;

	bpf_for(i, 0, MOST_NOTES) {
		if (i >= known)
			break;
		nr_found += notes[i & (MOST_NOTES - 1)] == p->pid;
	}
	notes[known & (MOST_NOTES - 1)] = p->pid;
	nr_notes = known + 512;
	scx_bpf_dsq_insert(p, SHARED_DSQ, 5 * NSEC_PER_MSEC, enq_flags);
	kick_idle_cpu(p);
}

void BPF_STRUCT_OPS(slower_with_each_task_dispatch, s32 cpu, struct task_struct *prev)
{
	scx_bpf_dsq_move_to_local(SHARED_DSQ);
}

s32 BPF_STRUCT_OPS_SLEEPABLE(slower_with_each_task_init)
{
	return scx_bpf_create_dsq(SHARED_DSQ, NUMA_NO_NODE);
}

void BPF_STRUCT_OPS(slower_with_each_task_exit, struct scx_exit_info *info)
{
	UEI_RECORD(uei, info);
}

SCX_OPS_DEFINE(slower_with_each_task_ops,
	.enqueue = (void *)slower_with_each_task_enqueue,
	.dispatch = (void *)slower_with_each_task_dispatch,
	.init = (void *)slower_with_each_task_init,
	.exit = (void *)slower_with_each_task_exit,
	.timeout_ms = 2000,
	.name = "slower_with_each_task");
