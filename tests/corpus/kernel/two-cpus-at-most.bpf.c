/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Made on a computer with two CPUs, and for it: two queues, and a task of any other CPU is sent to a queue that is
 * not there.
 */
#include <schedtui.bpf.h>

char _license[] SEC("license") = "GPL";

#define SHARED_DSQ 1
#define MOST_CPUS 2

UEI_DEFINE(uei);

s32 BPF_STRUCT_OPS(two_cpus_at_most_select_cpu, struct task_struct *p, s32 prev_cpu, u64 wake_flags)
{
	return prev_cpu;
}

void BPF_STRUCT_OPS(two_cpus_at_most_enqueue, struct task_struct *p, u64 enq_flags)
{
	s32 cpu = scx_bpf_task_cpu(p);

	scx_bpf_dsq_insert(p, cpu, 5 * NSEC_PER_MSEC, enq_flags);
	scx_bpf_kick_cpu(cpu, SCX_KICK_IDLE);
}

void BPF_STRUCT_OPS(two_cpus_at_most_dispatch, s32 cpu, struct task_struct *prev)
{
	int i;

	if (scx_bpf_dsq_move_to_local(cpu))
		return;
	bpf_for(i, 0, MOST_CPUS) {
		if (scx_bpf_dsq_move_to_local(i))
			return;
	}
}

s32 BPF_STRUCT_OPS_SLEEPABLE(two_cpus_at_most_init)
{
	s32 error;
	int i;

	bpf_for(i, 0, MOST_CPUS) {
		error = scx_bpf_create_dsq(i, NUMA_NO_NODE);
		if (error)
			return error;
	}
	return 0;
}

void BPF_STRUCT_OPS(two_cpus_at_most_exit, struct scx_exit_info *info)
{
	UEI_RECORD(uei, info);
}

SCX_OPS_DEFINE(two_cpus_at_most_ops,
	.select_cpu = (void *)two_cpus_at_most_select_cpu,
	.enqueue = (void *)two_cpus_at_most_enqueue,
	.dispatch = (void *)two_cpus_at_most_dispatch,
	.init = (void *)two_cpus_at_most_init,
	.exit = (void *)two_cpus_at_most_exit,
	.timeout_ms = 2000,
	.name = "two_cpus_at_most");
