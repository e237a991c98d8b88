/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Sends all who wake up to CPU 0, puts them into a queue for all CPUs, and wakes none of the others: they sleep on
 * beside a long queue.
 */
#include <schedtui.bpf.h>

char _license[] SEC("license") = "GPL";

#define SHARED_DSQ 1

UEI_DEFINE(uei);

s32 BPF_STRUCT_OPS(wakes_nobody_select_cpu, struct task_struct *p, s32 prev_cpu, u64 wake_flags)
{
	return bpf_cpumask_test_cpu(0, p->cpus_ptr) ? 0 : prev_cpu;
}

void BPF_STRUCT_OPS(wakes_nobody_enqueue, struct task_struct *p, u64 enq_flags)
{
	scx_bpf_dsq_insert(p, SHARED_DSQ, 200 * NSEC_PER_MSEC, enq_flags);
}

void BPF_STRUCT_OPS(wakes_nobody_dispatch, s32 cpu, struct task_struct *prev)
{
	scx_bpf_dsq_move_to_local(SHARED_DSQ);
}

s32 BPF_STRUCT_OPS_SLEEPABLE(wakes_nobody_init)
{
	return scx_bpf_create_dsq(SHARED_DSQ, NUMA_NO_NODE);
}

void BPF_STRUCT_OPS(wakes_nobody_exit, struct scx_exit_info *info)
{
	UEI_RECORD(uei, info);
}

SCX_OPS_DEFINE(wakes_nobody_ops,
	.select_cpu = (void *)wakes_nobody_select_cpu,
	.enqueue = (void *)wakes_nobody_enqueue,
	.dispatch = (void *)wakes_nobody_dispatch,
	.init = (void *)wakes_nobody_init,
	.exit = (void *)wakes_nobody_exit,
	.timeout_ms = 5000,
	.name = "wakes_nobody");
