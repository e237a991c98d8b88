/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Sends brief tasks to a queue that init() forgot to create. The kernel ends it at the first of them.
 */
#include <schedtui.bpf.h>

char _license[] SEC("license") = "GPL";

#define SHARED_DSQ 1
#define BRIEF_DSQ 2

UEI_DEFINE(uei);

void BPF_STRUCT_OPS(queue_never_created_enqueue, struct task_struct *p, u64 enq_flags)
{
	u64 dsq_id = p->se.sum_exec_runtime < 20 * NSEC_PER_MSEC ? BRIEF_DSQ : SHARED_DSQ;

	scx_bpf_dsq_insert(p, dsq_id, 5 * NSEC_PER_MSEC, enq_flags);
	kick_idle_cpu(p);
}

void BPF_STRUCT_OPS(queue_never_created_dispatch, s32 cpu, struct task_struct *prev)
{
	if (!scx_bpf_dsq_move_to_local(SHARED_DSQ))
		scx_bpf_dsq_move_to_local(BRIEF_DSQ);
}

s32 BPF_STRUCT_OPS_SLEEPABLE(queue_never_created_init)
{
	return scx_bpf_create_dsq(SHARED_DSQ, NUMA_NO_NODE);
}

void BPF_STRUCT_OPS(queue_never_created_exit, struct scx_exit_info *info)
{
	UEI_RECORD(uei, info);
}

SCX_OPS_DEFINE(queue_never_created_ops,
	.enqueue = (void *)queue_never_created_enqueue,
	.dispatch = (void *)queue_never_created_dispatch,
	.init = (void *)queue_never_created_init,
	.exit = (void *)queue_never_created_exit,
	.timeout_ms = 2000,
	.name = "queue_never_created");
