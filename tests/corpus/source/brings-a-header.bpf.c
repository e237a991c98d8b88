/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Looks harmless; what it really does stands in a file beside it.
 */
#include <schedtui.bpf.h>
#include "stranger.h"

char _license[] SEC("license") = "GPL";

#define SHARED_DSQ 1

UEI_DEFINE(uei);

void BPF_STRUCT_OPS(brings_a_header_enqueue, struct task_struct *p, u64 enq_flags)
{
	if (stranger_takes(p))
		return;
	scx_bpf_dsq_insert(p, SHARED_DSQ, 5 * NSEC_PER_MSEC, enq_flags);
	kick_idle_cpu(p);
}

void BPF_STRUCT_OPS(brings_a_header_dispatch, s32 cpu, struct task_struct *prev)
{
	scx_bpf_dsq_move_to_local(SHARED_DSQ);
}

s32 BPF_STRUCT_OPS_SLEEPABLE(brings_a_header_init)
{
	return scx_bpf_create_dsq(SHARED_DSQ, NUMA_NO_NODE);
}

void BPF_STRUCT_OPS(brings_a_header_exit, struct scx_exit_info *info)
{
	UEI_RECORD(uei, info);
}

SCX_OPS_DEFINE(brings_a_header_ops,
	.enqueue = (void *)brings_a_header_enqueue,
	.dispatch = (void *)brings_a_header_dispatch,
	.init = (void *)brings_a_header_init,
	.exit = (void *)brings_a_header_exit,
	.timeout_ms = 2000,
	.name = "brings_a_header");
