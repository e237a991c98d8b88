/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Leaves it to a timer to wake idle CPUs up for what waits, and the timer stops after fifty rounds.
 */
#include <schedtui.bpf.h>

char _license[] SEC("license") = "GPL";

#define SHARED_DSQ 1
#define PERIOD_NS (10 * NSEC_PER_MSEC)
#define ROUNDS 50

UEI_DEFINE(uei);

struct ticker {
	struct bpf_timer timer;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct ticker);
} tickers SEC(".maps");

u64 nr_rounds;

static int timer_not_rearmed_wake_all(void *map, u32 *key, struct bpf_timer *timer)
{
	int i;

	bpf_for(i, 0, scx_bpf_nr_cpu_ids())
		scx_bpf_kick_cpu(i, SCX_KICK_IDLE);
	if (++nr_rounds < ROUNDS)
		bpf_timer_start(timer, PERIOD_NS, 0);
	return 0;
}

s32 BPF_STRUCT_OPS(timer_not_rearmed_select_cpu, struct task_struct *p, s32 prev_cpu, u64 wake_flags)
{
	return bpf_cpumask_test_cpu(0, p->cpus_ptr) ? 0 : prev_cpu;
}

void BPF_STRUCT_OPS(timer_not_rearmed_enqueue, struct task_struct *p, u64 enq_flags)
{
	scx_bpf_dsq_insert(p, SHARED_DSQ, 400 * NSEC_PER_MSEC, enq_flags);
}

s32 BPF_STRUCT_OPS_SLEEPABLE(timer_not_rearmed_init)
{
	u32 key = 0;
	struct ticker *ticker = bpf_map_lookup_elem(&tickers, &key);

	if (!ticker)
		return -ENOENT;
	bpf_timer_init(&ticker->timer, &tickers, CLOCK_MONOTONIC);
	bpf_timer_set_callback(&ticker->timer, timer_not_rearmed_wake_all);
	bpf_timer_start(&ticker->timer, PERIOD_NS, 0);
	return scx_bpf_create_dsq(SHARED_DSQ, NUMA_NO_NODE);
}

void BPF_STRUCT_OPS(timer_not_rearmed_dispatch, s32 cpu, struct task_struct *prev)
{
	scx_bpf_dsq_move_to_local(SHARED_DSQ);
}

void BPF_STRUCT_OPS(timer_not_rearmed_exit, struct scx_exit_info *info)
{
	UEI_RECORD(uei, info);
}

SCX_OPS_DEFINE(timer_not_rearmed_ops,
	.select_cpu = (void *)timer_not_rearmed_select_cpu,
	.enqueue = (void *)timer_not_rearmed_enqueue,
	.dispatch = (void *)timer_not_rearmed_dispatch,
	.init = (void *)timer_not_rearmed_init,
	.exit = (void *)timer_not_rearmed_exit,
	.timeout_ms = 5000,
	.name = "timer_not_rearmed");
