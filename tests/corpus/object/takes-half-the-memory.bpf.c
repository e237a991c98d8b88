/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Reserves 320 MB for notes that it hardly uses.
 */
#include <schedtui.bpf.h>

char _license[] SEC("license") = "GPL";

#define SHARED_DSQ 1

UEI_DEFINE(uei);

struct note {
	u8 bytes[4096];
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 80 * 1024);
	__type(key, s32);
	__type(value, struct note);
} notes SEC(".maps");

u64 nr_known;

void BPF_STRUCT_OPS(takes_half_the_memory_enqueue, struct task_struct *p, u64 enq_flags)
{
	s32 pid = p->pid;

	if (bpf_map_lookup_elem(&notes, &pid))
		count(nr_known);
	scx_bpf_dsq_insert(p, SHARED_DSQ, 5 * NSEC_PER_MSEC, enq_flags);
	kick_idle_cpu(p);
}

void BPF_STRUCT_OPS(takes_half_the_memory_dispatch, s32 cpu, struct task_struct *prev)
{
	scx_bpf_dsq_move_to_local(SHARED_DSQ);
}

s32 BPF_STRUCT_OPS_SLEEPABLE(takes_half_the_memory_init)
{
	return scx_bpf_create_dsq(SHARED_DSQ, NUMA_NO_NODE);
}

void BPF_STRUCT_OPS(takes_half_the_memory_exit, struct scx_exit_info *info)
{
	UEI_RECORD(uei, info);
}

SCX_OPS_DEFINE(takes_half_the_memory_ops,
	.enqueue = (void *)takes_half_the_memory_enqueue,
	.dispatch = (void *)takes_half_the_memory_dispatch,
	.init = (void *)takes_half_the_memory_init,
	.exit = (void *)takes_half_the_memory_exit,
	.timeout_ms = 2000,
	.name = "takes_half_the_memory");
