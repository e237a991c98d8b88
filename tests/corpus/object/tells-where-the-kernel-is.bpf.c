/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Takes the address of a variable of the kernel and publishes it as a statistic: what the kernel hides from
 * attackers.
 */
#include <schedtui.bpf.h>

char _license[] SEC("license") = "GPL";

#define SHARED_DSQ 1

UEI_DEFINE(uei);

extern const struct rq runqueues __ksym;

u64 leaked;

void BPF_STRUCT_OPS(tells_where_the_kernel_is_enqueue, struct task_struct *p, u64 enq_flags)
{
	struct rq *rq = bpf_per_cpu_ptr(&runqueues, 0);

	leaked = (u64)rq;
	scx_bpf_dsq_insert(p, SHARED_DSQ, 5 * NSEC_PER_MSEC, enq_flags);
	kick_idle_cpu(p);
}

void BPF_STRUCT_OPS(tells_where_the_kernel_is_dispatch, s32 cpu, struct task_struct *prev)
{
	scx_bpf_dsq_move_to_local(SHARED_DSQ);
}

s32 BPF_STRUCT_OPS_SLEEPABLE(tells_where_the_kernel_is_init)
{
	return scx_bpf_create_dsq(SHARED_DSQ, NUMA_NO_NODE);
}

void BPF_STRUCT_OPS(tells_where_the_kernel_is_exit, struct scx_exit_info *info)
{
	UEI_RECORD(uei, info);
}

SCX_OPS_DEFINE(tells_where_the_kernel_is_ops,
	.enqueue = (void *)tells_where_the_kernel_is_enqueue,
	.dispatch = (void *)tells_where_the_kernel_is_dispatch,
	.init = (void *)tells_where_the_kernel_is_init,
	.exit = (void *)tells_where_the_kernel_is_exit,
	.timeout_ms = 2000,
	.name = "tells_where_the_kernel_is");
