/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Notes which CPUs go offline, but not which come back: after a suspend, one CPU works.
 */
#include <schedtui.bpf.h>

char _license[] SEC("license") = "GPL";

#define SHARED_DSQ 1
#define MAX_CPUS 1024

UEI_DEFINE(uei);

static bool offline[MAX_CPUS];

s32 BPF_STRUCT_OPS(does_not_take_cpus_back_select_cpu, struct task_struct *p, s32 prev_cpu, u64 wake_flags)
{
	return prev_cpu;
}

void BPF_STRUCT_OPS(does_not_take_cpus_back_enqueue, struct task_struct *p, u64 enq_flags)
{
	scx_bpf_dsq_insert(p, SHARED_DSQ, 5 * NSEC_PER_MSEC, enq_flags);
	kick_idle_cpu(p);
}

void BPF_STRUCT_OPS(does_not_take_cpus_back_dispatch, s32 cpu, struct task_struct *prev)
{
	if (offline[cpu & (MAX_CPUS - 1)])
		return;
	scx_bpf_dsq_move_to_local(SHARED_DSQ);
}

void BPF_STRUCT_OPS(does_not_take_cpus_back_cpu_online, s32 cpu)
{
}

void BPF_STRUCT_OPS(does_not_take_cpus_back_cpu_offline, s32 cpu)
{
	offline[cpu & (MAX_CPUS - 1)] = true;
}

s32 BPF_STRUCT_OPS_SLEEPABLE(does_not_take_cpus_back_init)
{
	return scx_bpf_create_dsq(SHARED_DSQ, NUMA_NO_NODE);
}

void BPF_STRUCT_OPS(does_not_take_cpus_back_exit, struct scx_exit_info *info)
{
	UEI_RECORD(uei, info);
}

SCX_OPS_DEFINE(does_not_take_cpus_back_ops,
	.select_cpu = (void *)does_not_take_cpus_back_select_cpu,
	.enqueue = (void *)does_not_take_cpus_back_enqueue,
	.dispatch = (void *)does_not_take_cpus_back_dispatch,
	.cpu_online = (void *)does_not_take_cpus_back_cpu_online,
	.cpu_offline = (void *)does_not_take_cpus_back_cpu_offline,
	.init = (void *)does_not_take_cpus_back_init,
	.exit = (void *)does_not_take_cpus_back_exit,
	.timeout_ms = 2000,
	.name = "does_not_take_cpus_back");
