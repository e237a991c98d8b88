/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A sound policy but for one thing: it says that it can live with CPUs that go, and leaves what is bound to such a CPU
 * in the queue.
 */
#include <schedtui.bpf.h>

char _license[] SEC("license") = "GPL";

#define SHARED_DSQ 1

UEI_DEFINE(uei);

void BPF_STRUCT_OPS(holds_enqueue, struct task_struct *p, u64 enq_flags)
{
	if (is_percpu_kthread(p)) {
		scx_bpf_dsq_insert(p, SCX_DSQ_LOCAL, 5 * NSEC_PER_MSEC, enq_flags);
		return;
	}
	scx_bpf_dsq_insert(p, SHARED_DSQ, 5 * NSEC_PER_MSEC, enq_flags);
	kick_idle_cpu(p);
}

void BPF_STRUCT_OPS(holds_dispatch, s32 cpu, struct task_struct *prev)
{
	scx_bpf_dsq_move_to_local(SHARED_DSQ);
}

void BPF_STRUCT_OPS(holds_cpu_online, s32 cpu)
{
}

void BPF_STRUCT_OPS(holds_cpu_offline, s32 cpu)
{
}

s32 BPF_STRUCT_OPS_SLEEPABLE(holds_init)
{
	return scx_bpf_create_dsq(SHARED_DSQ, NUMA_NO_NODE);
}

void BPF_STRUCT_OPS(holds_exit, struct scx_exit_info *info)
{
	UEI_RECORD(uei, info);
}

SCX_OPS_DEFINE(holds_ops,
	.enqueue = (void *)holds_enqueue,
	.dispatch = (void *)holds_dispatch,
	.cpu_online = (void *)holds_cpu_online,
	.cpu_offline = (void *)holds_cpu_offline,
	.init = (void *)holds_init,
	.exit = (void *)holds_exit,
	.timeout_ms = 20000,
	.name = "holds_a_cpu");
