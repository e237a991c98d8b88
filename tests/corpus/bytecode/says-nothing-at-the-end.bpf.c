/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Loses the tasks of the highest weights, and has no exit(): when the kernel throws it out, nobody learns why from
 * it.
 */
#include <schedtui.bpf.h>

char _license[] SEC("license") = "GPL";

#define SHARED_DSQ 1

void BPF_STRUCT_OPS(says_nothing_at_the_end_enqueue, struct task_struct *p, u64 enq_flags)
{
	if (p->scx.weight < 1000)
		scx_bpf_dsq_insert(p, SHARED_DSQ, 5 * NSEC_PER_MSEC, enq_flags);
	kick_idle_cpu(p);
}

void BPF_STRUCT_OPS(says_nothing_at_the_end_dispatch, s32 cpu, struct task_struct *prev)
{
	scx_bpf_dsq_move_to_local(SHARED_DSQ);
}

s32 BPF_STRUCT_OPS_SLEEPABLE(says_nothing_at_the_end_init)
{
	return scx_bpf_create_dsq(SHARED_DSQ, NUMA_NO_NODE);
}

SCX_OPS_DEFINE(says_nothing_at_the_end_ops,
	.enqueue = (void *)says_nothing_at_the_end_enqueue,
	.dispatch = (void *)says_nothing_at_the_end_dispatch,
	.init = (void *)says_nothing_at_the_end_init,
	.timeout_ms = 2000,
	.name = "says_nothing_at_the_end");
