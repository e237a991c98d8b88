/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Does well on kernels of before 6.18. Where the newer scx_bpf_cpu_curr() exists, it looks at what runs and, when
 * that is more important, leaves the task for later; but nothing ever comes back to it.
 */
#include <schedtui.bpf.h>

char _license[] SEC("license") = "GPL";

#define SHARED_DSQ 1

UEI_DEFINE(uei);

static bool breaks_where_a_call_exists_later(const struct task_struct *p)
{
	struct task_struct *other;
	bool later;

	if (!bpf_ksym_exists(scx_bpf_cpu_curr___form))
		return false;
	bpf_rcu_read_lock();
	other = scx_bpf_cpu_curr___form(scx_bpf_task_cpu(p));
	later = other && other->static_prio < p->static_prio;
	bpf_rcu_read_unlock();
	return later;
}

void BPF_STRUCT_OPS(breaks_where_a_call_exists_enqueue, struct task_struct *p, u64 enq_flags)
{
	if (breaks_where_a_call_exists_later(p))
		return;
	scx_bpf_dsq_insert(p, SHARED_DSQ, 5 * NSEC_PER_MSEC, enq_flags);
	kick_idle_cpu(p);
}

void BPF_STRUCT_OPS(breaks_where_a_call_exists_dispatch, s32 cpu, struct task_struct *prev)
{
	scx_bpf_dsq_move_to_local(SHARED_DSQ);
}

s32 BPF_STRUCT_OPS_SLEEPABLE(breaks_where_a_call_exists_init)
{
	return scx_bpf_create_dsq(SHARED_DSQ, NUMA_NO_NODE);
}

void BPF_STRUCT_OPS(breaks_where_a_call_exists_exit, struct scx_exit_info *info)
{
	UEI_RECORD(uei, info);
}

SCX_OPS_DEFINE(breaks_where_a_call_exists_ops,
	.enqueue = (void *)breaks_where_a_call_exists_enqueue,
	.dispatch = (void *)breaks_where_a_call_exists_dispatch,
	.init = (void *)breaks_where_a_call_exists_init,
	.exit = (void *)breaks_where_a_call_exists_exit,
	.timeout_ms = 2000,
	.name = "breaks_where_a_call_exists");
