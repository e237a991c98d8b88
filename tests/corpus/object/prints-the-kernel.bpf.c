/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Has the kernel print its notes on each task in full, and keeps the text where others can read it.
 */
#include <schedtui.bpf.h>

char _license[] SEC("license") = "GPL";

#define SHARED_DSQ 1

UEI_DEFINE(uei);

struct btf_ptr {
	void *ptr;
	u32 type_id;
	u32 flags;
};

char text[256];

u64 nr_printed;

void BPF_STRUCT_OPS(prints_the_kernel_enqueue, struct task_struct *p, u64 enq_flags)
{
	struct btf_ptr what = { .ptr = p, .type_id = bpf_core_type_id_kernel(struct task_struct) };

	if (bpf_snprintf_btf(text, sizeof(text), &what, sizeof(what), 0) > 0)
		count(nr_printed);
	scx_bpf_dsq_insert(p, SHARED_DSQ, 5 * NSEC_PER_MSEC, enq_flags);
	kick_idle_cpu(p);
}

void BPF_STRUCT_OPS(prints_the_kernel_dispatch, s32 cpu, struct task_struct *prev)
{
	scx_bpf_dsq_move_to_local(SHARED_DSQ);
}

s32 BPF_STRUCT_OPS_SLEEPABLE(prints_the_kernel_init)
{
	return scx_bpf_create_dsq(SHARED_DSQ, NUMA_NO_NODE);
}

void BPF_STRUCT_OPS(prints_the_kernel_exit, struct scx_exit_info *info)
{
	UEI_RECORD(uei, info);
}

SCX_OPS_DEFINE(prints_the_kernel_ops,
	.enqueue = (void *)prints_the_kernel_enqueue,
	.dispatch = (void *)prints_the_kernel_dispatch,
	.init = (void *)prints_the_kernel_init,
	.exit = (void *)prints_the_kernel_exit,
	.timeout_ms = 2000,
	.name = "prints_the_kernel");
