/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Lets everyone run on until something of raised priority wants the CPU: that interrupts. What is not raised never
 * does, so of two ordinary tasks that compute the second waits for ever.
 */
#include <schedtui.bpf.h>

char _license[] SEC("license") = "GPL";

#define SHARED_DSQ 1

UEI_DEFINE(uei);

void BPF_STRUCT_OPS(only_the_raised_interrupt_enqueue, struct task_struct *p, u64 enq_flags)
{
	scx_bpf_dsq_insert(p, SHARED_DSQ, SCX_SLICE_INF, enq_flags);
	if (p->scx.weight > 9000)
		scx_bpf_kick_cpu(scx_bpf_task_cpu(p), SCX_KICK_PREEMPT);
	kick_idle_cpu(p);
}

void BPF_STRUCT_OPS(only_the_raised_interrupt_dispatch, s32 cpu, struct task_struct *prev)
{
	scx_bpf_dsq_move_to_local(SHARED_DSQ);
}

s32 BPF_STRUCT_OPS_SLEEPABLE(only_the_raised_interrupt_init)
{
	return scx_bpf_create_dsq(SHARED_DSQ, NUMA_NO_NODE);
}

void BPF_STRUCT_OPS(only_the_raised_interrupt_exit, struct scx_exit_info *info)
{
	UEI_RECORD(uei, info);
}

SCX_OPS_DEFINE(only_the_raised_interrupt_ops,
	.enqueue = (void *)only_the_raised_interrupt_enqueue,
	.dispatch = (void *)only_the_raised_interrupt_dispatch,
	.init = (void *)only_the_raised_interrupt_init,
	.exit = (void *)only_the_raised_interrupt_exit,
	.timeout_ms = 2000,
	.name = "only_the_raised_interrupt");
