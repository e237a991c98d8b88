/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A policy as older sources are written: the headers, macros and kfunc names of 6.12, and no name of schedtui's.
 * It must compile and run all the same.
 */
#include "vmlinux.h"
#include <scx/common.bpf.h>
#include <scx/compat.bpf.h>
#include <scx/user_exit_info.h>

char _license[] SEC("license") = "GPL";

UEI_DEFINE(uei);

#define QUEUE 7

const volatile bool by_vtime = true;
static u64 vtime_now;
u64 nr_enqueued;

private(LOCK) struct bpf_spin_lock lock;
static u32 nr_init;

s32 BPF_STRUCT_OPS(old_select_cpu, struct task_struct *p, s32 prev_cpu, u64 wake_flags)
{
	bool is_idle = false;
	s32 cpu = scx_bpf_select_cpu_dfl(p, prev_cpu, wake_flags, &is_idle);

	if (is_idle)
		scx_bpf_dispatch(p, SCX_DSQ_LOCAL, SCX_SLICE_DFL, 0);
	return cpu;
}

void BPF_STRUCT_OPS(old_enqueue, struct task_struct *p, u64 enq_flags)
{
	__sync_fetch_and_add(&nr_enqueued, 1);
	if (by_vtime) {
		u64 vtime = p->scx.dsq_vtime;

		if (vtime_before(vtime, vtime_now - SCX_SLICE_DFL))
			vtime = vtime_now - SCX_SLICE_DFL;
		scx_bpf_dispatch_vtime(p, QUEUE, SCX_SLICE_DFL, vtime, enq_flags);
	} else {
		scx_bpf_dispatch(p, QUEUE, SCX_SLICE_DFL, enq_flags);
	}
}

void BPF_STRUCT_OPS(old_dispatch, s32 cpu, struct task_struct *prev)
{
	struct task_struct *p;

	bpf_for_each(scx_dsq, p, QUEUE, 0) {
		if (!bpf_cpumask_test_cpu(cpu, p->cpus_ptr))
			continue;
		__COMPAT_scx_bpf_dsq_move(BPF_FOR_EACH_ITER, p, SCX_DSQ_LOCAL_ON | cpu, SCX_ENQ_HEAD);
		return;
	}
	scx_bpf_consume(QUEUE);
}

void BPF_STRUCT_OPS(old_running, struct task_struct *p)
{
	if (vtime_before(vtime_now, p->scx.dsq_vtime))
		vtime_now = p->scx.dsq_vtime;
}

void BPF_STRUCT_OPS(old_stopping, struct task_struct *p, bool runnable)
{
	p->scx.dsq_vtime += (SCX_SLICE_DFL - p->scx.slice) * 100 / p->scx.weight;
}

void BPF_STRUCT_OPS(old_enable, struct task_struct *p)
{
	p->scx.dsq_vtime = vtime_now;
}

s32 BPF_STRUCT_OPS_SLEEPABLE(old_init)
{
	bpf_spin_lock(&lock);
	nr_init++;
	bpf_spin_unlock(&lock);
	if (nr_init != 1)
		scx_bpf_error("started %d times", nr_init);
	return scx_bpf_create_dsq(QUEUE, -1);
}

void BPF_STRUCT_OPS(old_exit, struct scx_exit_info *ei)
{
	UEI_RECORD(uei, ei);
}

SCX_OPS_DEFINE(old_ops,
	       .select_cpu = (void *)old_select_cpu,
	       .enqueue = (void *)old_enqueue,
	       .dispatch = (void *)old_dispatch,
	       .running = (void *)old_running,
	       .stopping = (void *)old_stopping,
	       .enable = (void *)old_enable,
	       .init = (void *)old_init,
	       .exit = (void *)old_exit,
	       .timeout_ms = 5000,
	       .name = "old_style");
