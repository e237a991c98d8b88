/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Slices are short, but each tick makes them long again: whoever runs, runs until it sleeps.
 */
#include <schedtui.bpf.h>

char _license[] SEC("license") = "GPL";

#define SHARED_DSQ 1

UEI_DEFINE(uei);

void BPF_STRUCT_OPS(renews_every_slice_enqueue, struct task_struct *p, u64 enq_flags)
{
	scx_bpf_dsq_insert(p, SHARED_DSQ, 5 * NSEC_PER_MSEC, enq_flags);
	kick_idle_cpu(p);
}

void BPF_STRUCT_OPS(renews_every_slice_tick, struct task_struct *p)
{
	scx_bpf_task_set_slice(p, 20 * NSEC_PER_MSEC);
}

void BPF_STRUCT_OPS(renews_every_slice_dispatch, s32 cpu, struct task_struct *prev)
{
	scx_bpf_dsq_move_to_local(SHARED_DSQ);
}

s32 BPF_STRUCT_OPS_SLEEPABLE(renews_every_slice_init)
{
	return scx_bpf_create_dsq(SHARED_DSQ, NUMA_NO_NODE);
}

void BPF_STRUCT_OPS(renews_every_slice_exit, struct scx_exit_info *info)
{
	UEI_RECORD(uei, info);
}

SCX_OPS_DEFINE(renews_every_slice_ops,
	.enqueue = (void *)renews_every_slice_enqueue,
	.dispatch = (void *)renews_every_slice_dispatch,
	.tick = (void *)renews_every_slice_tick,
	.init = (void *)renews_every_slice_init,
	.exit = (void *)renews_every_slice_exit,
	.timeout_ms = 2000,
	.name = "renews_every_slice");
