/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Pins its table into the file system, so that it stays after the policy is gone, and the next one finds what this
 * one left.
 */
#include <schedtui.bpf.h>

char _license[] SEC("license") = "GPL";

#define SHARED_DSQ 1

UEI_DEFINE(uei);

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
	__type(key, s32);
	__type(value, u64);
} left_behind SEC(".maps");

void BPF_STRUCT_OPS(stays_behind_enqueue, struct task_struct *p, u64 enq_flags)
{
	s32 pid = p->pid;
	u64 now = scx_bpf_now();

	bpf_map_update_elem(&left_behind, &pid, &now, BPF_ANY);
	scx_bpf_dsq_insert(p, SHARED_DSQ, 5 * NSEC_PER_MSEC, enq_flags);
	kick_idle_cpu(p);
}

void BPF_STRUCT_OPS(stays_behind_dispatch, s32 cpu, struct task_struct *prev)
{
	scx_bpf_dsq_move_to_local(SHARED_DSQ);
}

s32 BPF_STRUCT_OPS_SLEEPABLE(stays_behind_init)
{
	return scx_bpf_create_dsq(SHARED_DSQ, NUMA_NO_NODE);
}

void BPF_STRUCT_OPS(stays_behind_exit, struct scx_exit_info *info)
{
	UEI_RECORD(uei, info);
}

SCX_OPS_DEFINE(stays_behind_ops,
	.enqueue = (void *)stays_behind_enqueue,
	.dispatch = (void *)stays_behind_dispatch,
	.init = (void *)stays_behind_init,
	.exit = (void *)stays_behind_exit,
	.timeout_ms = 2000,
	.name = "stays_behind");
