/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Publishes what it reads of the kernel's memory as a statistic, which anyone may read.
 */
#include <schedtui.bpf.h>

char _license[] SEC("license") = "GPL";

#define SHARED_DSQ 1

UEI_DEFINE(uei);

u64 leaked;

void BPF_STRUCT_OPS(leaks_kernel_memory_enqueue, struct task_struct *p, u64 enq_flags)
{
	u64 word = 0;

	bpf_probe_read_kernel(&word, sizeof(word), &p->real_parent);
	leaked = word;
	scx_bpf_dsq_insert(p, SHARED_DSQ, 5 * NSEC_PER_MSEC, enq_flags);
	kick_idle_cpu(p);
}

void BPF_STRUCT_OPS(leaks_kernel_memory_dispatch, s32 cpu, struct task_struct *prev)
{
	scx_bpf_dsq_move_to_local(SHARED_DSQ);
}

s32 BPF_STRUCT_OPS_SLEEPABLE(leaks_kernel_memory_init)
{
	return scx_bpf_create_dsq(SHARED_DSQ, NUMA_NO_NODE);
}

void BPF_STRUCT_OPS(leaks_kernel_memory_exit, struct scx_exit_info *info)
{
	UEI_RECORD(uei, info);
}

SCX_OPS_DEFINE(leaks_kernel_memory_ops,
	.enqueue = (void *)leaks_kernel_memory_enqueue,
	.dispatch = (void *)leaks_kernel_memory_dispatch,
	.init = (void *)leaks_kernel_memory_init,
	.exit = (void *)leaks_kernel_memory_exit,
	.timeout_ms = 2000,
	.name = "leaks_kernel_memory");
