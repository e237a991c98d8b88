/* SPDX-License-Identifier: GPL-2.0 */
/*
 * When a real-time task takes a CPU, it notes that the CPU is not its own any more; that it comes back later is
 * not noted.
 */
#include <schedtui.bpf.h>

char _license[] SEC("license") = "GPL";

#define SHARED_DSQ 1
#define MAX_CPUS 1024

UEI_DEFINE(uei);

static bool taken[MAX_CPUS];

u64 nr_taken;

s32 BPF_STRUCT_OPS(gives_up_a_cpu_that_was_taken_select_cpu, struct task_struct *p, s32 prev_cpu, u64 wake_flags)
{
	return prev_cpu;
}

void BPF_STRUCT_OPS(gives_up_a_cpu_that_was_taken_enqueue, struct task_struct *p, u64 enq_flags)
{
	scx_bpf_dsq_insert(p, SHARED_DSQ, 5 * NSEC_PER_MSEC, enq_flags);
	kick_idle_cpu(p);
}

void BPF_STRUCT_OPS(gives_up_a_cpu_that_was_taken_dispatch, s32 cpu, struct task_struct *prev)
{
	if (taken[cpu & (MAX_CPUS - 1)])
		return;
	scx_bpf_dsq_move_to_local(SHARED_DSQ);
}

void BPF_STRUCT_OPS(gives_up_a_cpu_that_was_taken_cpu_release, s32 cpu, struct scx_cpu_release_args *args)
{
	count(nr_taken);
	taken[cpu & (MAX_CPUS - 1)] = true;
	scx_bpf_reenqueue_local();
}

s32 BPF_STRUCT_OPS_SLEEPABLE(gives_up_a_cpu_that_was_taken_init)
{
	return scx_bpf_create_dsq(SHARED_DSQ, NUMA_NO_NODE);
}

void BPF_STRUCT_OPS(gives_up_a_cpu_that_was_taken_exit, struct scx_exit_info *info)
{
	UEI_RECORD(uei, info);
}

SCX_OPS_DEFINE(gives_up_a_cpu_that_was_taken_ops,
	.select_cpu = (void *)gives_up_a_cpu_that_was_taken_select_cpu,
	.enqueue = (void *)gives_up_a_cpu_that_was_taken_enqueue,
	.dispatch = (void *)gives_up_a_cpu_that_was_taken_dispatch,
	.cpu_release = (void *)gives_up_a_cpu_that_was_taken_cpu_release,
	.init = (void *)gives_up_a_cpu_that_was_taken_init,
	.exit = (void *)gives_up_a_cpu_that_was_taken_exit,
	.timeout_ms = 2000,
	.name = "gives_up_a_cpu_that_was_taken");
