/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Finds the task that ran least by comparing each that waits with each that waits, at each choice.
 */
#include <schedtui.bpf.h>

char _license[] SEC("license") = "GPL";

#define SHARED_DSQ 1

UEI_DEFINE(uei);

static u64 compares_all_with_all_nr_that_ran_less(u64 ran)
{
	struct task_struct *p;
	u64 nr = 0;

	bpf_for_each(scx_dsq, p, SHARED_DSQ, 0)
		nr += p->se.sum_exec_runtime < ran;
	return nr;
}

void BPF_STRUCT_OPS(compares_all_with_all_enqueue, struct task_struct *p, u64 enq_flags)
{
	scx_bpf_dsq_insert(p, SHARED_DSQ, 5 * NSEC_PER_MSEC, enq_flags);
	kick_idle_cpu(p);
}

void BPF_STRUCT_OPS(compares_all_with_all_dispatch, s32 cpu, struct task_struct *prev)
{
	struct task_struct *p;
	u64 least = ~0ULL, nr;

	bpf_for_each(scx_dsq, p, SHARED_DSQ, 0) {
		nr = compares_all_with_all_nr_that_ran_less(p->se.sum_exec_runtime);
		if (nr < least)
			least = nr;
	}
	bpf_for_each(scx_dsq, p, SHARED_DSQ, 0) {
		if (compares_all_with_all_nr_that_ran_less(p->se.sum_exec_runtime) <= least &&
		    scx_bpf_dsq_move(BPF_FOR_EACH_ITER, p, SCX_DSQ_LOCAL, 0))
			return;
	}
	scx_bpf_dsq_move_to_local(SHARED_DSQ);
}

s32 BPF_STRUCT_OPS_SLEEPABLE(compares_all_with_all_init)
{
	return scx_bpf_create_dsq(SHARED_DSQ, NUMA_NO_NODE);
}

void BPF_STRUCT_OPS(compares_all_with_all_exit, struct scx_exit_info *info)
{
	UEI_RECORD(uei, info);
}

SCX_OPS_DEFINE(compares_all_with_all_ops,
	.enqueue = (void *)compares_all_with_all_enqueue,
	.dispatch = (void *)compares_all_with_all_dispatch,
	.init = (void *)compares_all_with_all_init,
	.exit = (void *)compares_all_with_all_exit,
	.timeout_ms = 2000,
	.name = "compares_all_with_all");
