/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The longer a task slept, the longer it waits: the time of its sleep is added to its turn a hundredfold, up to
 * three seconds.
 */
#include <schedtui.bpf.h>

char _license[] SEC("license") = "GPL";

#define SHARED_DSQ 1

UEI_DEFINE(uei);

struct rest {
	u64 since;
	u64 ns;
};
TASK_STATE(tasks, struct rest);

s32 BPF_STRUCT_OPS_SLEEPABLE(punishes_sleep_init_task, struct task_struct *p, struct scx_init_task_args *args)
{
	return new_task_state(&tasks, p) ? 0 : -ENOMEM;
}

s32 BPF_STRUCT_OPS(punishes_sleep_select_cpu, struct task_struct *p, s32 prev_cpu, u64 wake_flags)
{
	return prev_cpu;
}

void BPF_STRUCT_OPS(punishes_sleep_enqueue, struct task_struct *p, u64 enq_flags)
{
	struct rest *rest = task_state(&tasks, p);
	u64 turn = scx_bpf_now();

	if (rest) {
		turn += min(rest->ns * 100, 3 * NSEC_PER_SEC);
		rest->ns = 0;
	}
	scx_bpf_dsq_insert_vtime(p, SHARED_DSQ, 5 * NSEC_PER_MSEC, turn, enq_flags);
	kick_idle_cpu(p);
}

void BPF_STRUCT_OPS(punishes_sleep_runnable, struct task_struct *p, u64 enq_flags)
{
	struct rest *rest = task_state(&tasks, p);

	if (rest && rest->since)
		rest->ns = scx_bpf_now() - rest->since;
}

void BPF_STRUCT_OPS(punishes_sleep_quiescent, struct task_struct *p, u64 deq_flags)
{
	struct rest *rest = task_state(&tasks, p);

	if (rest)
		rest->since = scx_bpf_now();
}

void BPF_STRUCT_OPS(punishes_sleep_dispatch, s32 cpu, struct task_struct *prev)
{
	scx_bpf_dsq_move_to_local(SHARED_DSQ);
}

s32 BPF_STRUCT_OPS_SLEEPABLE(punishes_sleep_init)
{
	return scx_bpf_create_dsq(SHARED_DSQ, NUMA_NO_NODE);
}

void BPF_STRUCT_OPS(punishes_sleep_exit, struct scx_exit_info *info)
{
	UEI_RECORD(uei, info);
}

SCX_OPS_DEFINE(punishes_sleep_ops,
	.select_cpu = (void *)punishes_sleep_select_cpu,
	.enqueue = (void *)punishes_sleep_enqueue,
	.dispatch = (void *)punishes_sleep_dispatch,
	.runnable = (void *)punishes_sleep_runnable,
	.quiescent = (void *)punishes_sleep_quiescent,
	.init_task = (void *)punishes_sleep_init_task,
	.init = (void *)punishes_sleep_init,
	.exit = (void *)punishes_sleep_exit,
	.timeout_ms = 10000,
	.name = "punishes_sleep");
