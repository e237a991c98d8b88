/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Works well for two seconds after it was loaded, and then forgets every task of a process whose id is odd.
 */
#include <schedtui.bpf.h>

char _license[] SEC("license") = "GPL";

#define SHARED_DSQ 1

UEI_DEFINE(uei);

static u64 started_at;

void BPF_STRUCT_OPS(forgets_after_a_while_enqueue, struct task_struct *p, u64 enq_flags)
{
	u64 age = scx_bpf_now() - started_at;

	if (age > 2 * NSEC_PER_SEC && (p->tgid & 1))
		return;
	scx_bpf_dsq_insert(p, SHARED_DSQ, 5 * NSEC_PER_MSEC, enq_flags);
	kick_idle_cpu(p);
}

s32 BPF_STRUCT_OPS_SLEEPABLE(forgets_after_a_while_init)
{
	started_at = scx_bpf_now();
	return scx_bpf_create_dsq(SHARED_DSQ, NUMA_NO_NODE);
}

void BPF_STRUCT_OPS(forgets_after_a_while_dispatch, s32 cpu, struct task_struct *prev)
{
	scx_bpf_dsq_move_to_local(SHARED_DSQ);
}

void BPF_STRUCT_OPS(forgets_after_a_while_exit, struct scx_exit_info *info)
{
	UEI_RECORD(uei, info);
}

SCX_OPS_DEFINE(forgets_after_a_while_ops,
	.enqueue = (void *)forgets_after_a_while_enqueue,
	.dispatch = (void *)forgets_after_a_while_dispatch,
	.init = (void *)forgets_after_a_while_init,
	.exit = (void *)forgets_after_a_while_exit,
	.timeout_ms = 2000,
	.name = "forgets_after_a_while");
