/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Keeps a waiting list of its own, a queue of process ids, and does not look whether there is still room in it.
 * Whoever comes when it is full is never heard of again.
 */
#include <schedtui.bpf.h>

char _license[] SEC("license") = "GPL";

#define SHARED_DSQ 1
#define LIST_LENGTH 4

UEI_DEFINE(uei);

struct {
	__uint(type, BPF_MAP_TYPE_QUEUE);
	__uint(max_entries, LIST_LENGTH);
	__type(value, s32);
} waiting SEC(".maps");

u64 nr_listed;

s32 BPF_STRUCT_OPS(full_waiting_list_select_cpu, struct task_struct *p, s32 prev_cpu, u64 wake_flags)
{
	return prev_cpu;
}

void BPF_STRUCT_OPS(full_waiting_list_enqueue, struct task_struct *p, u64 enq_flags)
{
	s32 pid = p->pid;

	if (p->flags & PF_KTHREAD) {
		scx_bpf_dsq_insert(p, SCX_DSQ_LOCAL, SCX_SLICE_DFL, enq_flags);
		return;
	}
	bpf_map_push_elem(&waiting, &pid, 0);
	count(nr_listed);
	kick_idle_cpu(p);
}

void BPF_STRUCT_OPS(full_waiting_list_dispatch, s32 cpu, struct task_struct *prev)
{
	struct task_struct *p;
	s32 pid;
	int i;

	bpf_for(i, 0, LIST_LENGTH) {
		if (scx_bpf_dsq_move_to_local(SHARED_DSQ) || bpf_map_pop_elem(&waiting, &pid))
			return;
		p = bpf_task_from_pid(pid);
		if (!p)
			continue;
		scx_bpf_dsq_insert(p, SHARED_DSQ, 5 * NSEC_PER_MSEC, 0);
		bpf_task_release(p);
	}
}

s32 BPF_STRUCT_OPS_SLEEPABLE(full_waiting_list_init)
{
	return scx_bpf_create_dsq(SHARED_DSQ, NUMA_NO_NODE);
}

void BPF_STRUCT_OPS(full_waiting_list_exit, struct scx_exit_info *info)
{
	UEI_RECORD(uei, info);
}

SCX_OPS_DEFINE(full_waiting_list_ops,
	.select_cpu = (void *)full_waiting_list_select_cpu,
	.enqueue = (void *)full_waiting_list_enqueue,
	.dispatch = (void *)full_waiting_list_dispatch,
	.init = (void *)full_waiting_list_init,
	.exit = (void *)full_waiting_list_exit,
	.timeout_ms = 2000,
	.name = "full_waiting_list");
