/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Works well for three seconds. From then on, all CPUs but the first find dispatch() empty-handed.
 */
#include <schedtui.bpf.h>

char _license[] SEC("license") = "GPL";

#define SHARED_DSQ 1

UEI_DEFINE(uei);

static u64 started_at;

void BPF_STRUCT_OPS(stops_taking_after_a_while_enqueue, struct task_struct *p, u64 enq_flags)
{
	scx_bpf_dsq_insert(p, SHARED_DSQ, 5 * NSEC_PER_MSEC, enq_flags);
	kick_idle_cpu(p);
}

void BPF_STRUCT_OPS(stops_taking_after_a_while_dispatch, s32 cpu, struct task_struct *prev)
{
	if (cpu && scx_bpf_now() - started_at > 3 * NSEC_PER_SEC)
		return;
	scx_bpf_dsq_move_to_local(SHARED_DSQ);
}

s32 BPF_STRUCT_OPS_SLEEPABLE(stops_taking_after_a_while_init)
{
	started_at = scx_bpf_now();
	return scx_bpf_create_dsq(SHARED_DSQ, NUMA_NO_NODE);
}

void BPF_STRUCT_OPS(stops_taking_after_a_while_exit, struct scx_exit_info *info)
{
	UEI_RECORD(uei, info);
}

SCX_OPS_DEFINE(stops_taking_after_a_while_ops,
	.enqueue = (void *)stops_taking_after_a_while_enqueue,
	.dispatch = (void *)stops_taking_after_a_while_dispatch,
	.init = (void *)stops_taking_after_a_while_init,
	.exit = (void *)stops_taking_after_a_while_exit,
	.timeout_ms = 2000,
	.name = "stops_taking_after_a_while");
