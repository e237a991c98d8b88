/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Has room for the notes on a hundred new tasks. Afterwards no program can be started any more.
 */
#include <schedtui.bpf.h>

char _license[] SEC("license") = "GPL";

#define SHARED_DSQ 1
#define MOST_FORKS 100

UEI_DEFINE(uei);

static u64 nr_forks;

void BPF_STRUCT_OPS(no_room_for_forks_enqueue, struct task_struct *p, u64 enq_flags)
{
	scx_bpf_dsq_insert(p, SHARED_DSQ, 5 * NSEC_PER_MSEC, enq_flags);
	kick_idle_cpu(p);
}

s32 BPF_STRUCT_OPS_SLEEPABLE(no_room_for_forks_init_task, struct task_struct *p, struct scx_init_task_args *args)
{
	if (args->fork && __sync_fetch_and_add(&nr_forks, 1) >= MOST_FORKS)
		return -ENOMEM;
	return 0;
}

void BPF_STRUCT_OPS(no_room_for_forks_dispatch, s32 cpu, struct task_struct *prev)
{
	scx_bpf_dsq_move_to_local(SHARED_DSQ);
}

s32 BPF_STRUCT_OPS_SLEEPABLE(no_room_for_forks_init)
{
	return scx_bpf_create_dsq(SHARED_DSQ, NUMA_NO_NODE);
}

void BPF_STRUCT_OPS(no_room_for_forks_exit, struct scx_exit_info *info)
{
	UEI_RECORD(uei, info);
}

SCX_OPS_DEFINE(no_room_for_forks_ops,
	.enqueue = (void *)no_room_for_forks_enqueue,
	.dispatch = (void *)no_room_for_forks_dispatch,
	.init_task = (void *)no_room_for_forks_init_task,
	.init = (void *)no_room_for_forks_init,
	.exit = (void *)no_room_for_forks_exit,
	.timeout_ms = 5000,
	.name = "no_room_for_forks");
