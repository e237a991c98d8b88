/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Counts for years whenever a task has to wait, with the CPU's run queue locked. No verifier can tell: how far it
 * counts is only known when it runs, and it does come to an end.
 */
#include <schedtui.bpf.h>

char _license[] SEC("license") = "GPL";

#define SHARED_DSQ 1

UEI_DEFINE(uei);

u32 rounds;

u64 nr_rounds;

void BPF_STRUCT_OPS(hangs_the_guest_enqueue, struct task_struct *p, u64 enq_flags)
{
	u32 i, j;

	bpf_for(i, 0, rounds)
		bpf_for(j, 0, rounds)
			count(nr_rounds);
	scx_bpf_dsq_insert(p, SHARED_DSQ, SCX_SLICE_DFL, enq_flags);
	kick_idle_cpu(p);
}

void BPF_STRUCT_OPS(hangs_the_guest_dispatch, s32 cpu, struct task_struct *prev)
{
	scx_bpf_dsq_move_to_local(SHARED_DSQ);
}

s32 BPF_STRUCT_OPS_SLEEPABLE(hangs_the_guest_init)
{
	rounds = 1 << 23; /* the most that the kernel counts to at a time */
	return scx_bpf_create_dsq(SHARED_DSQ, NUMA_NO_NODE);
}

void BPF_STRUCT_OPS(hangs_the_guest_exit, struct scx_exit_info *info)
{
	UEI_RECORD(uei, info);
}

SCX_OPS_DEFINE(hangs_the_guest_ops,
	.enqueue = (void *)hangs_the_guest_enqueue,
	.dispatch = (void *)hangs_the_guest_dispatch,
	.init = (void *)hangs_the_guest_init,
	.exit = (void *)hangs_the_guest_exit,
	.timeout_ms = 2000,
	.name = "hangs_the_guest");
