/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Tasks of normal weight and more go straight to the CPU's local queue each time, others to the shared one. The
 * local queue never runs empty, so the shared one is never looked at.
 */
#include <schedtui.bpf.h>

char _license[] SEC("license") = "GPL";

#define SHARED_DSQ 1

UEI_DEFINE(uei);

void BPF_STRUCT_OPS(local_overtakes_all_enqueue, struct task_struct *p, u64 enq_flags)
{
	if (p->scx.weight >= 100) {
		scx_bpf_dsq_insert(p, SCX_DSQ_LOCAL, 5 * NSEC_PER_MSEC, enq_flags);
		return;
	}
	scx_bpf_dsq_insert(p, SHARED_DSQ, 5 * NSEC_PER_MSEC, enq_flags);
	kick_idle_cpu(p);
}

void BPF_STRUCT_OPS(local_overtakes_all_dispatch, s32 cpu, struct task_struct *prev)
{
	scx_bpf_dsq_move_to_local(SHARED_DSQ);
}

s32 BPF_STRUCT_OPS_SLEEPABLE(local_overtakes_all_init)
{
	return scx_bpf_create_dsq(SHARED_DSQ, NUMA_NO_NODE);
}

void BPF_STRUCT_OPS(local_overtakes_all_exit, struct scx_exit_info *info)
{
	UEI_RECORD(uei, info);
}

SCX_OPS_DEFINE(local_overtakes_all_ops,
	.enqueue = (void *)local_overtakes_all_enqueue,
	.dispatch = (void *)local_overtakes_all_dispatch,
	.init = (void *)local_overtakes_all_init,
	.exit = (void *)local_overtakes_all_exit,
	.timeout_ms = 2000,
	.name = "local_overtakes_all");
