/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Parks background tasks until eight of them have come together, to run them in one go. When there are fewer, they
 * wait for ever.
 */
#include <schedtui.bpf.h>

char _license[] SEC("license") = "GPL";

#define SHARED_DSQ 1
#define PARKED_DSQ 2
#define BATCH 8

UEI_DEFINE(uei);

static u32 nr_to_take;

void BPF_STRUCT_OPS(waits_for_a_full_batch_enqueue, struct task_struct *p, u64 enq_flags)
{
	u64 dsq_id = p->static_prio > 120 ? PARKED_DSQ : SHARED_DSQ;

	scx_bpf_dsq_insert(p, dsq_id, 5 * NSEC_PER_MSEC, enq_flags);
	if (scx_bpf_dsq_nr_queued(PARKED_DSQ) >= BATCH)
		nr_to_take = BATCH;
	kick_idle_cpu(p);
}

void BPF_STRUCT_OPS(waits_for_a_full_batch_dispatch, s32 cpu, struct task_struct *prev)
{
	if (nr_to_take && scx_bpf_dsq_move_to_local(PARKED_DSQ)) {
		nr_to_take--;
		return;
	}
	scx_bpf_dsq_move_to_local(SHARED_DSQ);
}

s32 BPF_STRUCT_OPS_SLEEPABLE(waits_for_a_full_batch_init)
{
	s32 error = scx_bpf_create_dsq(SHARED_DSQ, NUMA_NO_NODE);

	return error ?: scx_bpf_create_dsq(PARKED_DSQ, NUMA_NO_NODE);
}

void BPF_STRUCT_OPS(waits_for_a_full_batch_exit, struct scx_exit_info *info)
{
	UEI_RECORD(uei, info);
}

SCX_OPS_DEFINE(waits_for_a_full_batch_ops,
	.enqueue = (void *)waits_for_a_full_batch_enqueue,
	.dispatch = (void *)waits_for_a_full_batch_dispatch,
	.init = (void *)waits_for_a_full_batch_init,
	.exit = (void *)waits_for_a_full_batch_exit,
	.timeout_ms = 2000,
	.name = "waits_for_a_full_batch");
