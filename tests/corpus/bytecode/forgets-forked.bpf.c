/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Remembers each task that existed when it was loaded, but makes no state for those that are forked later. A task
 * without state is taken for none of its business, and never gets a CPU.
 */
#include <schedtui.bpf.h>

char _license[] SEC("license") = "GPL";

#define SHARED_DSQ 1

UEI_DEFINE(uei);

struct known {
	u64 nr_turns;
};
TASK_STATE(tasks, struct known);

s32 BPF_STRUCT_OPS_SLEEPABLE(forgets_forked_init_task, struct task_struct *p, struct scx_init_task_args *args)
{
	if (args->fork)
		return 0;
	return new_task_state(&tasks, p) ? 0 : -ENOMEM;
}

void BPF_STRUCT_OPS(forgets_forked_enqueue, struct task_struct *p, u64 enq_flags)
{
	struct known *state = task_state(&tasks, p);

	if (!state)
		return;
	state->nr_turns++;
	scx_bpf_dsq_insert(p, SHARED_DSQ, SCX_SLICE_DFL, enq_flags);
	kick_idle_cpu(p);
}

void BPF_STRUCT_OPS(forgets_forked_dispatch, s32 cpu, struct task_struct *prev)
{
	scx_bpf_dsq_move_to_local(SHARED_DSQ);
}

s32 BPF_STRUCT_OPS_SLEEPABLE(forgets_forked_init)
{
	return scx_bpf_create_dsq(SHARED_DSQ, NUMA_NO_NODE);
}

void BPF_STRUCT_OPS(forgets_forked_exit, struct scx_exit_info *info)
{
	UEI_RECORD(uei, info);
}

SCX_OPS_DEFINE(forgets_forked_ops,
	.enqueue = (void *)forgets_forked_enqueue,
	.dispatch = (void *)forgets_forked_dispatch,
	.init_task = (void *)forgets_forked_init_task,
	.init = (void *)forgets_forked_init,
	.exit = (void *)forgets_forked_exit,
	.timeout_ms = 2000,
	.name = "forgets_forked");
