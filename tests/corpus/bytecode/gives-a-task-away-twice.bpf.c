/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Puts a task of low weight into the queue twice, meaning to give it two chances.
 */
#include <schedtui.bpf.h>

char _license[] SEC("license") = "GPL";

#define SHARED_DSQ 1

UEI_DEFINE(uei);

void BPF_STRUCT_OPS(gives_a_task_away_twice_enqueue, struct task_struct *p, u64 enq_flags)
{
	scx_bpf_dsq_insert(p, SHARED_DSQ, 5 * NSEC_PER_MSEC, enq_flags);
	if (p->scx.weight < 100)
		scx_bpf_dsq_insert(p, SHARED_DSQ, 5 * NSEC_PER_MSEC, enq_flags);
	kick_idle_cpu(p);
}

void BPF_STRUCT_OPS(gives_a_task_away_twice_dispatch, s32 cpu, struct task_struct *prev)
{
	scx_bpf_dsq_move_to_local(SHARED_DSQ);
}

s32 BPF_STRUCT_OPS_SLEEPABLE(gives_a_task_away_twice_init)
{
	return scx_bpf_create_dsq(SHARED_DSQ, NUMA_NO_NODE);
}

void BPF_STRUCT_OPS(gives_a_task_away_twice_exit, struct scx_exit_info *info)
{
	UEI_RECORD(uei, info);
}

SCX_OPS_DEFINE(gives_a_task_away_twice_ops,
	.enqueue = (void *)gives_a_task_away_twice_enqueue,
	.dispatch = (void *)gives_a_task_away_twice_dispatch,
	.init = (void *)gives_a_task_away_twice_init,
	.exit = (void *)gives_a_task_away_twice_exit,
	.timeout_ms = 2000,
	.name = "gives_a_task_away_twice");
