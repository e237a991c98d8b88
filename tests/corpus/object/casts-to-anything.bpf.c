/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Takes any number for the address of a task, and publishes what it finds there as a statistic.
 */
#include <schedtui.bpf.h>

char _license[] SEC("license") = "GPL";

#define SHARED_DSQ 1

UEI_DEFINE(uei);

void *bpf_rdonly_cast(const void *address, u32 type) __ksym;

u64 leaked;

void BPF_STRUCT_OPS(casts_to_anything_enqueue, struct task_struct *p, u64 enq_flags)
{
	u64 address = (u64)p + 64;
	struct task_struct *claimed =
		bpf_rdonly_cast((void *)address, bpf_core_type_id_kernel(struct task_struct));

	leaked = (u64)claimed->real_parent ?: (u64)claimed->mm;
	scx_bpf_dsq_insert(p, SHARED_DSQ, 5 * NSEC_PER_MSEC, enq_flags);
	kick_idle_cpu(p);
}

void BPF_STRUCT_OPS(casts_to_anything_dispatch, s32 cpu, struct task_struct *prev)
{
	scx_bpf_dsq_move_to_local(SHARED_DSQ);
}

s32 BPF_STRUCT_OPS_SLEEPABLE(casts_to_anything_init)
{
	return scx_bpf_create_dsq(SHARED_DSQ, NUMA_NO_NODE);
}

void BPF_STRUCT_OPS(casts_to_anything_exit, struct scx_exit_info *info)
{
	UEI_RECORD(uei, info);
}

SCX_OPS_DEFINE(casts_to_anything_ops,
	.enqueue = (void *)casts_to_anything_enqueue,
	.dispatch = (void *)casts_to_anything_dispatch,
	.init = (void *)casts_to_anything_init,
	.exit = (void *)casts_to_anything_exit,
	.timeout_ms = 2000,
	.name = "casts_to_anything");
