/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Turns of a third of a second, in order of arrival, for all alike. Nothing starves, and nothing answers.
 */
#include <schedtui.bpf.h>

char _license[] SEC("license") = "GPL";

#define SHARED_DSQ 1

UEI_DEFINE(uei);

s32 BPF_STRUCT_OPS(a_third_of_a_second_each_select_cpu, struct task_struct *p, s32 prev_cpu, u64 wake_flags)
{
	return prev_cpu;
}

void BPF_STRUCT_OPS(a_third_of_a_second_each_enqueue, struct task_struct *p, u64 enq_flags)
{
	scx_bpf_dsq_insert(p, SHARED_DSQ, 333 * NSEC_PER_MSEC, enq_flags);
	kick_idle_cpu(p);
}

void BPF_STRUCT_OPS(a_third_of_a_second_each_dispatch, s32 cpu, struct task_struct *prev)
{
	scx_bpf_dsq_move_to_local(SHARED_DSQ);
}

s32 BPF_STRUCT_OPS_SLEEPABLE(a_third_of_a_second_each_init)
{
	return scx_bpf_create_dsq(SHARED_DSQ, NUMA_NO_NODE);
}

void BPF_STRUCT_OPS(a_third_of_a_second_each_exit, struct scx_exit_info *info)
{
	UEI_RECORD(uei, info);
}

SCX_OPS_DEFINE(a_third_of_a_second_each_ops,
	.select_cpu = (void *)a_third_of_a_second_each_select_cpu,
	.enqueue = (void *)a_third_of_a_second_each_enqueue,
	.dispatch = (void *)a_third_of_a_second_each_dispatch,
	.init = (void *)a_third_of_a_second_each_init,
	.exit = (void *)a_third_of_a_second_each_exit,
	.timeout_ms = 10000,
	.name = "a_third_of_a_second_each");
