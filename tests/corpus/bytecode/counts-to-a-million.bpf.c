/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Turns a loop a million times for each task that is queued, with interrupts off. The work of a whole tick goes
 * into deciding.
 */
#include <schedtui.bpf.h>

char _license[] SEC("license") = "GPL";

#define SHARED_DSQ 1

UEI_DEFINE(uei);

u64 sum;

void BPF_STRUCT_OPS(counts_to_a_million_enqueue, struct task_struct *p, u64 enq_flags)
{
	int i;

	bpf_for(i, 0, 1 << 20)
		sum += i ^ p->pid;
	scx_bpf_dsq_insert(p, SHARED_DSQ, 20 * NSEC_PER_MSEC, enq_flags);
	kick_idle_cpu(p);
}

void BPF_STRUCT_OPS(counts_to_a_million_dispatch, s32 cpu, struct task_struct *prev)
{
	scx_bpf_dsq_move_to_local(SHARED_DSQ);
}

s32 BPF_STRUCT_OPS_SLEEPABLE(counts_to_a_million_init)
{
	return scx_bpf_create_dsq(SHARED_DSQ, NUMA_NO_NODE);
}

void BPF_STRUCT_OPS(counts_to_a_million_exit, struct scx_exit_info *info)
{
	UEI_RECORD(uei, info);
}

SCX_OPS_DEFINE(counts_to_a_million_ops,
	.enqueue = (void *)counts_to_a_million_enqueue,
	.dispatch = (void *)counts_to_a_million_dispatch,
	.init = (void *)counts_to_a_million_init,
	.exit = (void *)counts_to_a_million_exit,
	.timeout_ms = 2000,
	.name = "counts_to_a_million");
