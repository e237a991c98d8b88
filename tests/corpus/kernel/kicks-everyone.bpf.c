/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Interrupts every CPU for each task that is queued; the tasks interrupted are queued, and interrupt every CPU.
 */
#include <schedtui.bpf.h>

char _license[] SEC("license") = "GPL";

#define SHARED_DSQ 1

UEI_DEFINE(uei);

u64 nr_kicks;

void BPF_STRUCT_OPS(kicks_everyone_enqueue, struct task_struct *p, u64 enq_flags)
{
	int i;

	scx_bpf_dsq_insert(p, SHARED_DSQ, 5 * NSEC_PER_MSEC, enq_flags);
	bpf_for(i, 0, scx_bpf_nr_cpu_ids()) {
		count(nr_kicks);
		scx_bpf_kick_cpu(i, SCX_KICK_PREEMPT);
	}
}

void BPF_STRUCT_OPS(kicks_everyone_dispatch, s32 cpu, struct task_struct *prev)
{
	scx_bpf_dsq_move_to_local(SHARED_DSQ);
}

s32 BPF_STRUCT_OPS_SLEEPABLE(kicks_everyone_init)
{
	return scx_bpf_create_dsq(SHARED_DSQ, NUMA_NO_NODE);
}

void BPF_STRUCT_OPS(kicks_everyone_exit, struct scx_exit_info *info)
{
	UEI_RECORD(uei, info);
}

SCX_OPS_DEFINE(kicks_everyone_ops,
	.enqueue = (void *)kicks_everyone_enqueue,
	.dispatch = (void *)kicks_everyone_dispatch,
	.init = (void *)kicks_everyone_init,
	.exit = (void *)kicks_everyone_exit,
	.timeout_ms = 5000,
	.name = "kicks_everyone");
