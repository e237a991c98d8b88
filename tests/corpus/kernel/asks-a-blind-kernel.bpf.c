/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Keeps track of idle CPUs itself, with update_idle(), which turns the kernel's own tracking off; then asks the
 * kernel for an idle CPU.
 */
#include <schedtui.bpf.h>

char _license[] SEC("license") = "GPL";

#define SHARED_DSQ 1

UEI_DEFINE(uei);

u64 nr_idle;

s32 BPF_STRUCT_OPS(asks_a_blind_kernel_select_cpu, struct task_struct *p, s32 prev_cpu, u64 wake_flags)
{
	return prev_cpu;
}

void BPF_STRUCT_OPS(asks_a_blind_kernel_enqueue, struct task_struct *p, u64 enq_flags)
{
	scx_bpf_dsq_insert(p, SHARED_DSQ, 5 * NSEC_PER_MSEC, enq_flags);
	kick_idle_cpu(p);
}

void BPF_STRUCT_OPS(asks_a_blind_kernel_update_idle, s32 cpu, bool idle)
{
	if (idle)
		count(nr_idle);
}

void BPF_STRUCT_OPS(asks_a_blind_kernel_dispatch, s32 cpu, struct task_struct *prev)
{
	scx_bpf_dsq_move_to_local(SHARED_DSQ);
}

s32 BPF_STRUCT_OPS_SLEEPABLE(asks_a_blind_kernel_init)
{
	return scx_bpf_create_dsq(SHARED_DSQ, NUMA_NO_NODE);
}

void BPF_STRUCT_OPS(asks_a_blind_kernel_exit, struct scx_exit_info *info)
{
	UEI_RECORD(uei, info);
}

SCX_OPS_DEFINE(asks_a_blind_kernel_ops,
	.select_cpu = (void *)asks_a_blind_kernel_select_cpu,
	.enqueue = (void *)asks_a_blind_kernel_enqueue,
	.dispatch = (void *)asks_a_blind_kernel_dispatch,
	.update_idle = (void *)asks_a_blind_kernel_update_idle,
	.init = (void *)asks_a_blind_kernel_init,
	.exit = (void *)asks_a_blind_kernel_exit,
	.timeout_ms = 2000,
	.name = "asks_a_blind_kernel");
