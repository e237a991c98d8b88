/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A loop of eight million rounds, in a loop of eight million rounds: legal, and it takes days. The CPU that comes
 * here is gone.
 */
#include <schedtui.bpf.h>

char _license[] SEC("license") = "GPL";

#define SHARED_DSQ 1

UEI_DEFINE(uei);

u64 sum;

static int loop_in_a_loop_inner(u32 i, void *context)
{
	__sync_fetch_and_add(&sum, i);
	return 0;
}

static int loop_in_a_loop_outer(u32 i, void *context)
{
	bpf_loop(1 << 23, loop_in_a_loop_inner, NULL, 0);
	return 0;
}

void BPF_STRUCT_OPS(loop_in_a_loop_enqueue, struct task_struct *p, u64 enq_flags)
{
	if (p->static_prio > 125)
		bpf_loop(1 << 23, loop_in_a_loop_outer, NULL, 0);
	scx_bpf_dsq_insert(p, SHARED_DSQ, 5 * NSEC_PER_MSEC, enq_flags);
	kick_idle_cpu(p);
}

void BPF_STRUCT_OPS(loop_in_a_loop_dispatch, s32 cpu, struct task_struct *prev)
{
	scx_bpf_dsq_move_to_local(SHARED_DSQ);
}

s32 BPF_STRUCT_OPS_SLEEPABLE(loop_in_a_loop_init)
{
	return scx_bpf_create_dsq(SHARED_DSQ, NUMA_NO_NODE);
}

void BPF_STRUCT_OPS(loop_in_a_loop_exit, struct scx_exit_info *info)
{
	UEI_RECORD(uei, info);
}

SCX_OPS_DEFINE(loop_in_a_loop_ops,
	.enqueue = (void *)loop_in_a_loop_enqueue,
	.dispatch = (void *)loop_in_a_loop_dispatch,
	.init = (void *)loop_in_a_loop_init,
	.exit = (void *)loop_in_a_loop_exit,
	.timeout_ms = 2000,
	.name = "loop_in_a_loop");
