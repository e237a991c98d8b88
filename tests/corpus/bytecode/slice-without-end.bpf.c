/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Gives everyone the CPU for as long as they like, and never takes it away again: the first task that computes
 * keeps it.
 */
#include <schedtui.bpf.h>

char _license[] SEC("license") = "GPL";

#define SHARED_DSQ 1

UEI_DEFINE(uei);

void BPF_STRUCT_OPS(slice_without_end_enqueue, struct task_struct *p, u64 enq_flags)
{
	scx_bpf_dsq_insert(p, SHARED_DSQ, SCX_SLICE_INF, enq_flags);
	kick_idle_cpu(p);
}

void BPF_STRUCT_OPS(slice_without_end_dispatch, s32 cpu, struct task_struct *prev)
{
	scx_bpf_dsq_move_to_local(SHARED_DSQ);
}

s32 BPF_STRUCT_OPS_SLEEPABLE(slice_without_end_init)
{
	return scx_bpf_create_dsq(SHARED_DSQ, NUMA_NO_NODE);
}

void BPF_STRUCT_OPS(slice_without_end_exit, struct scx_exit_info *info)
{
	UEI_RECORD(uei, info);
}

SCX_OPS_DEFINE(slice_without_end_ops,
	.enqueue = (void *)slice_without_end_enqueue,
	.dispatch = (void *)slice_without_end_dispatch,
	.init = (void *)slice_without_end_init,
	.exit = (void *)slice_without_end_exit,
	.timeout_ms = 2000,
	.name = "slice_without_end");
