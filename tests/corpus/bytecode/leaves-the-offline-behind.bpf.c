/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A queue for each CPU that only this CPU looks into. It says that it can deal with CPUs going offline, but leaves
 * what waits there behind.
 */
#include <schedtui.bpf.h>

char _license[] SEC("license") = "GPL";

#define SHARED_DSQ 1

UEI_DEFINE(uei);

u64 nr_gone;

s32 BPF_STRUCT_OPS(leaves_the_offline_behind_select_cpu, struct task_struct *p, s32 prev_cpu, u64 wake_flags)
{
	return prev_cpu;
}

void BPF_STRUCT_OPS(leaves_the_offline_behind_enqueue, struct task_struct *p, u64 enq_flags)
{
	s32 cpu = scx_bpf_task_cpu(p);

	scx_bpf_dsq_insert(p, cpu, 5 * NSEC_PER_MSEC, enq_flags);
	scx_bpf_kick_cpu(cpu, SCX_KICK_IDLE);
}

void BPF_STRUCT_OPS(leaves_the_offline_behind_dispatch, s32 cpu, struct task_struct *prev)
{
	scx_bpf_dsq_move_to_local(cpu);
}

void BPF_STRUCT_OPS(leaves_the_offline_behind_cpu_online, s32 cpu)
{
}

void BPF_STRUCT_OPS(leaves_the_offline_behind_cpu_offline, s32 cpu)
{
	count(nr_gone);
}

s32 BPF_STRUCT_OPS_SLEEPABLE(leaves_the_offline_behind_init)
{
	s32 error;
	int i;

	bpf_for(i, 0, scx_bpf_nr_cpu_ids()) {
		error = scx_bpf_create_dsq(i, NUMA_NO_NODE);
		if (error)
			return error;
	}
	return 0;
}

void BPF_STRUCT_OPS(leaves_the_offline_behind_exit, struct scx_exit_info *info)
{
	UEI_RECORD(uei, info);
}

SCX_OPS_DEFINE(leaves_the_offline_behind_ops,
	.select_cpu = (void *)leaves_the_offline_behind_select_cpu,
	.enqueue = (void *)leaves_the_offline_behind_enqueue,
	.dispatch = (void *)leaves_the_offline_behind_dispatch,
	.cpu_online = (void *)leaves_the_offline_behind_cpu_online,
	.cpu_offline = (void *)leaves_the_offline_behind_cpu_offline,
	.init = (void *)leaves_the_offline_behind_init,
	.exit = (void *)leaves_the_offline_behind_exit,
	.timeout_ms = 2000,
	.name = "leaves_the_offline_behind");
