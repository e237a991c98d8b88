/* SPDX-License-Identifier: GPL-2.0 */
/*
 * One queue for each CPU, and a slip in dispatch(): CPU n looks into the queue of CPU n, but the tasks went to
 * that of 1000 + n, of which there is one, too.
 */
#include <schedtui.bpf.h>

char _license[] SEC("license") = "GPL";

#define SHARED_DSQ 1
#define PER_CPU_DSQ 1000

UEI_DEFINE(uei);

void BPF_STRUCT_OPS(drains_the_wrong_queue_enqueue, struct task_struct *p, u64 enq_flags)
{
	scx_bpf_dsq_insert(p, PER_CPU_DSQ + scx_bpf_task_cpu(p), 5 * NSEC_PER_MSEC, enq_flags);
}

void BPF_STRUCT_OPS(drains_the_wrong_queue_dispatch, s32 cpu, struct task_struct *prev)
{
	scx_bpf_dsq_move_to_local(cpu);
}

s32 BPF_STRUCT_OPS_SLEEPABLE(drains_the_wrong_queue_init)
{
	s32 error;
	int i;

	bpf_for(i, 0, scx_bpf_nr_cpu_ids()) {
		error = scx_bpf_create_dsq(i, NUMA_NO_NODE);
		if (error)
			return error;
		error = scx_bpf_create_dsq(PER_CPU_DSQ + i, NUMA_NO_NODE);
		if (error)
			return error;
	}
	return 0;
}

void BPF_STRUCT_OPS(drains_the_wrong_queue_exit, struct scx_exit_info *info)
{
	UEI_RECORD(uei, info);
}

SCX_OPS_DEFINE(drains_the_wrong_queue_ops,
	.enqueue = (void *)drains_the_wrong_queue_enqueue,
	.dispatch = (void *)drains_the_wrong_queue_dispatch,
	.init = (void *)drains_the_wrong_queue_init,
	.exit = (void *)drains_the_wrong_queue_exit,
	.timeout_ms = 2000,
	.name = "drains_the_wrong_queue");
