/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Queues tasks of each nice level but those above 5, which no branch of its switch takes.
 */
#include <schedtui.bpf.h>

char _license[] SEC("license") = "GPL";

#define SHARED_DSQ 1

UEI_DEFINE(uei);

static bool forgets_the_nice_queue(struct task_struct *p, u64 enq_flags)
{
	u64 slice = 0;

	if (p->static_prio < 120)
		slice = 40 * NSEC_PER_MSEC;
	else if (p->static_prio <= 125)
		slice = 10 * NSEC_PER_MSEC;
	if (slice)
		scx_bpf_dsq_insert(p, SHARED_DSQ, slice, enq_flags);
	return slice;
}

void BPF_STRUCT_OPS(forgets_the_nice_enqueue, struct task_struct *p, u64 enq_flags)
{
	if (forgets_the_nice_queue(p, enq_flags))
		kick_idle_cpu(p);
}

void BPF_STRUCT_OPS(forgets_the_nice_dispatch, s32 cpu, struct task_struct *prev)
{
	scx_bpf_dsq_move_to_local(SHARED_DSQ);
}

s32 BPF_STRUCT_OPS_SLEEPABLE(forgets_the_nice_init)
{
	return scx_bpf_create_dsq(SHARED_DSQ, NUMA_NO_NODE);
}

void BPF_STRUCT_OPS(forgets_the_nice_exit, struct scx_exit_info *info)
{
	UEI_RECORD(uei, info);
}

SCX_OPS_DEFINE(forgets_the_nice_ops,
	.enqueue = (void *)forgets_the_nice_enqueue,
	.dispatch = (void *)forgets_the_nice_dispatch,
	.init = (void *)forgets_the_nice_init,
	.exit = (void *)forgets_the_nice_exit,
	.timeout_ms = 2000,
	.name = "forgets_the_nice");
