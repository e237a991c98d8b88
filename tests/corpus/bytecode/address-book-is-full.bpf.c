/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Writes each program into a table by process id, once. Those that are in it take turns; who found no room is a
 * stranger, and waits for longer.
 */
#include <schedtui.bpf.h>

char _license[] SEC("license") = "GPL";

#define SHARED_DSQ 1
#define MOST_TASKS 24
#define STRANGERS_WAIT_NS (60 * NSEC_PER_SEC)

UEI_DEFINE(uei);

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, MOST_TASKS);
	__type(key, u32);
	__type(value, u64);
} known SEC(".maps");

void BPF_STRUCT_OPS(address_book_is_full_enable, struct task_struct *p)
{
	u64 now = scx_bpf_now();
	u32 pid = p->pid;

	if (!(p->flags & PF_KTHREAD))
		bpf_map_update_elem(&known, &pid, &now, BPF_ANY);
}

void BPF_STRUCT_OPS(address_book_is_full_enqueue, struct task_struct *p, u64 enq_flags)
{
	u64 turn = scx_bpf_now();
	u32 pid = p->pid;

	if (!(p->flags & PF_KTHREAD) && !bpf_map_lookup_elem(&known, &pid))
		turn += STRANGERS_WAIT_NS;
	scx_bpf_dsq_insert_vtime(p, SHARED_DSQ, 5 * NSEC_PER_MSEC, turn, enq_flags);
	kick_idle_cpu(p);
}

void BPF_STRUCT_OPS(address_book_is_full_dispatch, s32 cpu, struct task_struct *prev)
{
	scx_bpf_dsq_move_to_local(SHARED_DSQ);
}

s32 BPF_STRUCT_OPS_SLEEPABLE(address_book_is_full_init)
{
	return scx_bpf_create_dsq(SHARED_DSQ, NUMA_NO_NODE);
}

void BPF_STRUCT_OPS(address_book_is_full_exit, struct scx_exit_info *info)
{
	UEI_RECORD(uei, info);
}

SCX_OPS_DEFINE(address_book_is_full_ops,
	.enable = (void *)address_book_is_full_enable,
	.enqueue = (void *)address_book_is_full_enqueue,
	.dispatch = (void *)address_book_is_full_dispatch,
	.init = (void *)address_book_is_full_init,
	.exit = (void *)address_book_is_full_exit,
	.timeout_ms = 2000,
	.name = "address_book_is_full");
