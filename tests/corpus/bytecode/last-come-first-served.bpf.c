/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The newest in the queue runs next. Whoever used its slice up is the newest again.
 */
#include <schedtui.bpf.h>

char _license[] SEC("license") = "GPL";

#define SHARED_DSQ 1

UEI_DEFINE(uei);

void BPF_STRUCT_OPS(last_come_first_served_enqueue, struct task_struct *p, u64 enq_flags)
{
	scx_bpf_dsq_insert(p, SHARED_DSQ, 5 * NSEC_PER_MSEC, enq_flags | SCX_ENQ_HEAD);
	kick_idle_cpu(p);
}

void BPF_STRUCT_OPS(last_come_first_served_dispatch, s32 cpu, struct task_struct *prev)
{
	scx_bpf_dsq_move_to_local(SHARED_DSQ);
}

s32 BPF_STRUCT_OPS_SLEEPABLE(last_come_first_served_init)
{
	return scx_bpf_create_dsq(SHARED_DSQ, NUMA_NO_NODE);
}

void BPF_STRUCT_OPS(last_come_first_served_exit, struct scx_exit_info *info)
{
	UEI_RECORD(uei, info);
}

SCX_OPS_DEFINE(last_come_first_served_ops,
	.enqueue = (void *)last_come_first_served_enqueue,
	.dispatch = (void *)last_come_first_served_dispatch,
	.init = (void *)last_come_first_served_init,
	.exit = (void *)last_come_first_served_exit,
	.timeout_ms = 2000,
	.name = "last_come_first_served");
