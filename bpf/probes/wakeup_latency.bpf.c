/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Wake-up latency: how long tasks wait between "may run" and "runs", counted for each CPU and for each task; and which
 * task waits longest now.
 *
 * Three tracepoints, and no event leaves the kernel: user space reads the counts when it likes. The histogram of
 * a CPU is log-linear, four slots an octave, and can be mapped into memory; schedtui/backend/histogram.py
 * describes the same layout. That of a task is coarser, one slot an octave, and goes away with the task. A second
 * histogram of each CPU counts only the tasks in focus: those of the processes that user space names in a map, and
 * whatever they fork from then on. While nothing is in focus, it costs one comparison a wait.
 *
 * Only waits that begin with a wake-up (or a fork) count. A task that is pushed off its CPU and waits for the next turn
 * is not being late for anything that happened: that is pressure, and is measured elsewhere. For the longest wait of
 * now it is as good as any other, because a task that starves is mostly one that was pushed off. That one is found by
 * a walk over all tasks, when user space asks.
 */
#include <schedtui.bpf.h>

struct seq_file;

struct bpf_iter_meta {
	struct seq_file *seq;
	u64 session_id;
	u64 seq_num;
};

/* Smaller since Linux 7.3. Only what is unsigned is read in the size that the running kernel gives it. */
struct task_struct___unsigned {
	unsigned int on_cpu;
	unsigned int on_rq;
} __attribute__((preserve_access_index));

struct bpf_iter__task {
	struct bpf_iter_meta *meta;
	struct task_struct *task;
};

char _license[] SEC("license") = "GPL";

#define CPU_SLOTS 128
#define TASK_SLOTS 32

struct cpu_waits {
	u64 slots[CPU_SLOTS];
};

struct task_waits {
	u64 since; /* ns; when it could run again; 0: it runs, or sleeps */
	u32 woken; /* it waits after a wake-up, and not because it was pushed off */
	u32 focus; /* the round of focus in which it was forked by a task in focus */
	u32 slots[TASK_SLOTS];
};

struct longest_wait {
	u64 ns;
	u32 pid;
	char name[16];
};

/* One entry a CPU, written by that CPU alone. Whoever loads this sets the number of entries. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct cpu_waits);
} cpus SEC(".maps");

/* As above, of the tasks in focus. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct cpu_waits);
} focus_cpus SEC(".maps");

/* The processes in focus, by number; what counts is that there is an entry. Written by user space. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4096);
	__type(key, u32);
	__type(value, u32);
} focus SEC(".maps");

TASK_STATE(tasks, struct task_waits); /* user space looks a task up by its pidfd */

LIVE u32 focus_round; /* counts the times that user space named processes; 0: nothing is in focus */

static struct longest_wait longest; /* of the walk that goes on; user space starts one at a time */

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

static bool in_focus(const struct task_struct *p, const struct task_waits *waits)
{
	u32 process = p->tgid;

	return focus_round && (waits->focus == focus_round || bpf_map_lookup_elem(&focus, &process));
}

static struct task_waits *mark_woken(struct task_struct *p)
{
	struct task_waits *waits = new_task_state(&tasks, p);

	if (waits) {
		waits->since = bpf_ktime_get_ns();
		waits->woken = 1;
	} else {
		count(nr_missed);
	}
	return waits;
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
	struct task_waits *waits = mark_woken(p), *parents;
	struct task_struct *parent = bpf_get_current_task_btf(); /* a new task is woken by the one that forked it */

	if (focus_round && waits && (parents = task_state(&tasks, parent)) && in_focus(parent, parents))
		waits->focus = focus_round;
	return 0;
}

static void count_wait(const struct task_struct *p, struct task_waits *waits, u64 ns)
{
	u32 cpu = bpf_get_smp_processor_id(), exponent = log2_of(ns), slot = cpu_slot(ns, exponent) & (CPU_SLOTS - 1);
	struct cpu_waits *here = bpf_map_lookup_elem(&cpus, &cpu);

	waits->slots[min(exponent, TASK_SLOTS - 1)]++;
	if (here)
		here->slots[slot]++;
	if (in_focus(p, waits) && (here = bpf_map_lookup_elem(&focus_cpus, &cpu)))
		here->slots[slot]++;
}

SEC("tp_btf/sched_switch")
int BPF_PROG(on_switch, bool preempt, struct task_struct *prev, struct task_struct *next, unsigned int prev_state)
{
	struct task_waits *waits;
	u64 now = bpf_ktime_get_ns();

	/* A task that is woken before it has gone to sleep never waited: its mark must not time a later wait. */
	if (prev->pid && (waits = task_state(&tasks, prev))) {
		waits->woken = 0;
		waits->since = preempt || !prev_state ? now : 0;
	}
	if (!next->pid || !(waits = task_state(&tasks, next)))
		return 0;
	if (waits->woken)
		count_wait(next, waits, now - waits->since);
	waits->woken = 0;
	waits->since = 0;
	return 0;
}

/* A task that runs may hold a mark (it was woken on its way to sleep), and one that sleeps may too (it was pushed off
 * before it got there). Neither waits for a CPU. */
static bool is_waiting(const struct task_struct *p, const struct task_waits *waits)
{
	const struct task_struct___unsigned *task = (const void *)p;

	return waits->since && !task->on_cpu && task->on_rq && !p->__state;
}

SEC("iter/task")
int find_longest(struct bpf_iter__task *ctx)
{
	struct task_struct *p = ctx->task;
	struct task_waits *waits;
	u64 now = bpf_ktime_get_ns();

	if (!p) { /* the end of the walk */
		bpf_seq_write(ctx->meta->seq, &longest, sizeof(longest));
		return 0;
	}
	if (!ctx->meta->seq_num)
		__builtin_memset(&longest, 0, sizeof(longest));
	if (!(waits = task_state(&tasks, p)) || !is_waiting(p, waits) || now - waits->since <= longest.ns)
		return 0;
	longest.ns = now - waits->since;
	longest.pid = p->pid;
	bpf_probe_read_kernel_str(longest.name, sizeof(longest.name), p->comm);
	return 0;
}
