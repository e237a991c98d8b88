/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Two queues, and the low one has a turn only when the high one is empty. Two tasks that compute keep it from ever
 * being so.
 */
#include <schedtui.bpf.h>

char _license[] SEC("license") = "GPL";

#define SHARED_DSQ 1
#define LOW_DSQ 2

UEI_DEFINE(uei);

void BPF_STRUCT_OPS(high_before_low_enqueue, struct task_struct *p, u64 enq_flags)
{
	u64 dsq_id = p->scx.weight >= 100 ? SHARED_DSQ : LOW_DSQ;

	scx_bpf_dsq_insert(p, dsq_id, 5 * NSEC_PER_MSEC, enq_flags);
	kick_idle_cpu(p);
}

void BPF_STRUCT_OPS(high_before_low_dispatch, s32 cpu, struct task_struct *prev)
{
	if (scx_bpf_dsq_move_to_local(SHARED_DSQ))
		return;
	scx_bpf_dsq_move_to_local(LOW_DSQ);
}

s32 BPF_STRUCT_OPS_SLEEPABLE(high_before_low_init)
{
	s32 error = scx_bpf_create_dsq(SHARED_DSQ, NUMA_NO_NODE);

	return error ?: scx_bpf_create_dsq(LOW_DSQ, NUMA_NO_NODE);
}

void BPF_STRUCT_OPS(high_before_low_exit, struct scx_exit_info *info)
{
	UEI_RECORD(uei, info);
}

SCX_OPS_DEFINE(high_before_low_ops,
	.enqueue = (void *)high_before_low_enqueue,
	.dispatch = (void *)high_before_low_dispatch,
	.init = (void *)high_before_low_init,
	.exit = (void *)high_before_low_exit,
	.timeout_ms = 2000,
	.name = "high_before_low");
