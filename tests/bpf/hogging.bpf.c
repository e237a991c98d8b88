/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A policy that is bad on purpose, and correct: everybody stands in one queue, and whoever has a CPU keeps it for
 * `slice_ms`. Whatever wakes up waits for the whole slices of others. With a long slice, tasks starve.
 */
#include <schedtui.bpf.h>

char _license[] SEC("license") = "GPL";

#define SHARED_DSQ 1

const volatile u64 slice_ms = 200;

/* Even a task that an idle CPU could take has to pass enqueue(). */
s32 BPF_STRUCT_OPS(hogging_select_cpu, struct task_struct *p, s32 prev_cpu, u64 wake_flags)
{
	return prev_cpu;
}

void BPF_STRUCT_OPS(hogging_enqueue, struct task_struct *p, u64 enq_flags)
{
	scx_bpf_dsq_insert(p, SHARED_DSQ, slice_ms * NSEC_PER_MSEC, enq_flags);
	kick_idle_cpu(p);
}

void BPF_STRUCT_OPS(hogging_dispatch, s32 cpu, struct task_struct *prev)
{
	scx_bpf_dsq_move_to_local(SHARED_DSQ);
}

s32 BPF_STRUCT_OPS_SLEEPABLE(hogging_init)
{
	return scx_bpf_create_dsq(SHARED_DSQ, NUMA_NO_NODE);
}

SCX_OPS_DEFINE(hogging_ops,
	.select_cpu = (void *)hogging_select_cpu,
	.enqueue = (void *)hogging_enqueue,
	.dispatch = (void *)hogging_dispatch,
	.init = (void *)hogging_init,
	.timeout_ms = 5000,
	.name = "hogging");
