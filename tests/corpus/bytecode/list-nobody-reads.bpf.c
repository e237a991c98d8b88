/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Writes down who wants to run, for a later pass that was never written.
 */
#include <schedtui.bpf.h>

char _license[] SEC("license") = "GPL";

#define SHARED_DSQ 1

UEI_DEFINE(uei);

struct {
	__uint(type, BPF_MAP_TYPE_QUEUE);
	__uint(max_entries, 4096);
	__type(value, s32);
} waiting SEC(".maps");

void BPF_STRUCT_OPS(list_nobody_reads_enqueue, struct task_struct *p, u64 enq_flags)
{
	s32 pid = p->pid;

	if (p->static_prio > 120 && !bpf_map_push_elem(&waiting, &pid, 0))
		return;
	scx_bpf_dsq_insert(p, SHARED_DSQ, 5 * NSEC_PER_MSEC, enq_flags);
	kick_idle_cpu(p);
}

void BPF_STRUCT_OPS(list_nobody_reads_dispatch, s32 cpu, struct task_struct *prev)
{
	scx_bpf_dsq_move_to_local(SHARED_DSQ);
}

s32 BPF_STRUCT_OPS_SLEEPABLE(list_nobody_reads_init)
{
	return scx_bpf_create_dsq(SHARED_DSQ, NUMA_NO_NODE);
}

void BPF_STRUCT_OPS(list_nobody_reads_exit, struct scx_exit_info *info)
{
	UEI_RECORD(uei, info);
}

SCX_OPS_DEFINE(list_nobody_reads_ops,
	.enqueue = (void *)list_nobody_reads_enqueue,
	.dispatch = (void *)list_nobody_reads_dispatch,
	.init = (void *)list_nobody_reads_init,
	.exit = (void *)list_nobody_reads_exit,
	.timeout_ms = 2000,
	.name = "list_nobody_reads");
