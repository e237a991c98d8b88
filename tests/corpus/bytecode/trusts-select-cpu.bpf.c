/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Believes that select_cpu() has always given a task away that passed through it. It has not, when no CPU was
 * idle.
 */
#include <schedtui.bpf.h>

char _license[] SEC("license") = "GPL";

#define SHARED_DSQ 1

UEI_DEFINE(uei);

u64 nr_trusted;

s32 BPF_STRUCT_OPS(trusts_select_cpu_select_cpu, struct task_struct *p, s32 prev_cpu, u64 wake_flags)
{
	bool idle = false;
	s32 cpu = scx_bpf_select_cpu_dfl(p, prev_cpu, wake_flags, &idle);

	if (idle)
		scx_bpf_dsq_insert(p, SCX_DSQ_LOCAL, SCX_SLICE_DFL, 0);
	return cpu;
}

void BPF_STRUCT_OPS(trusts_select_cpu_enqueue, struct task_struct *p, u64 enq_flags)
{
	if (__COMPAT_is_enq_cpu_selected(enq_flags)) {
		count(nr_trusted);
		return;
	}
	scx_bpf_dsq_insert(p, SHARED_DSQ, 5 * NSEC_PER_MSEC, enq_flags);
	kick_idle_cpu(p);
}

void BPF_STRUCT_OPS(trusts_select_cpu_dispatch, s32 cpu, struct task_struct *prev)
{
	scx_bpf_dsq_move_to_local(SHARED_DSQ);
}

s32 BPF_STRUCT_OPS_SLEEPABLE(trusts_select_cpu_init)
{
	return scx_bpf_create_dsq(SHARED_DSQ, NUMA_NO_NODE);
}

void BPF_STRUCT_OPS(trusts_select_cpu_exit, struct scx_exit_info *info)
{
	UEI_RECORD(uei, info);
}

SCX_OPS_DEFINE(trusts_select_cpu_ops,
	.select_cpu = (void *)trusts_select_cpu_select_cpu,
	.enqueue = (void *)trusts_select_cpu_enqueue,
	.dispatch = (void *)trusts_select_cpu_dispatch,
	.init = (void *)trusts_select_cpu_init,
	.exit = (void *)trusts_select_cpu_exit,
	.timeout_ms = 2000,
	.name = "trusts_select_cpu");
