/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Sorts the queue by weight alone: a queue sorted by something that time does not change is a strict priority.
 */
#include <schedtui.bpf.h>

char _license[] SEC("license") = "GPL";

#define SHARED_DSQ 1

UEI_DEFINE(uei);

void BPF_STRUCT_OPS(sorted_by_weight_enqueue, struct task_struct *p, u64 enq_flags)
{
	scx_bpf_dsq_insert_vtime(p, SHARED_DSQ, 5 * NSEC_PER_MSEC, 100000 - p->scx.weight, enq_flags);
	kick_idle_cpu(p);
}

void BPF_STRUCT_OPS(sorted_by_weight_dispatch, s32 cpu, struct task_struct *prev)
{
	scx_bpf_dsq_move_to_local(SHARED_DSQ);
}

s32 BPF_STRUCT_OPS_SLEEPABLE(sorted_by_weight_init)
{
	return scx_bpf_create_dsq(SHARED_DSQ, NUMA_NO_NODE);
}

void BPF_STRUCT_OPS(sorted_by_weight_exit, struct scx_exit_info *info)
{
	UEI_RECORD(uei, info);
}

SCX_OPS_DEFINE(sorted_by_weight_ops,
	.enqueue = (void *)sorted_by_weight_enqueue,
	.dispatch = (void *)sorted_by_weight_dispatch,
	.init = (void *)sorted_by_weight_init,
	.exit = (void *)sorted_by_weight_exit,
	.timeout_ms = 2000,
	.name = "sorted_by_weight");
