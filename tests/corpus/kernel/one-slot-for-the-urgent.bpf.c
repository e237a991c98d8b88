/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Keeps the last task that woke up in a single slot that the next dispatch() serves. A second one that comes
 * before takes the slot, and the first is out.
 */
#include <schedtui.bpf.h>

char _license[] SEC("license") = "GPL";

#define SHARED_DSQ 1

UEI_DEFINE(uei);

static s32 urgent;

s32 BPF_STRUCT_OPS(one_slot_for_the_urgent_select_cpu, struct task_struct *p, s32 prev_cpu, u64 wake_flags)
{
	return prev_cpu;
}

void BPF_STRUCT_OPS(one_slot_for_the_urgent_enqueue, struct task_struct *p, u64 enq_flags)
{
	if (!(p->flags & PF_KTHREAD) && (enq_flags & SCX_ENQ_WAKEUP)) {
		urgent = p->pid;
		kick_idle_cpu(p);
		return;
	}
	scx_bpf_dsq_insert(p, SHARED_DSQ, 5 * NSEC_PER_MSEC, enq_flags);
	kick_idle_cpu(p);
}

void BPF_STRUCT_OPS(one_slot_for_the_urgent_dispatch, s32 cpu, struct task_struct *prev)
{
	struct task_struct *p;
	s32 pid = __sync_lock_test_and_set(&urgent, 0);

	p = pid ? bpf_task_from_pid(pid) : NULL;
	if (p) {
		scx_bpf_dsq_insert(p, SHARED_DSQ, 5 * NSEC_PER_MSEC, 0);
		bpf_task_release(p);
	}
	scx_bpf_dsq_move_to_local(SHARED_DSQ);
}

s32 BPF_STRUCT_OPS_SLEEPABLE(one_slot_for_the_urgent_init)
{
	return scx_bpf_create_dsq(SHARED_DSQ, NUMA_NO_NODE);
}

void BPF_STRUCT_OPS(one_slot_for_the_urgent_exit, struct scx_exit_info *info)
{
	UEI_RECORD(uei, info);
}

SCX_OPS_DEFINE(one_slot_for_the_urgent_ops,
	.select_cpu = (void *)one_slot_for_the_urgent_select_cpu,
	.enqueue = (void *)one_slot_for_the_urgent_enqueue,
	.dispatch = (void *)one_slot_for_the_urgent_dispatch,
	.init = (void *)one_slot_for_the_urgent_init,
	.exit = (void *)one_slot_for_the_urgent_exit,
	.timeout_ms = 2000,
	.name = "one_slot_for_the_urgent");
