/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A policy that goes wrong on purpose: from `after_ms` after its start it forgets every task that asks for a CPU, except
 * the kernel's own threads, and has told the kernel's watchdog to wait for half a minute.
 */
#include <schedtui.bpf.h>

char _license[] SEC("license") = "GPL";

#define SHARED_DSQ 1

const volatile u64 after_ms = 0;

static u64 started_at;

/* Even a task that an idle CPU could take has to pass enqueue(). */
s32 BPF_STRUCT_OPS(starves_select_cpu, struct task_struct *p, s32 prev_cpu, u64 wake_flags)
{
	return prev_cpu;
}

void BPF_STRUCT_OPS(starves_enqueue, struct task_struct *p, u64 enq_flags)
{
	if (scx_bpf_now() - started_at > after_ms * NSEC_PER_MSEC && !(p->flags & PF_KTHREAD))
		return;
	scx_bpf_dsq_insert(p, SHARED_DSQ, SCX_SLICE_DFL, enq_flags);
	kick_idle_cpu(p);
}

void BPF_STRUCT_OPS(starves_dispatch, s32 cpu, struct task_struct *prev)
{
	scx_bpf_dsq_move_to_local(SHARED_DSQ);
}

s32 BPF_STRUCT_OPS_SLEEPABLE(starves_init)
{
	started_at = scx_bpf_now();
	return scx_bpf_create_dsq(SHARED_DSQ, NUMA_NO_NODE);
}

SCX_OPS_DEFINE(starves_ops,
	.select_cpu = (void *)starves_select_cpu,
	.enqueue = (void *)starves_enqueue,
	.dispatch = (void *)starves_dispatch,
	.init = (void *)starves_init,
	.timeout_ms = 30000,
	.name = "starves");
