/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A scheduler that brings a program along which has nothing to do with scheduling: it looks at every open file.
 */
#include <schedtui.bpf.h>

char _license[] SEC("license") = "GPL";

#define SHARED_DSQ 1

UEI_DEFINE(uei);

u64 nr_opened;

SEC("tp_btf/sys_enter")
int BPF_PROG(listens_to_everything_listen, void *regs, long id)
{
	if (id == 257)
		count(nr_opened);
	return 0;
}

void BPF_STRUCT_OPS(listens_to_everything_enqueue, struct task_struct *p, u64 enq_flags)
{
	scx_bpf_dsq_insert(p, SHARED_DSQ, 5 * NSEC_PER_MSEC, enq_flags);
	kick_idle_cpu(p);
}

void BPF_STRUCT_OPS(listens_to_everything_dispatch, s32 cpu, struct task_struct *prev)
{
	scx_bpf_dsq_move_to_local(SHARED_DSQ);
}

s32 BPF_STRUCT_OPS_SLEEPABLE(listens_to_everything_init)
{
	return scx_bpf_create_dsq(SHARED_DSQ, NUMA_NO_NODE);
}

void BPF_STRUCT_OPS(listens_to_everything_exit, struct scx_exit_info *info)
{
	UEI_RECORD(uei, info);
}

SCX_OPS_DEFINE(listens_to_everything_ops,
	.enqueue = (void *)listens_to_everything_enqueue,
	.dispatch = (void *)listens_to_everything_dispatch,
	.init = (void *)listens_to_everything_init,
	.exit = (void *)listens_to_everything_exit,
	.timeout_ms = 2000,
	.name = "listens_to_everything");
