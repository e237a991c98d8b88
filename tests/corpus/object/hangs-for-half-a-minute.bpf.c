/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Serves tasks of low weight only when nobody else wants to run, and asks the kernel not to look for thirty
 * seconds.
 */
#include <schedtui.bpf.h>

char _license[] SEC("license") = "GPL";

#define SHARED_DSQ 1
#define LOW_DSQ 2

UEI_DEFINE(uei);

void BPF_STRUCT_OPS(hangs_for_half_a_minute_enqueue, struct task_struct *p, u64 enq_flags)
{
	scx_bpf_dsq_insert(p, p->scx.weight < 100 ? LOW_DSQ : SHARED_DSQ, 5 * NSEC_PER_MSEC, enq_flags);
	kick_idle_cpu(p);
}

void BPF_STRUCT_OPS(hangs_for_half_a_minute_dispatch, s32 cpu, struct task_struct *prev)
{
	if (!scx_bpf_dsq_move_to_local(SHARED_DSQ))
		scx_bpf_dsq_move_to_local(LOW_DSQ);
}

s32 BPF_STRUCT_OPS_SLEEPABLE(hangs_for_half_a_minute_init)
{
	s32 error = scx_bpf_create_dsq(SHARED_DSQ, NUMA_NO_NODE);

	return error ?: scx_bpf_create_dsq(LOW_DSQ, NUMA_NO_NODE);
}

void BPF_STRUCT_OPS(hangs_for_half_a_minute_exit, struct scx_exit_info *info)
{
	UEI_RECORD(uei, info);
}

SCX_OPS_DEFINE(hangs_for_half_a_minute_ops,
	.enqueue = (void *)hangs_for_half_a_minute_enqueue,
	.dispatch = (void *)hangs_for_half_a_minute_dispatch,
	.init = (void *)hangs_for_half_a_minute_init,
	.exit = (void *)hangs_for_half_a_minute_exit,
	.timeout_ms = 30000,
	.name = "hangs_for_half_a_minute");
