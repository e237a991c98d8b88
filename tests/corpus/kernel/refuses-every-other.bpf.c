/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Refuses every other task that asks for a scheduler like it (SCHED_EXT) before it is loaded: whoever set that is
 * not told.
 */
#include <schedtui.bpf.h>

char _license[] SEC("license") = "GPL";

#define SHARED_DSQ 1

UEI_DEFINE(uei);

void BPF_STRUCT_OPS(refuses_every_other_enqueue, struct task_struct *p, u64 enq_flags)
{
	scx_bpf_dsq_insert(p, SHARED_DSQ, 5 * NSEC_PER_MSEC, enq_flags);
	kick_idle_cpu(p);
}

s32 BPF_STRUCT_OPS_SLEEPABLE(refuses_every_other_init_task, struct task_struct *p, struct scx_init_task_args *args)
{
	if (!args->fork && (p->pid & 1))
		p->scx.disallow = true;
	return 0;
}

void BPF_STRUCT_OPS(refuses_every_other_dispatch, s32 cpu, struct task_struct *prev)
{
	scx_bpf_dsq_move_to_local(SHARED_DSQ);
}

s32 BPF_STRUCT_OPS_SLEEPABLE(refuses_every_other_init)
{
	return scx_bpf_create_dsq(SHARED_DSQ, NUMA_NO_NODE);
}

void BPF_STRUCT_OPS(refuses_every_other_exit, struct scx_exit_info *info)
{
	UEI_RECORD(uei, info);
}

SCX_OPS_DEFINE(refuses_every_other_ops,
	.enqueue = (void *)refuses_every_other_enqueue,
	.dispatch = (void *)refuses_every_other_dispatch,
	.init_task = (void *)refuses_every_other_init_task,
	.init = (void *)refuses_every_other_init,
	.exit = (void *)refuses_every_other_exit,
	.timeout_ms = 5000,
	.name = "refuses_every_other");
