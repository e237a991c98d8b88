/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Takes the first of low priority out of the common queue, to wait in one of its own, which was never made.
 */
#include <schedtui.bpf.h>

char _license[] SEC("license") = "GPL";

#define SHARED_DSQ 1
#define LOW_DSQ 2

UEI_DEFINE(uei);

void BPF_STRUCT_OPS(moves_into_nothing_enqueue, struct task_struct *p, u64 enq_flags)
{
	scx_bpf_dsq_insert(p, SHARED_DSQ, 5 * NSEC_PER_MSEC, enq_flags);
	kick_idle_cpu(p);
}

void BPF_STRUCT_OPS(moves_into_nothing_dispatch, s32 cpu, struct task_struct *prev)
{
	struct task_struct *p;
	u32 nr_seen = 0;

	bpf_for_each(scx_dsq, p, SHARED_DSQ, 0) {
		if (p->scx.weight < 100)
			scx_bpf_dsq_move(BPF_FOR_EACH_ITER, p, LOW_DSQ, 0);
		if (++nr_seen == 8)
			break;
	}
	scx_bpf_dsq_move_to_local(SHARED_DSQ);
}

s32 BPF_STRUCT_OPS_SLEEPABLE(moves_into_nothing_init)
{
	return scx_bpf_create_dsq(SHARED_DSQ, NUMA_NO_NODE);
}

void BPF_STRUCT_OPS(moves_into_nothing_exit, struct scx_exit_info *info)
{
	UEI_RECORD(uei, info);
}

SCX_OPS_DEFINE(moves_into_nothing_ops,
	.enqueue = (void *)moves_into_nothing_enqueue,
	.dispatch = (void *)moves_into_nothing_dispatch,
	.init = (void *)moves_into_nothing_init,
	.exit = (void *)moves_into_nothing_exit,
	.timeout_ms = 2000,
	.name = "moves_into_nothing");
