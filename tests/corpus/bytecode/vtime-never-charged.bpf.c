/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Sorts the queue by virtual time, which starts when a task comes in, but forgets to add what the task runs. The
 * oldest tasks stay in front for ever.
 */
#include <schedtui.bpf.h>

char _license[] SEC("license") = "GPL";

#define SHARED_DSQ 1

UEI_DEFINE(uei);

void BPF_STRUCT_OPS(vtime_never_charged_enqueue, struct task_struct *p, u64 enq_flags)
{
	scx_bpf_dsq_insert_vtime(p, SHARED_DSQ, 5 * NSEC_PER_MSEC, p->scx.dsq_vtime, enq_flags);
	kick_idle_cpu(p);
}

void BPF_STRUCT_OPS(vtime_never_charged_enable, struct task_struct *p)
{
	scx_bpf_task_set_dsq_vtime(p, p->start_time);
}

void BPF_STRUCT_OPS(vtime_never_charged_dispatch, s32 cpu, struct task_struct *prev)
{
	scx_bpf_dsq_move_to_local(SHARED_DSQ);
}

s32 BPF_STRUCT_OPS_SLEEPABLE(vtime_never_charged_init)
{
	return scx_bpf_create_dsq(SHARED_DSQ, NUMA_NO_NODE);
}

void BPF_STRUCT_OPS(vtime_never_charged_exit, struct scx_exit_info *info)
{
	UEI_RECORD(uei, info);
}

SCX_OPS_DEFINE(vtime_never_charged_ops,
	.enqueue = (void *)vtime_never_charged_enqueue,
	.dispatch = (void *)vtime_never_charged_dispatch,
	.enable = (void *)vtime_never_charged_enable,
	.init = (void *)vtime_never_charged_init,
	.exit = (void *)vtime_never_charged_exit,
	.timeout_ms = 2000,
	.name = "vtime_never_charged");
