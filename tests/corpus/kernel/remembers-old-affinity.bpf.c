/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Learns where a task that may run on one CPU only has to go, and sends it there ever after, also when that was
 * changed meanwhile.
 */
#include <schedtui.bpf.h>

char _license[] SEC("license") = "GPL";

#define SHARED_DSQ 1

UEI_DEFINE(uei);

struct home {
	bool known;
	s32 cpu;
};
TASK_STATE(tasks, struct home);

s32 BPF_STRUCT_OPS_SLEEPABLE(remembers_old_affinity_init_task, struct task_struct *p, struct scx_init_task_args *args)
{
	return new_task_state(&tasks, p) ? 0 : -ENOMEM;
}

void BPF_STRUCT_OPS(remembers_old_affinity_enqueue, struct task_struct *p, u64 enq_flags)
{
	struct home *home = task_state(&tasks, p);

	if (home && !home->known && p->nr_cpus_allowed == 1) {
		home->known = true;
		home->cpu = bpf_cpumask_first(p->cpus_ptr);
	}
	if (home && home->known) {
		scx_bpf_dsq_insert(p, SCX_DSQ_LOCAL_ON | home->cpu, 5 * NSEC_PER_MSEC, enq_flags);
		return;
	}
	scx_bpf_dsq_insert(p, SHARED_DSQ, 5 * NSEC_PER_MSEC, enq_flags);
	kick_idle_cpu(p);
}

void BPF_STRUCT_OPS(remembers_old_affinity_dispatch, s32 cpu, struct task_struct *prev)
{
	scx_bpf_dsq_move_to_local(SHARED_DSQ);
}

s32 BPF_STRUCT_OPS_SLEEPABLE(remembers_old_affinity_init)
{
	return scx_bpf_create_dsq(SHARED_DSQ, NUMA_NO_NODE);
}

void BPF_STRUCT_OPS(remembers_old_affinity_exit, struct scx_exit_info *info)
{
	UEI_RECORD(uei, info);
}

SCX_OPS_DEFINE(remembers_old_affinity_ops,
	.enqueue = (void *)remembers_old_affinity_enqueue,
	.dispatch = (void *)remembers_old_affinity_dispatch,
	.init_task = (void *)remembers_old_affinity_init_task,
	.init = (void *)remembers_old_affinity_init,
	.exit = (void *)remembers_old_affinity_exit,
	.timeout_ms = 2000,
	.name = "remembers_old_affinity");
