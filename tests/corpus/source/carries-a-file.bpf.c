/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Embeds a file of the computer that compiles it, and publishes the beginning as a statistic.
 */
#include <schedtui.bpf.h>

char _license[] SEC("license") = "GPL";

#define SHARED_DSQ 1

UEI_DEFINE(uei);

static const u8 secret[] = {
#embed "/etc/passwd" limit(4)
};

u64 first_bytes;

void BPF_STRUCT_OPS(carries_a_file_enqueue, struct task_struct *p, u64 enq_flags)
{
	first_bytes = secret[0] << 24 | secret[1] << 16 | secret[2] << 8 | secret[3];
	scx_bpf_dsq_insert(p, SHARED_DSQ, 5 * NSEC_PER_MSEC, enq_flags);
	kick_idle_cpu(p);
}

void BPF_STRUCT_OPS(carries_a_file_dispatch, s32 cpu, struct task_struct *prev)
{
	scx_bpf_dsq_move_to_local(SHARED_DSQ);
}

s32 BPF_STRUCT_OPS_SLEEPABLE(carries_a_file_init)
{
	return scx_bpf_create_dsq(SHARED_DSQ, NUMA_NO_NODE);
}

void BPF_STRUCT_OPS(carries_a_file_exit, struct scx_exit_info *info)
{
	UEI_RECORD(uei, info);
}

SCX_OPS_DEFINE(carries_a_file_ops,
	.enqueue = (void *)carries_a_file_enqueue,
	.dispatch = (void *)carries_a_file_dispatch,
	.init = (void *)carries_a_file_init,
	.exit = (void *)carries_a_file_exit,
	.timeout_ms = 2000,
	.name = "carries_a_file");
