/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Sorts by virtual time, but tasks whose name begins with an odd letter start an hour behind: an inversion of
 * priorities by name.
 */
#include <schedtui.bpf.h>

char _license[] SEC("license") = "GPL";

#define SHARED_DSQ 1
#define HOUR_NS (3600 * NSEC_PER_SEC)

UEI_DEFINE(uei);

static u64 vtime_now;

void BPF_STRUCT_OPS(by_the_first_letter_enqueue, struct task_struct *p, u64 enq_flags)
{
	u64 vtime = p->scx.dsq_vtime;

	if (time_before(vtime, vtime_now - SCX_SLICE_DFL))
		vtime = vtime_now - SCX_SLICE_DFL;
	if (p->comm[0] & 1)
		vtime += HOUR_NS;
	scx_bpf_dsq_insert_vtime(p, SHARED_DSQ, 5 * NSEC_PER_MSEC, vtime, enq_flags);
	kick_idle_cpu(p);
}

void BPF_STRUCT_OPS(by_the_first_letter_running, struct task_struct *p)
{
	if (time_before(vtime_now, p->scx.dsq_vtime))
		vtime_now = p->scx.dsq_vtime;
}

void BPF_STRUCT_OPS(by_the_first_letter_stopping, struct task_struct *p, bool runnable)
{
	u64 used = 5 * NSEC_PER_MSEC - min(p->scx.slice, 5 * NSEC_PER_MSEC);

	scx_bpf_task_set_dsq_vtime(p, p->scx.dsq_vtime + weighted(p, used));
}

void BPF_STRUCT_OPS(by_the_first_letter_enable, struct task_struct *p)
{
	scx_bpf_task_set_dsq_vtime(p, vtime_now);
}

void BPF_STRUCT_OPS(by_the_first_letter_dispatch, s32 cpu, struct task_struct *prev)
{
	scx_bpf_dsq_move_to_local(SHARED_DSQ);
}

s32 BPF_STRUCT_OPS_SLEEPABLE(by_the_first_letter_init)
{
	return scx_bpf_create_dsq(SHARED_DSQ, NUMA_NO_NODE);
}

void BPF_STRUCT_OPS(by_the_first_letter_exit, struct scx_exit_info *info)
{
	UEI_RECORD(uei, info);
}

SCX_OPS_DEFINE(by_the_first_letter_ops,
	.enqueue = (void *)by_the_first_letter_enqueue,
	.dispatch = (void *)by_the_first_letter_dispatch,
	.running = (void *)by_the_first_letter_running,
	.stopping = (void *)by_the_first_letter_stopping,
	.enable = (void *)by_the_first_letter_enable,
	.init = (void *)by_the_first_letter_init,
	.exit = (void *)by_the_first_letter_exit,
	.timeout_ms = 2000,
	.name = "by_the_first_letter");
