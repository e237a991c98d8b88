/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Wants to hold tasks back that it does not know yet. Nothing ever makes the state by which it would know one, so it
 * holds all of them back.
 */
#include <schedtui.bpf.h>

char _license[] SEC("license") = "GPL";

#define SHARED_DSQ 1

UEI_DEFINE(uei);

struct known {
	u64 nr_turns;
};
TASK_STATE(tasks, struct known);

void BPF_STRUCT_OPS(knows_nobody_enqueue, struct task_struct *p, u64 enq_flags)
{
	struct known *state = task_state(&tasks, p);

	if (!state && !(p->flags & PF_KTHREAD))
		return;
	if (state)
		state->nr_turns++;
	scx_bpf_dsq_insert(p, SHARED_DSQ, SCX_SLICE_DFL, enq_flags);
	kick_idle_cpu(p);
}

void BPF_STRUCT_OPS(knows_nobody_dispatch, s32 cpu, struct task_struct *prev)
{
	scx_bpf_dsq_move_to_local(SHARED_DSQ);
}

s32 BPF_STRUCT_OPS_SLEEPABLE(knows_nobody_init)
{
	return scx_bpf_create_dsq(SHARED_DSQ, NUMA_NO_NODE);
}

void BPF_STRUCT_OPS(knows_nobody_exit, struct scx_exit_info *info)
{
	UEI_RECORD(uei, info);
}

SCX_OPS_DEFINE(knows_nobody_ops,
	.enqueue = (void *)knows_nobody_enqueue,
	.dispatch = (void *)knows_nobody_dispatch,
	.init = (void *)knows_nobody_init,
	.exit = (void *)knows_nobody_exit,
	.timeout_ms = 2000,
	.name = "knows_nobody");
