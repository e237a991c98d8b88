/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Loses one task in a thousand: often enough to freeze a desktop within minutes, rare enough to survive a short
 * trial.
 */
#include <schedtui.bpf.h>

char _license[] SEC("license") = "GPL";

#define SHARED_DSQ 1

UEI_DEFINE(uei);

void BPF_STRUCT_OPS(forgets_one_in_a_thousand_enqueue, struct task_struct *p, u64 enq_flags)
{
	if (bpf_get_prandom_u32() % 1000 == 0)
		return;
	scx_bpf_dsq_insert(p, SHARED_DSQ, 5 * NSEC_PER_MSEC, enq_flags);
	kick_idle_cpu(p);
}

void BPF_STRUCT_OPS(forgets_one_in_a_thousand_dispatch, s32 cpu, struct task_struct *prev)
{
	scx_bpf_dsq_move_to_local(SHARED_DSQ);
}

s32 BPF_STRUCT_OPS_SLEEPABLE(forgets_one_in_a_thousand_init)
{
	return scx_bpf_create_dsq(SHARED_DSQ, NUMA_NO_NODE);
}

void BPF_STRUCT_OPS(forgets_one_in_a_thousand_exit, struct scx_exit_info *info)
{
	UEI_RECORD(uei, info);
}

SCX_OPS_DEFINE(forgets_one_in_a_thousand_ops,
	.enqueue = (void *)forgets_one_in_a_thousand_enqueue,
	.dispatch = (void *)forgets_one_in_a_thousand_dispatch,
	.init = (void *)forgets_one_in_a_thousand_init,
	.exit = (void *)forgets_one_in_a_thousand_exit,
	.timeout_ms = 2000,
	.name = "forgets_one_in_a_thousand");
