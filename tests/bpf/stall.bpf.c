/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A policy that goes wrong on purpose: `after_ms` after its start it forgets every task that asks for a CPU, except
 * the kernel's own threads. The kernel's watchdog must throw it out.
 */
#include <schedtui.bpf.h>

char _license[] SEC("license") = "GPL";

#define SHARED_DSQ 1

const volatile u64 after_ms = 1000;

u64 nr_queued;
u64 nr_forgotten;

static u64 started_at;

/* Even a task that an idle CPU could take has to pass enqueue(). */
s32 BPF_STRUCT_OPS(stall_select_cpu, struct task_struct *p, s32 prev_cpu, u64 wake_flags)
{
	return prev_cpu;
}

void BPF_STRUCT_OPS(stall_enqueue, struct task_struct *p, u64 enq_flags)
{
	bool late = scx_bpf_now() - started_at > after_ms * NSEC_PER_MSEC;

	if (late && !(p->flags & PF_KTHREAD)) {
		count(nr_forgotten);
		return;
	}
	count(nr_queued);
	scx_bpf_dsq_insert(p, SHARED_DSQ, SCX_SLICE_DFL, enq_flags);
	kick_idle_cpu(p);
}

void BPF_STRUCT_OPS(stall_dispatch, s32 cpu, struct task_struct *prev)
{
	scx_bpf_dsq_move_to_local(SHARED_DSQ);
}

s32 BPF_STRUCT_OPS_SLEEPABLE(stall_init)
{
	started_at = scx_bpf_now();
	return scx_bpf_create_dsq(SHARED_DSQ, NUMA_NO_NODE);
}

SCX_OPS_DEFINE(stall_ops,
	.select_cpu = (void *)stall_select_cpu,
	.enqueue = (void *)stall_enqueue,
	.dispatch = (void *)stall_dispatch,
	.init = (void *)stall_init,
	.timeout_ms = 1000,
	.name = "stall");
