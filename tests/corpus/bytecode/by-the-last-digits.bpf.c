/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Sorts by what each task has used, and keeps that in as many accounts as two bits of a process id can tell apart: who
 * shares them with another gets half.
 */
#include <schedtui.bpf.h>

char _license[] SEC("license") = "GPL";

#define SHARED_DSQ 1
#define NR_ACCOUNTS 4
#define MAX_CPUS 1024

UEI_DEFINE(uei);

static u64 used[NR_ACCOUNTS];
static u64 counted[MAX_CPUS];

static u64 *account_of(const struct task_struct *p)
{
	return &used[(u32)p->pid % NR_ACCOUNTS];
}

void BPF_STRUCT_OPS(by_the_last_digits_enqueue, struct task_struct *p, u64 enq_flags)
{
	scx_bpf_dsq_insert_vtime(p, SHARED_DSQ, 5 * NSEC_PER_MSEC, *account_of(p), enq_flags);
	kick_idle_cpu(p);
}

void BPF_STRUCT_OPS(by_the_last_digits_dispatch, s32 cpu, struct task_struct *prev)
{
	scx_bpf_dsq_move_to_local(SHARED_DSQ);
}

void BPF_STRUCT_OPS(by_the_last_digits_running, struct task_struct *p)
{
	counted[scx_bpf_task_cpu(p) & (MAX_CPUS - 1)] = p->se.sum_exec_runtime;
}

void BPF_STRUCT_OPS(by_the_last_digits_stopping, struct task_struct *p, bool runnable)
{
	*account_of(p) += p->se.sum_exec_runtime - counted[scx_bpf_task_cpu(p) & (MAX_CPUS - 1)];
}

s32 BPF_STRUCT_OPS_SLEEPABLE(by_the_last_digits_init)
{
	return scx_bpf_create_dsq(SHARED_DSQ, NUMA_NO_NODE);
}

void BPF_STRUCT_OPS(by_the_last_digits_exit, struct scx_exit_info *info)
{
	UEI_RECORD(uei, info);
}

SCX_OPS_DEFINE(by_the_last_digits_ops,
	.enqueue = (void *)by_the_last_digits_enqueue,
	.dispatch = (void *)by_the_last_digits_dispatch,
	.running = (void *)by_the_last_digits_running,
	.stopping = (void *)by_the_last_digits_stopping,
	.init = (void *)by_the_last_digits_init,
	.exit = (void *)by_the_last_digits_exit,
	.timeout_ms = 2000,
	.name = "by_the_last_digits");
