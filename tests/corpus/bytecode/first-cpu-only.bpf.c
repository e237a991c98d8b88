/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Only CPU 0 ever takes something from the queue. The others stay idle, and what may run only there waits for
 * ever.
 */
#include <schedtui.bpf.h>

char _license[] SEC("license") = "GPL";

#define SHARED_DSQ 1

UEI_DEFINE(uei);

s32 BPF_STRUCT_OPS(first_cpu_only_select_cpu, struct task_struct *p, s32 prev_cpu, u64 wake_flags)
{
	return prev_cpu;
}

void BPF_STRUCT_OPS(first_cpu_only_enqueue, struct task_struct *p, u64 enq_flags)
{
	scx_bpf_dsq_insert(p, SHARED_DSQ, 5 * NSEC_PER_MSEC, enq_flags);
	scx_bpf_kick_cpu(0, SCX_KICK_IDLE);
}

void BPF_STRUCT_OPS(first_cpu_only_dispatch, s32 cpu, struct task_struct *prev)
{
	if (cpu == 0)
		scx_bpf_dsq_move_to_local(SHARED_DSQ);
}

s32 BPF_STRUCT_OPS_SLEEPABLE(first_cpu_only_init)
{
	return scx_bpf_create_dsq(SHARED_DSQ, NUMA_NO_NODE);
}

void BPF_STRUCT_OPS(first_cpu_only_exit, struct scx_exit_info *info)
{
	UEI_RECORD(uei, info);
}

SCX_OPS_DEFINE(first_cpu_only_ops,
	.select_cpu = (void *)first_cpu_only_select_cpu,
	.enqueue = (void *)first_cpu_only_enqueue,
	.dispatch = (void *)first_cpu_only_dispatch,
	.init = (void *)first_cpu_only_init,
	.exit = (void *)first_cpu_only_exit,
	.timeout_ms = 2000,
	.name = "first_cpu_only");
