/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Asks the CPU to look for something better whenever a task starts, so that no task runs for longer than a moment.
 */
#include <schedtui.bpf.h>

char _license[] SEC("license") = "GPL";

#define SHARED_DSQ 1

UEI_DEFINE(uei);

void BPF_STRUCT_OPS(preempts_itself_enqueue, struct task_struct *p, u64 enq_flags)
{
	scx_bpf_dsq_insert(p, SHARED_DSQ, 5 * NSEC_PER_MSEC, enq_flags);
	kick_idle_cpu(p);
}

void BPF_STRUCT_OPS(preempts_itself_running, struct task_struct *p)
{
	scx_bpf_kick_cpu(scx_bpf_task_cpu(p), SCX_KICK_PREEMPT);
}

void BPF_STRUCT_OPS(preempts_itself_dispatch, s32 cpu, struct task_struct *prev)
{
	scx_bpf_dsq_move_to_local(SHARED_DSQ);
}

s32 BPF_STRUCT_OPS_SLEEPABLE(preempts_itself_init)
{
	return scx_bpf_create_dsq(SHARED_DSQ, NUMA_NO_NODE);
}

void BPF_STRUCT_OPS(preempts_itself_exit, struct scx_exit_info *info)
{
	UEI_RECORD(uei, info);
}

SCX_OPS_DEFINE(preempts_itself_ops,
	.enqueue = (void *)preempts_itself_enqueue,
	.dispatch = (void *)preempts_itself_dispatch,
	.running = (void *)preempts_itself_running,
	.init = (void *)preempts_itself_init,
	.exit = (void *)preempts_itself_exit,
	.timeout_ms = 2000,
	.name = "preempts_itself");
