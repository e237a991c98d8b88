/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Serves the kernel's own threads when nobody else wants to run. Others wait for what these would do.
 */
#include <schedtui.bpf.h>

char _license[] SEC("license") = "GPL";

#define SHARED_DSQ 1
#define KERNEL_DSQ 2

UEI_DEFINE(uei);

s32 BPF_STRUCT_OPS(kernel_threads_last_select_cpu, struct task_struct *p, s32 prev_cpu, u64 wake_flags)
{
	return prev_cpu;
}

void BPF_STRUCT_OPS(kernel_threads_last_enqueue, struct task_struct *p, u64 enq_flags)
{
	scx_bpf_dsq_insert(p, p->mm ? SHARED_DSQ : KERNEL_DSQ, 5 * NSEC_PER_MSEC, enq_flags);
	kick_idle_cpu(p);
}

void BPF_STRUCT_OPS(kernel_threads_last_dispatch, s32 cpu, struct task_struct *prev)
{
	if (!scx_bpf_dsq_move_to_local(SHARED_DSQ))
		scx_bpf_dsq_move_to_local(KERNEL_DSQ);
}

s32 BPF_STRUCT_OPS_SLEEPABLE(kernel_threads_last_init)
{
	s32 error = scx_bpf_create_dsq(SHARED_DSQ, NUMA_NO_NODE);

	return error ?: scx_bpf_create_dsq(KERNEL_DSQ, NUMA_NO_NODE);
}

void BPF_STRUCT_OPS(kernel_threads_last_exit, struct scx_exit_info *info)
{
	UEI_RECORD(uei, info);
}

SCX_OPS_DEFINE(kernel_threads_last_ops,
	.select_cpu = (void *)kernel_threads_last_select_cpu,
	.enqueue = (void *)kernel_threads_last_enqueue,
	.dispatch = (void *)kernel_threads_last_dispatch,
	.init = (void *)kernel_threads_last_init,
	.exit = (void *)kernel_threads_last_exit,
	.timeout_ms = 2000,
	.name = "kernel_threads_last");
