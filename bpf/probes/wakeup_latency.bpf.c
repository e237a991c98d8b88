/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Wake-up latency: how long tasks wait between "may run" and "runs", counted for each CPU and for each task.
 *
 * Three tracepoints, and no event leaves the kernel: user space reads the counts when it likes. The histogram of
 * a CPU is log-linear, four slots an octave, and can be mapped into memory; schedtui/backend/histogram.py
 * describes the same layout. That of a task is coarser, one slot an octave, and goes away with the task.
 *
 * Only waits that begin with a wake-up (or a fork) count. A task that is pushed off its CPU and waits for the next turn
 * is not being late for anything that happened: that is pressure, and is measured elsewhere.
 */
#include <schedtui.bpf.h>

char _license[] SEC("license") = "GPL";

#define CPU_SLOTS 128
#define TASK_SLOTS 32

struct cpu_waits {
	u64 slots[CPU_SLOTS];
};

struct task_waits {
	u64 woken_at; /* ns; 0: it does not wait after a wake-up */
	u32 slots[TASK_SLOTS];
};

/* One entry a CPU, written by that CPU alone. Whoever loads this sets the number of entries. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct cpu_waits);
} cpus SEC(".maps");

TASK_STATE(tasks, struct task_waits); /* user space looks a task up by its pidfd */

u64 nr_missed; /* wake-ups that were not timed, because there was no memory for it */

static u32 log2_of(u64 value)
{
	u32 exponent = 0, step;

	_Pragma("unroll") for (step = 32; step; step >>= 1)
	{
		if (value >> step) {
			value >>= step;
			exponent += step;
		}
	}
	return exponent;
}

static u32 cpu_slot(u64 ns, u32 exponent)
{
	if (ns < 4)
		return ns;
	return min(4 * (exponent - 1) + ((ns >> (exponent - 2)) & 3), CPU_SLOTS - 1);
}

static void mark_woken(struct task_struct *p)
{
	struct task_waits *waits = new_task_state(&tasks, p);

	if (waits)
		waits->woken_at = bpf_ktime_get_ns();
	else
		count(nr_missed);
}

SEC("tp_btf/sched_wakeup")
int BPF_PROG(on_wakeup, struct task_struct *p)
{
	mark_woken(p);
	return 0;
}

SEC("tp_btf/sched_wakeup_new")
int BPF_PROG(on_wakeup_new, struct task_struct *p)
{
	mark_woken(p);
	return 0;
}

static void count_wait(struct task_waits *waits, u64 ns)
{
	u32 cpu = bpf_get_smp_processor_id(), exponent = log2_of(ns);
	struct cpu_waits *here = bpf_map_lookup_elem(&cpus, &cpu);

	waits->slots[min(exponent, TASK_SLOTS - 1)]++;
	if (here)
		here->slots[cpu_slot(ns, exponent) & (CPU_SLOTS - 1)]++;
}

SEC("tp_btf/sched_switch")
int BPF_PROG(on_switch, bool preempt, struct task_struct *prev, struct task_struct *next)
{
	struct task_waits *waits;
	u64 woken_at;

	/* A task that is woken before it has gone to sleep never waited: its mark must not time a later wait. */
	if (prev->pid && (waits = task_state(&tasks, prev)))
		waits->woken_at = 0;
	if (!next->pid || !(waits = task_state(&tasks, next)) || !waits->woken_at)
		return 0;
	woken_at = waits->woken_at;
	waits->woken_at = 0;
	count_wait(waits, bpf_ktime_get_ns() - woken_at);
	return 0;
}
