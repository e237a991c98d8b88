/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Finds the task that ran least by comparing each that waits with each that waits, for each task that is queued.
 */
#include <schedtui.bpf.h>

char _license[] SEC("license") = "GPL";

#define SHARED_DSQ 1

UEI_DEFINE(uei);

u64 nr_comparisons;

static u64 compares_all_with_all_nr_that_ran_less(u64 ran)
{
	struct task_struct *p;
	u64 nr = 0;

	bpf_for_each(scx_dsq, p, SHARED_DSQ, 0) {
		nr += p->se.sum_exec_runtime < ran;
		count(nr_comparisons);
	}
	return nr;
}

void BPF_STRUCT_OPS(compares_all_with_all_enqueue, struct task_struct *p, u64 enq_flags)
{
	struct task_struct *other;
	u64 rank = 0;

	bpf_for_each(scx_dsq, other, SHARED_DSQ, 0)
		rank += compares_all_with_all_nr_that_ran_less(other->se.sum_exec_runtime);
	scx_bpf_dsq_insert_vtime(p, SHARED_DSQ, 5 * NSEC_PER_MSEC, scx_bpf_now() + rank, enq_flags);
	kick_idle_cpu(p);
}

void BPF_STRUCT_OPS(compares_all_with_all_dispatch, s32 cpu, struct task_struct *prev)
{
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
