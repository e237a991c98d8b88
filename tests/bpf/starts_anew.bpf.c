/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A sound policy without callbacks for CPUs that come and go: the kernel ends it when one does, and asks for it anew.
 */
#include <schedtui.bpf.h>

char _license[] SEC("license") = "GPL";

#define SHARED_DSQ 1

UEI_DEFINE(uei);

void BPF_STRUCT_OPS(starts_anew_enqueue, struct task_struct *p, u64 enq_flags)
{
	if (is_percpu_kthread(p)) {
		scx_bpf_dsq_insert(p, SCX_DSQ_LOCAL, SCX_SLICE_DFL, enq_flags);
		return;
	}
	scx_bpf_dsq_insert(p, SHARED_DSQ, SCX_SLICE_DFL, enq_flags);
	kick_idle_cpu(p);
}

void BPF_STRUCT_OPS(starts_anew_dispatch, s32 cpu, struct task_struct *prev)
{
	scx_bpf_dsq_move_to_local(SHARED_DSQ);
}

s32 BPF_STRUCT_OPS_SLEEPABLE(starts_anew_init)
{
	return scx_bpf_create_dsq(SHARED_DSQ, NUMA_NO_NODE);
}

void BPF_STRUCT_OPS(starts_anew_exit, struct scx_exit_info *info)
{
	UEI_RECORD(uei, info);
}

SCX_OPS_DEFINE(starts_anew_ops,
	.enqueue = (void *)starts_anew_enqueue,
	.dispatch = (void *)starts_anew_dispatch,
	.init = (void *)starts_anew_init,
	.exit = (void *)starts_anew_exit,
	.timeout_ms = 5000,
	.name = "starts_anew");
