/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Notes how many CPUs there are when one goes and when one comes.
 */
#include <schedtui.bpf.h>

char _license[] SEC("license") = "GPL";

#define SHARED_DSQ 1

UEI_DEFINE(uei);

u64 nr_when_one_went;
u64 nr_when_one_came;

void BPF_STRUCT_OPS(counts_cpus_enqueue, struct task_struct *p, u64 enq_flags)
{
	scx_bpf_dsq_insert(p, SHARED_DSQ, SCX_SLICE_DFL, enq_flags);
	kick_idle_cpu(p);
}

void BPF_STRUCT_OPS(counts_cpus_dispatch, s32 cpu, struct task_struct *prev)
{
	scx_bpf_dsq_move_to_local(SHARED_DSQ);
}

void BPF_STRUCT_OPS(counts_cpus_cpu_online, s32 cpu)
{
	nr_when_one_came = nr_online_cpus();
}

void BPF_STRUCT_OPS(counts_cpus_cpu_offline, s32 cpu)
{
	empty_for_offline(SHARED_DSQ, cpu);
	nr_when_one_went = nr_cpus_without(cpu);
}

s32 BPF_STRUCT_OPS_SLEEPABLE(counts_cpus_init)
{
	return scx_bpf_create_dsq(SHARED_DSQ, NUMA_NO_NODE);
}

void BPF_STRUCT_OPS(counts_cpus_exit, struct scx_exit_info *info)
{
	UEI_RECORD(uei, info);
}

SCX_OPS_DEFINE(counts_cpus_ops,
	.enqueue = (void *)counts_cpus_enqueue,
	.dispatch = (void *)counts_cpus_dispatch,
	.cpu_online = (void *)counts_cpus_cpu_online,
	.cpu_offline = (void *)counts_cpus_cpu_offline,
	.init = (void *)counts_cpus_init,
	.exit = (void *)counts_cpus_exit,
	.timeout_ms = 5000,
	.name = "counts_cpus");
