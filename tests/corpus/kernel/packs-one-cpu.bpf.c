/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Keeps all tasks on CPU 0 to save power, however many there are. What may not run there goes where it may.
 */
#include <schedtui.bpf.h>

char _license[] SEC("license") = "GPL";

#define SHARED_DSQ 1

UEI_DEFINE(uei);

s32 BPF_STRUCT_OPS(packs_one_cpu_select_cpu, struct task_struct *p, s32 prev_cpu, u64 wake_flags)
{
	return bpf_cpumask_test_cpu(0, p->cpus_ptr) ? 0 : prev_cpu;
}

void BPF_STRUCT_OPS(packs_one_cpu_enqueue, struct task_struct *p, u64 enq_flags)
{
	s32 cpu = bpf_cpumask_test_cpu(0, p->cpus_ptr) ? 0 : scx_bpf_task_cpu(p);

	scx_bpf_dsq_insert(p, SCX_DSQ_LOCAL_ON | cpu, 5 * NSEC_PER_MSEC, enq_flags);
}

void BPF_STRUCT_OPS(packs_one_cpu_dispatch, s32 cpu, struct task_struct *prev)
{
	scx_bpf_dsq_move_to_local(SHARED_DSQ);
}

s32 BPF_STRUCT_OPS_SLEEPABLE(packs_one_cpu_init)
{
	return scx_bpf_create_dsq(SHARED_DSQ, NUMA_NO_NODE);
}

void BPF_STRUCT_OPS(packs_one_cpu_exit, struct scx_exit_info *info)
{
	UEI_RECORD(uei, info);
}

SCX_OPS_DEFINE(packs_one_cpu_ops,
	.select_cpu = (void *)packs_one_cpu_select_cpu,
	.enqueue = (void *)packs_one_cpu_enqueue,
	.dispatch = (void *)packs_one_cpu_dispatch,
	.init = (void *)packs_one_cpu_init,
	.exit = (void *)packs_one_cpu_exit,
	.timeout_ms = 5000,
	.name = "packs_one_cpu");
