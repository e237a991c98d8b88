/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Has a second queue for background work, and nothing that ever takes a task out of it.
 */
#include <schedtui.bpf.h>

char _license[] SEC("license") = "GPL";

#define SHARED_DSQ 1
#define BACKGROUND_DSQ 2

UEI_DEFINE(uei);

void BPF_STRUCT_OPS(queue_never_drained_enqueue, struct task_struct *p, u64 enq_flags)
{
	u64 dsq_id = p->static_prio > 120 ? BACKGROUND_DSQ : SHARED_DSQ;

	scx_bpf_dsq_insert(p, dsq_id, 5 * NSEC_PER_MSEC, enq_flags);
	kick_idle_cpu(p);
}

s32 BPF_STRUCT_OPS_SLEEPABLE(queue_never_drained_init)
{
	s32 error = scx_bpf_create_dsq(SHARED_DSQ, NUMA_NO_NODE);

	return error ?: scx_bpf_create_dsq(BACKGROUND_DSQ, NUMA_NO_NODE);
}

void BPF_STRUCT_OPS(queue_never_drained_dispatch, s32 cpu, struct task_struct *prev)
{
	scx_bpf_dsq_move_to_local(SHARED_DSQ);
}

void BPF_STRUCT_OPS(queue_never_drained_exit, struct scx_exit_info *info)
{
	UEI_RECORD(uei, info);
}

SCX_OPS_DEFINE(queue_never_drained_ops,
	.enqueue = (void *)queue_never_drained_enqueue,
	.dispatch = (void *)queue_never_drained_dispatch,
	.init = (void *)queue_never_drained_init,
	.exit = (void *)queue_never_drained_exit,
	.timeout_ms = 2000,
	.name = "queue_never_drained");
