/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The turn of a task is the longer, the lower its weight is: `nice` does the opposite of what it says.
 */
#include <schedtui.bpf.h>

char _license[] SEC("license") = "GPL";

#define SHARED_DSQ 1

UEI_DEFINE(uei);

void BPF_STRUCT_OPS(weights_upside_down_enqueue, struct task_struct *p, u64 enq_flags)
{
	u64 slice = 10 * NSEC_PER_MSEC * 100 / max(p->scx.weight, 1);

	scx_bpf_dsq_insert(p, SHARED_DSQ, clamp_u64(slice, NSEC_PER_MSEC, 100 * NSEC_PER_MSEC), enq_flags);
	kick_idle_cpu(p);
}

void BPF_STRUCT_OPS(weights_upside_down_dispatch, s32 cpu, struct task_struct *prev)
{
	scx_bpf_dsq_move_to_local(SHARED_DSQ);
}

s32 BPF_STRUCT_OPS_SLEEPABLE(weights_upside_down_init)
{
	return scx_bpf_create_dsq(SHARED_DSQ, NUMA_NO_NODE);
}

void BPF_STRUCT_OPS(weights_upside_down_exit, struct scx_exit_info *info)
{
	UEI_RECORD(uei, info);
}

SCX_OPS_DEFINE(weights_upside_down_ops,
	.enqueue = (void *)weights_upside_down_enqueue,
	.dispatch = (void *)weights_upside_down_dispatch,
	.init = (void *)weights_upside_down_init,
	.exit = (void *)weights_upside_down_exit,
	.timeout_ms = 5000,
	.name = "weights_upside_down");
