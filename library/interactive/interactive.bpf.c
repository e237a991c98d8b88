/* SPDX-License-Identifier: GPL-2.0 */
/*
 * interactive: the earliest deadline runs first, and tasks that sleep often and run briefly have early ones.
 *
 * As in `fair`, a task's turn comes the sooner, the less it has run in proportion to its weight. Its deadline is that
 * time, plus how long it usually runs before it sleeps again (its burst). A task that answers a key or a timer
 * runs for a fraction of a millisecond: its deadline is close. A compiler never sleeps: its burst, and so its
 * deadline, is `max_burst_us` away. A new task must show first that it sleeps.
 *
 * A task that wakes up does not wait for the end of somebody's slice: when its deadline is earlier by
 * `preempt_margin_us` than that of a running task, that task makes room. Among the CPUs looked at, the one with the
 * latest deadline is chosen.
 *
 * Nobody is shut out. Deadlines are times on the wall clock, at most `max_wait_ms` and a burst away, so they come; and what
 * a task runs puts its next turn off: one that sleeps briefly and often, but uses more than its share, ends up
 * behind those that it delayed.
 */
#include <schedtui.bpf.h>

char _license[] SEC("license") = "GPL";

#define SHARED_DSQ 1
#define MIN_SLICE_NS (500 * NSEC_PER_USEC)
#define MAX_CPUS 1024
#define CPUS_LOOKED_AT 8

/* How long a task runs before others get their turn. Longer: fewer switches, more throughput. Cost: Tasks of the
 * same standing wait longer for each other. */
const volatile u64 slice_us = 3000;

/* How far a task that slept may start behind the others. More: even a task that runs for some milliseconds at a
 * time gets a CPU at once. Cost: Tasks that compute are held up longer by those that wake up. */
const volatile u64 sleeper_credit_us = 10000;

/* The longest run between two sleeps that is told apart. More: brief tasks are safer from those that compute.
 * Cost: A task that computes reacts later. */
const volatile u64 max_burst_us = 20000;

/* By how much earlier a deadline must be to take the CPU from a running task. More: fewer interruptions, more
 * throughput. Cost: A task that wakes up waits more often. */
const volatile u64 preempt_margin_us = 1000;

/* The longest that a task's debt can keep it from running. Longer: weights are kept more exactly between extremes.
 * Cost: Tasks of low weight pause longer. The watchdog ends the policy at 5000. */
const volatile u64 max_wait_ms = 1000;

u64 nr_to_idle_cpu; /* wake-ups that found an idle CPU */
u64 nr_queued;      /* times that a task had to wait */
u64 nr_preempted;   /* running tasks that had to make room */
u64 nr_kept;        /* times that a task went on after its slice, its deadline still the earliest */
u64 nr_forgiven;    /* times that the longest wait cut a debt */

UEI_DEFINE(uei);

static struct vclock clock;

struct interactive_task {
	u64 vtime;
	u64 charged;     /* sum_exec_runtime up to where vtime counts it */
	u64 awake_since; /* sum_exec_runtime when it woke up */
	u64 burst_ns;    /* how long it usually runs between two sleeps */
	struct vclock_share share;
};
TASK_STATE(tasks, struct interactive_task);

/* One cache line each, so that CPUs do not slow each other down. */
struct interactive_cpu {
	s64 distance_ns; /* of its task's deadline, when that task started: it only grows while the task runs */
} __attribute__((aligned(64)));

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, MAX_CPUS);
	__type(key, u32);
	__type(value, struct interactive_cpu);
} cpus SEC(".maps");

static u64 interactive_slice(void)
{
	return slice_for_queue(slice_us * NSEC_PER_USEC, MIN_SLICE_NS, max_wait_ms * NSEC_PER_MSEC,
			       scx_bpf_dsq_nr_queued(SHARED_DSQ), clock.nr_cpus);
}

/* A burst that already lasts longer than usual counts as what it is. */
static u64 interactive_deadline(const struct task_struct *p, struct interactive_task *state)
{
	u64 burst = max(state->burst_ns, p->se.sum_exec_runtime - state->awake_since);
	u64 owed = state->vtime;
	u64 turn = vclock_turn(&clock, &state->vtime, sleeper_credit_us * NSEC_PER_USEC, max_wait_ms * NSEC_PER_MSEC);

	if (time_before(state->vtime, owed))
		count(nr_forgiven);
	return turn + min(burst, max_burst_us * NSEC_PER_USEC);
}

/* Adds what the task ran since it was last charged. */
static void interactive_charge(const struct task_struct *p, struct interactive_task *state)
{
	state->vtime += weighted(p, p->se.sum_exec_runtime - state->charged);
	state->charged = p->se.sum_exec_runtime;
}

/* How far a deadline is away; negative when it has passed. */
static s64 interactive_distance(u64 deadline)
{
	return deadline - scx_bpf_now();
}

s32 BPF_STRUCT_OPS(interactive_select_cpu, struct task_struct *p, s32 prev_cpu, u64 wake_flags)
{
	bool idle = false;
	s32 cpu = scx_bpf_select_cpu_dfl(p, prev_cpu, wake_flags, &idle);

	if (idle) {
		count(nr_to_idle_cpu);
		scx_bpf_dsq_insert(p, SCX_DSQ_LOCAL, interactive_slice(), 0);
	}
	return cpu;
}

/*
 * Asks the CPU whose task has the latest deadline to look at the queue, if this deadline is earlier. What it reads of
 * other CPUs may be out of date by the time it is used: a CPU that is asked in vain finds that its own task still comes
 * first, and goes on.
 */
static void interactive_preempt(const struct task_struct *p, u64 deadline)
{
	s64 furthest = interactive_distance(deadline) + (s64)(preempt_margin_us * NSEC_PER_USEC);
	u32 nr_cpus = scx_bpf_nr_cpu_ids(), first = scx_bpf_task_cpu(p);
	s32 victim = -1;
	int i;

	bpf_for(i, 0, min(nr_cpus, CPUS_LOOKED_AT)) {
		u32 cpu = (first + i) % nr_cpus;
		struct interactive_cpu *other = bpf_map_lookup_elem(&cpus, &cpu);

		if (other && other->distance_ns > furthest && bpf_cpumask_test_cpu(cpu, p->cpus_ptr)) {
			furthest = other->distance_ns;
			victim = cpu;
		}
	}
	if (victim >= 0) {
		count(nr_preempted);
		scx_bpf_kick_cpu(victim, SCX_KICK_PREEMPT);
	}
}

void BPF_STRUCT_OPS(interactive_enqueue, struct task_struct *p, u64 enq_flags)
{
	struct interactive_task *state = task_state(&tasks, p);
	u64 deadline;

	if (!state || is_percpu_kthread(p)) {
		scx_bpf_dsq_insert(p, SCX_DSQ_LOCAL, interactive_slice(), enq_flags);
		return;
	}
	count(nr_queued);
	deadline = interactive_deadline(p, state);
	scx_bpf_dsq_insert_vtime(p, SHARED_DSQ, interactive_slice(), deadline, enq_flags);
	if (!kick_idle_cpu(p) && (enq_flags & SCX_ENQ_WAKEUP))
		interactive_preempt(p, deadline);
}

static bool interactive_comes_first(const struct task_struct *p)
{
	struct interactive_task *state = task_state(&tasks, (void *)p);
	u64 first;

	if (!state || !first_vtime(SHARED_DSQ, &first))
		return true;
	interactive_charge(p, state);
	return time_before(interactive_deadline(p, state), first);
}

void BPF_STRUCT_OPS(interactive_dispatch, s32 cpu, struct task_struct *prev)
{
	if (wants_to_go_on(prev) && interactive_comes_first(prev)) {
		count(nr_kept);
		scx_bpf_task_set_slice(prev, interactive_slice());
		return;
	}
	/* What waits may be barred from this CPU: then the task that was here goes on. */
	if (!scx_bpf_dsq_move_to_local(SHARED_DSQ) && wants_to_go_on(prev))
		scx_bpf_task_set_slice(prev, interactive_slice());
}

void BPF_STRUCT_OPS(interactive_running, struct task_struct *p)
{
	struct interactive_task *state = task_state(&tasks, p);
	u32 cpu = scx_bpf_task_cpu(p);
	struct interactive_cpu *here = bpf_map_lookup_elem(&cpus, &cpu);

	if (!state)
		return;
	state->charged = p->se.sum_exec_runtime;
	if (here)
		here->distance_ns = interactive_distance(interactive_deadline(p, state));
}

void BPF_STRUCT_OPS(interactive_stopping, struct task_struct *p, bool runnable)
{
	struct interactive_task *state = task_state(&tasks, p);

	if (state)
		interactive_charge(p, state);
}

void BPF_STRUCT_OPS(interactive_runnable, struct task_struct *p, u64 enq_flags)
{
	struct interactive_task *state = task_state(&tasks, p);

	if (!state)
		return;
	vclock_join(&clock, &state->share, p->scx.weight);
	if (enq_flags & SCX_ENQ_WAKEUP)
		state->awake_since = p->se.sum_exec_runtime;
}

void BPF_STRUCT_OPS(interactive_quiescent, struct task_struct *p, u64 deq_flags)
{
	struct interactive_task *state = task_state(&tasks, p);

	if (!state)
		return;
	vclock_leave(&clock, &state->share);
	if (deq_flags & SCX_DEQ_SLEEP)
		state->burst_ns = (state->burst_ns * 3 + p->se.sum_exec_runtime - state->awake_since) / 4;
}

void BPF_STRUCT_OPS(interactive_set_weight, struct task_struct *p, u32 weight)
{
	struct interactive_task *state = task_state(&tasks, p);

	if (state)
		vclock_reweigh(&clock, &state->share, weight);
}

s32 BPF_STRUCT_OPS_SLEEPABLE(interactive_init_task, struct task_struct *p, struct scx_init_task_args *args)
{
	return new_task_state(&tasks, p) ? 0 : -ENOMEM;
}

void BPF_STRUCT_OPS(interactive_enable, struct task_struct *p)
{
	struct interactive_task *state = task_state(&tasks, p);

	if (!state)
		return;
	state->vtime = vclock_now(&clock);
	state->awake_since = p->se.sum_exec_runtime;
	state->burst_ns = max_burst_us * NSEC_PER_USEC;
}

/* With these two, the policy lives on when CPUs come and go, as they do around suspend. */
void BPF_STRUCT_OPS(interactive_cpu_online, s32 cpu)
{
	clock.nr_cpus = nr_online_cpus();
}

void BPF_STRUCT_OPS(interactive_cpu_offline, s32 cpu)
{
	empty_for_offline(SHARED_DSQ, cpu);
	clock.nr_cpus = nr_cpus_without(cpu);
}

s32 BPF_STRUCT_OPS_SLEEPABLE(interactive_init)
{
	vclock_start(&clock);
	return scx_bpf_create_dsq(SHARED_DSQ, NUMA_NO_NODE);
}

void BPF_STRUCT_OPS(interactive_exit, struct scx_exit_info *info)
{
	UEI_RECORD(uei, info);
}

SCX_OPS_DEFINE(interactive_ops,
	.select_cpu = (void *)interactive_select_cpu,
	.enqueue = (void *)interactive_enqueue,
	.dispatch = (void *)interactive_dispatch,
	.running = (void *)interactive_running,
	.stopping = (void *)interactive_stopping,
	.runnable = (void *)interactive_runnable,
	.quiescent = (void *)interactive_quiescent,
	.set_weight = (void *)interactive_set_weight,
	.init_task = (void *)interactive_init_task,
	.enable = (void *)interactive_enable,
	.cpu_online = (void *)interactive_cpu_online,
	.cpu_offline = (void *)interactive_cpu_offline,
	.init = (void *)interactive_init,
	.exit = (void *)interactive_exit,
	.timeout_ms = 5000,
	.name = "interactive");
