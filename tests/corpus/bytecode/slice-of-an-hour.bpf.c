/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Slices of an hour: a multiplication too many between microseconds and nanoseconds.
 */
#include <schedtui.bpf.h>

char _license[] SEC("license") = "GPL";

#define SHARED_DSQ 1
#define SLICE_US 3600000

UEI_DEFINE(uei);

void BPF_STRUCT_OPS(slice_of_an_hour_enqueue, struct task_struct *p, u64 enq_flags)
{
	u64 slice = SLICE_US * NSEC_PER_USEC * 1000;

	scx_bpf_dsq_insert(p, SHARED_DSQ, slice, enq_flags);
	kick_idle_cpu(p);
}

void BPF_STRUCT_OPS(slice_of_an_hour_dispatch, s32 cpu, struct task_struct *prev)
{
	scx_bpf_dsq_move_to_local(SHARED_DSQ);
}

s32 BPF_STRUCT_OPS_SLEEPABLE(slice_of_an_hour_init)
{
	return scx_bpf_create_dsq(SHARED_DSQ, NUMA_NO_NODE);
}

void BPF_STRUCT_OPS(slice_of_an_hour_exit, struct scx_exit_info *info)
{
	UEI_RECORD(uei, info);
}

SCX_OPS_DEFINE(slice_of_an_hour_ops,
	.enqueue = (void *)slice_of_an_hour_enqueue,
	.dispatch = (void *)slice_of_an_hour_dispatch,
	.init = (void *)slice_of_an_hour_init,
	.exit = (void *)slice_of_an_hour_exit,
	.timeout_ms = 2000,
	.name = "slice_of_an_hour");
