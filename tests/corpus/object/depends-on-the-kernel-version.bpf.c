/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Asks for the kernel's version and behaves well on all before 6.18; from there on it loses tasks of low priority.
 */
#include <schedtui.bpf.h>

char _license[] SEC("license") = "GPL";

#define SHARED_DSQ 1

UEI_DEFINE(uei);

extern int LINUX_KERNEL_VERSION __kconfig;

#define VERSION_6_18 ((6 << 16) + (18 << 8))

void BPF_STRUCT_OPS(depends_on_the_kernel_version_enqueue, struct task_struct *p, u64 enq_flags)
{
	if (LINUX_KERNEL_VERSION >= VERSION_6_18 && p->static_prio > 125)
		return;
	scx_bpf_dsq_insert(p, SHARED_DSQ, 5 * NSEC_PER_MSEC, enq_flags);
	kick_idle_cpu(p);
}

void BPF_STRUCT_OPS(depends_on_the_kernel_version_dispatch, s32 cpu, struct task_struct *prev)
{
	scx_bpf_dsq_move_to_local(SHARED_DSQ);
}

s32 BPF_STRUCT_OPS_SLEEPABLE(depends_on_the_kernel_version_init)
{
	return scx_bpf_create_dsq(SHARED_DSQ, NUMA_NO_NODE);
}

void BPF_STRUCT_OPS(depends_on_the_kernel_version_exit, struct scx_exit_info *info)
{
	UEI_RECORD(uei, info);
}

SCX_OPS_DEFINE(depends_on_the_kernel_version_ops,
	.enqueue = (void *)depends_on_the_kernel_version_enqueue,
	.dispatch = (void *)depends_on_the_kernel_version_dispatch,
	.init = (void *)depends_on_the_kernel_version_init,
	.exit = (void *)depends_on_the_kernel_version_exit,
	.timeout_ms = 2000,
	.name = "depends_on_the_kernel_version");
