/* SPDX-License-Identifier: GPL-2.0 */
/*
 * shortest-first: whoever is expected to be done soonest runs first, so that the average job waits least.
 *
 * A burst is what a task runs from waking up to sleeping again; a job that never sleeps is one burst. What a task still has to
 * run is expected from what its bursts took so far (a running average). For one that never slept yet, it is what the
 * first bursts of tasks of its name took. A burst that already lasts longer than expected is taken to be half done.
 *
 * Tasks wait in one queue, sorted by when they came plus a wait in proportion to what they still have to run: `stretch` times
 * that, at most `patience_ms`. So a short one overtakes long ones, and a long one that has waited is overtaken no more:
 * nobody starves. A low weight counts as a longer burst, a high one as a shorter.
 *
 * A task that wakes up takes the CPU of one that has far more to run, unless that one had waited long for its turn.
 */
#include <schedtui.bpf.h>

char _license[] SEC("license") = "GPL";

#define SHARED_DSQ 1
#define MIN_SLICE_NS NSEC_PER_MSEC
#define ROUND_NS NSEC_PER_SEC
#define UNKNOWN_BURST_NS (5 * NSEC_PER_MSEC)
#define PREEMPT_MARGIN_NS (2 * NSEC_PER_MSEC)
#define LONGEST_BURST_NS (100 * NSEC_PER_SEC)
#define TEACHING_BURSTS 4
#define MAX_CPUS 1024
#define CPUS_LOOKED_AT 16
#define NAME_SIZE 16

/* How many times its own length a burst may wait. More: longer differences between jobs are told apart. Cost: Long
 * jobs wait longer. */
const volatile u64 stretch = 20;

/* The longest that a long job is overtaken by shorter ones. Longer: short jobs are safer from many long ones. Cost: A
 * long job pauses that long while there are enough short ones. The watchdog ends the policy at 5000. */
const volatile u64 patience_ms = 1500;

/* The longest turn, which long jobs take. Longer: fewer switches between them. Cost: Long jobs wait longer for each
 * other. */
const volatile u64 slice_us = 20000;

u64 nr_to_idle_cpu; /* wake-ups that found an idle CPU */
u64 nr_queued;      /* times that a task had to wait */
u64 nr_preempted;   /* running tasks that had to make room for a shorter one */
u64 nr_kept;        /* times that a task went on after its turn, still the shortest */
u64 nr_by_name;     /* times that the name told how long a new task would run */
u64 nr_overdue;     /* turns of tasks that had waited as long as they may */

UEI_DEFINE(uei);

static u64 nr_cpus;

struct burst_task {
	u64 awake_since; /* sum_exec_runtime when its burst began */
	u64 burst_ns;    /* running average of its bursts */
	u64 nr_bursts;
	u64 queued_at; /* ns; 0: it was given an idle CPU */
};
TASK_STATE(tasks, struct burst_task);

struct task_name {
	char bytes[NAME_SIZE];
};

/* Name -> ns of the first bursts of tasks called so; the least recently used are forgotten. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 4096);
	__type(key, struct task_name);
	__type(value, u64);
} first_bursts SEC(".maps");

/* One cache line each, so that CPUs do not slow each other down. */
struct shortest_cpu {
	u64 left_ns; /* what its task was expected to run when it started; 0: it makes no room */
} __attribute__((aligned(64)));

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, MAX_CPUS);
	__type(key, u32);
	__type(value, struct shortest_cpu);
} cpus SEC(".maps");

static struct task_name shortest_name(const struct task_struct *p)
{
	struct task_name name = {};
	int i;

	_Pragma("unroll") for (i = 0; i < NAME_SIZE - 1; i++)
	{
		name.bytes[i] = p->comm[i];
		if (!name.bytes[i])
			break;
	}
	return name;
}

static u64 shortest_expected(const struct task_struct *p, const struct burst_task *state)
{
	struct task_name name;
	u64 *learned;

	if (state->nr_bursts)
		return state->burst_ns;
	name = shortest_name(p);
	learned = bpf_map_lookup_elem(&first_bursts, &name);
	if (!learned)
		return UNKNOWN_BURST_NS;
	count(nr_by_name);
	return *learned;
}

/* CPU time in ns that the task still has to run, weighted. */
static u64 shortest_left(const struct task_struct *p, const struct burst_task *state)
{
	u64 so_far = p->se.sum_exec_runtime - state->awake_since;
	u64 expected = shortest_expected(p, state);

	return weighted(p, min(so_far < expected ? expected - so_far : so_far, LONGEST_BURST_NS));
}

/* Where in the queue a task belongs that has this much left to run. */
static u64 shortest_place(u64 left_ns)
{
	return scx_bpf_now() + min(left_ns * stretch, patience_ms * NSEC_PER_MSEC);
}

static u64 shortest_slice(u64 left_ns)
{
	u64 full = clamp_u64(left_ns, MIN_SLICE_NS, slice_us * NSEC_PER_USEC);

	return slice_for_queue(full, MIN_SLICE_NS, ROUND_NS, scx_bpf_dsq_nr_queued(SHARED_DSQ), nr_cpus);
}

s32 BPF_STRUCT_OPS(shortest_select_cpu, struct task_struct *p, s32 prev_cpu, u64 wake_flags)
{
	struct burst_task *state = task_state(&tasks, p);
	bool idle = false;
	s32 cpu = scx_bpf_select_cpu_dfl(p, prev_cpu, wake_flags, &idle);

	if (idle) {
		count(nr_to_idle_cpu);
		if (state)
			state->queued_at = 0;
		scx_bpf_dsq_insert(p, SCX_DSQ_LOCAL, slice_us * NSEC_PER_USEC, 0);
	}
	return cpu;
}

/*
 * Asks the CPU whose task has most left to run to look at the queue. What it reads of other CPUs may be out of date by
 * the time it is used: a CPU that is asked in vain finds that its own task still comes first, and goes on.
 */
static void shortest_preempt(const struct task_struct *p, u64 left_ns)
{
	u32 nr_cpu_ids = scx_bpf_nr_cpu_ids(), first = scx_bpf_task_cpu(p);
	u64 longest = left_ns * 2 + PREEMPT_MARGIN_NS;
	s32 victim = -1;
	int i;

	bpf_for(i, 0, min(nr_cpu_ids, CPUS_LOOKED_AT)) {
		u32 cpu = (first + i) % nr_cpu_ids;
		struct shortest_cpu *other = bpf_map_lookup_elem(&cpus, &cpu);

		if (other && other->left_ns > longest && bpf_cpumask_test_cpu(cpu, p->cpus_ptr)) {
			longest = other->left_ns;
			victim = cpu;
		}
	}
	if (victim >= 0) {
		count(nr_preempted);
		scx_bpf_kick_cpu(victim, SCX_KICK_PREEMPT);
	}
}

void BPF_STRUCT_OPS(shortest_enqueue, struct task_struct *p, u64 enq_flags)
{
	struct burst_task *state = task_state(&tasks, p);
	u64 left_ns;

	if (!state || is_percpu_kthread(p)) {
		scx_bpf_dsq_insert(p, SCX_DSQ_LOCAL, slice_us * NSEC_PER_USEC, enq_flags);
		return;
	}
	count(nr_queued);
	left_ns = shortest_left(p, state);
	state->queued_at = scx_bpf_now();
	scx_bpf_dsq_insert_vtime(p, SHARED_DSQ, shortest_slice(left_ns), shortest_place(left_ns), enq_flags);
	if (!kick_idle_cpu(p) && (enq_flags & SCX_ENQ_WAKEUP))
		shortest_preempt(p, left_ns);
}

static bool shortest_comes_first(const struct task_struct *p, u64 left_ns)
{
	u64 first;

	return !first_vtime(SHARED_DSQ, &first) || time_before(shortest_place(left_ns), first);
}

void BPF_STRUCT_OPS(shortest_dispatch, s32 cpu, struct task_struct *prev)
{
	struct burst_task *state = wants_to_go_on(prev) ? task_state(&tasks, prev) : NULL;
	u64 left_ns = state ? shortest_left(prev, state) : 0;

	if (state && shortest_comes_first(prev, left_ns)) {
		count(nr_kept);
		scx_bpf_task_set_slice(prev, shortest_slice(left_ns));
		return;
	}
	/* What waits may be barred from this CPU: then the task that was here goes on. */
	if (!scx_bpf_dsq_move_to_local(SHARED_DSQ) && wants_to_go_on(prev))
		scx_bpf_task_set_slice(prev, shortest_slice(left_ns));
}

void BPF_STRUCT_OPS(shortest_running, struct task_struct *p)
{
	struct burst_task *state = task_state(&tasks, p);
	u32 cpu = scx_bpf_task_cpu(p);
	struct shortest_cpu *here = bpf_map_lookup_elem(&cpus, &cpu);

	if (!state || !here)
		return;
	here->left_ns = shortest_left(p, state);
	if (state->queued_at && scx_bpf_now() - state->queued_at >= patience_ms * NSEC_PER_MSEC) {
		count(nr_overdue);
		here->left_ns = 0;
	}
}

void BPF_STRUCT_OPS(shortest_runnable, struct task_struct *p, u64 enq_flags)
{
	struct burst_task *state = task_state(&tasks, p);

	if (state && (enq_flags & SCX_ENQ_WAKEUP))
		state->awake_since = p->se.sum_exec_runtime;
}

static void shortest_teach(const struct task_struct *p, u64 burst_ns)
{
	struct task_name name = shortest_name(p);
	u64 *learned = bpf_map_lookup_elem(&first_bursts, &name);

	if (learned)
		*learned = (*learned * 3 + burst_ns) / 4;
	else
		bpf_map_update_elem(&first_bursts, &name, &burst_ns, BPF_NOEXIST);
}

/* A task that ends comes by here too. */
void BPF_STRUCT_OPS(shortest_quiescent, struct task_struct *p, u64 deq_flags)
{
	struct burst_task *state = task_state(&tasks, p);
	u64 burst_ns;

	if (!state || !(deq_flags & SCX_DEQ_SLEEP))
		return;
	burst_ns = p->se.sum_exec_runtime - state->awake_since;
	state->burst_ns = state->nr_bursts ? (state->burst_ns * 3 + burst_ns) / 4 : burst_ns;
	if (state->nr_bursts++ < TEACHING_BURSTS)
		shortest_teach(p, burst_ns);
}

s32 BPF_STRUCT_OPS_SLEEPABLE(shortest_init_task, struct task_struct *p, struct scx_init_task_args *args)
{
	struct burst_task *state = new_task_state(&tasks, p);

	if (!state)
		return -ENOMEM;
	state->awake_since = p->se.sum_exec_runtime;
	return 0;
}

/* With these two, the policy lives on when CPUs come and go, as they do around suspend. */
void BPF_STRUCT_OPS(shortest_cpu_online, s32 cpu)
{
	nr_cpus = nr_online_cpus();
}

void BPF_STRUCT_OPS(shortest_cpu_offline, s32 cpu)
{
	empty_for_offline(SHARED_DSQ, cpu);
	nr_cpus = nr_cpus_without(cpu);
}

s32 BPF_STRUCT_OPS_SLEEPABLE(shortest_init)
{
	nr_cpus = nr_online_cpus();
	return scx_bpf_create_dsq(SHARED_DSQ, NUMA_NO_NODE);
}

void BPF_STRUCT_OPS(shortest_exit, struct scx_exit_info *info)
{
	UEI_RECORD(uei, info);
}

SCX_OPS_DEFINE(shortest_ops,
	.select_cpu = (void *)shortest_select_cpu,
	.enqueue = (void *)shortest_enqueue,
	.dispatch = (void *)shortest_dispatch,
	.running = (void *)shortest_running,
	.runnable = (void *)shortest_runnable,
	.quiescent = (void *)shortest_quiescent,
	.init_task = (void *)shortest_init_task,
	.cpu_online = (void *)shortest_cpu_online,
	.cpu_offline = (void *)shortest_cpu_offline,
	.init = (void *)shortest_init,
	.exit = (void *)shortest_exit,
	.timeout_ms = 5000,
	.name = "shortest_first");
