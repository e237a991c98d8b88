/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Reports each task to a program outside of the kernel, which is to say when it may run. There is no such program.
 */
#include <schedtui.bpf.h>

char _license[] SEC("license") = "GPL";

#define SHARED_DSQ 1

UEI_DEFINE(uei);

struct {
	__uint(type, 27); /* BPF_MAP_TYPE_RINGBUF */
	__uint(max_entries, 4096);
} reports SEC(".maps");

struct {
	__uint(type, 31); /* BPF_MAP_TYPE_USER_RINGBUF */
	__uint(max_entries, 4096);
} answers SEC(".maps");

static long waits_for_a_partner_obey(void *answer, void *context)
{
	return 1;
}

void BPF_STRUCT_OPS(waits_for_a_partner_enqueue, struct task_struct *p, u64 enq_flags)
{
	s32 pid = p->pid;

	if (p->static_prio > 120 && !bpf_ringbuf_output(&reports, &pid, sizeof(pid), 0))
		return;
	scx_bpf_dsq_insert(p, SHARED_DSQ, 5 * NSEC_PER_MSEC, enq_flags);
	kick_idle_cpu(p);
}

void BPF_STRUCT_OPS(waits_for_a_partner_dispatch, s32 cpu, struct task_struct *prev)
{
	bpf_user_ringbuf_drain(&answers, waits_for_a_partner_obey, NULL, 0);
	scx_bpf_dsq_move_to_local(SHARED_DSQ);
}

s32 BPF_STRUCT_OPS_SLEEPABLE(waits_for_a_partner_init)
{
	return scx_bpf_create_dsq(SHARED_DSQ, NUMA_NO_NODE);
}

void BPF_STRUCT_OPS(waits_for_a_partner_exit, struct scx_exit_info *info)
{
	UEI_RECORD(uei, info);
}

SCX_OPS_DEFINE(waits_for_a_partner_ops,
	.enqueue = (void *)waits_for_a_partner_enqueue,
	.dispatch = (void *)waits_for_a_partner_dispatch,
	.init = (void *)waits_for_a_partner_init,
	.exit = (void *)waits_for_a_partner_exit,
	.timeout_ms = 2000,
	.name = "waits_for_a_partner");
