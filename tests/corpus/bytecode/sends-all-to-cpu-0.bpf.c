/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Puts every task into the local queue of CPU 0, whether it may run there or not. The kernel ends it at the first
 * that may not.
 */
#include <schedtui.bpf.h>

char _license[] SEC("license") = "GPL";

#define SHARED_DSQ 1

UEI_DEFINE(uei);

void BPF_STRUCT_OPS(sends_all_to_cpu_0_enqueue, struct task_struct *p, u64 enq_flags)
{
	scx_bpf_dsq_insert(p, SCX_DSQ_LOCAL_ON | 0, 5 * NSEC_PER_MSEC, enq_flags);
}

void BPF_STRUCT_OPS(sends_all_to_cpu_0_dispatch, s32 cpu, struct task_struct *prev)
{
	scx_bpf_dsq_move_to_local(SHARED_DSQ);
}

s32 BPF_STRUCT_OPS_SLEEPABLE(sends_all_to_cpu_0_init)
{
	return scx_bpf_create_dsq(SHARED_DSQ, NUMA_NO_NODE);
}

void BPF_STRUCT_OPS(sends_all_to_cpu_0_exit, struct scx_exit_info *info)
{
	UEI_RECORD(uei, info);
}

SCX_OPS_DEFINE(sends_all_to_cpu_0_ops,
	.enqueue = (void *)sends_all_to_cpu_0_enqueue,
	.dispatch = (void *)sends_all_to_cpu_0_dispatch,
	.init = (void *)sends_all_to_cpu_0_init,
	.exit = (void *)sends_all_to_cpu_0_exit,
	.timeout_ms = 2000,
	.name = "sends_all_to_cpu_0");
