/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Waits a little before it queues a task that woke up, and each time twice as long as the time before, up to all that
 * the kernel lets a loop do at a time.
 */
#include <schedtui.bpf.h>

char _license[] SEC("license") = "GPL";

#define SHARED_DSQ 1

UEI_DEFINE(uei);

static u32 rounds = 1;

u64 nr_rounds;

s32 BPF_STRUCT_OPS(twice_as_long_each_time_select_cpu, struct task_struct *p, s32 prev_cpu, u64 wake_flags)
{
	return prev_cpu;
}

void BPF_STRUCT_OPS(twice_as_long_each_time_enqueue, struct task_struct *p, u64 enq_flags)
{
	u32 i;

	if (p->mm && (enq_flags & SCX_ENQ_WAKEUP)) {
		bpf_for(i, 0, rounds)
			count(nr_rounds);
		if (rounds < 1 << 23)
			rounds *= 2;
	}
	scx_bpf_dsq_insert(p, SHARED_DSQ, 5 * NSEC_PER_MSEC, enq_flags);
	kick_idle_cpu(p);
}

void BPF_STRUCT_OPS(twice_as_long_each_time_dispatch, s32 cpu, struct task_struct *prev)
{
	scx_bpf_dsq_move_to_local(SHARED_DSQ);
}

s32 BPF_STRUCT_OPS_SLEEPABLE(twice_as_long_each_time_init)
{
	return scx_bpf_create_dsq(SHARED_DSQ, NUMA_NO_NODE);
}

void BPF_STRUCT_OPS(twice_as_long_each_time_exit, struct scx_exit_info *info)
{
	UEI_RECORD(uei, info);
}

SCX_OPS_DEFINE(twice_as_long_each_time_ops,
	.select_cpu = (void *)twice_as_long_each_time_select_cpu,
	.enqueue = (void *)twice_as_long_each_time_enqueue,
	.dispatch = (void *)twice_as_long_each_time_dispatch,
	.init = (void *)twice_as_long_each_time_init,
	.exit = (void *)twice_as_long_each_time_exit,
	.timeout_ms = 5000,
	.name = "twice_as_long_each_time");
