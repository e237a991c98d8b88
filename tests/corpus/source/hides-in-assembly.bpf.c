/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Leaves enqueue() early through a line of assembly, in which the C around it sees nothing but a number.
 */
#include <schedtui.bpf.h>

char _license[] SEC("license") = "GPL";

#define SHARED_DSQ 1

UEI_DEFINE(uei);

void BPF_STRUCT_OPS(hides_in_assembly_enqueue, struct task_struct *p, u64 enq_flags)
{
	u64 again = p->static_prio > 120;

	asm volatile("if %0 == 0 goto +2; r0 = 0; exit" ::"r"(again) : "r0");
	scx_bpf_dsq_insert(p, SHARED_DSQ, 5 * NSEC_PER_MSEC, enq_flags);
	kick_idle_cpu(p);
}

void BPF_STRUCT_OPS(hides_in_assembly_dispatch, s32 cpu, struct task_struct *prev)
{
	scx_bpf_dsq_move_to_local(SHARED_DSQ);
}

s32 BPF_STRUCT_OPS_SLEEPABLE(hides_in_assembly_init)
{
	return scx_bpf_create_dsq(SHARED_DSQ, NUMA_NO_NODE);
}

void BPF_STRUCT_OPS(hides_in_assembly_exit, struct scx_exit_info *info)
{
	UEI_RECORD(uei, info);
}

SCX_OPS_DEFINE(hides_in_assembly_ops,
	.enqueue = (void *)hides_in_assembly_enqueue,
	.dispatch = (void *)hides_in_assembly_dispatch,
	.init = (void *)hides_in_assembly_init,
	.exit = (void *)hides_in_assembly_exit,
	.timeout_ms = 2000,
	.name = "hides_in_assembly");
