/* SPDX-License-Identifier: GPL-2.0 */
/*
 * fair: every task gets the share of the CPUs that its weight says.
 *
 * All tasks wait in one queue, sorted by when their turn comes, and a CPU that becomes free takes the first one that
 * may run on it. The turn of a task comes the sooner, the less it has run in proportion to its weight. At the end of
 * its slice a task goes on if its turn still comes before that of all who wait.
 *
 * What a task is ahead of its share or behind, compared with the clock of a perfectly fair machine (struct vclock),
 * decides when its turn comes. Two bounds keep that honest: a task that slept is at most `sleeper_credit_us` early, so
 * that sleep cannot be saved up, and no debt delays a turn by more than `max_wait_ms`, so that a task of
 * the lowest weight still runs.
 *
 * One queue for all CPUs is simple and balances the load by itself. It costs on machines with many CPUs or
 * several caches: tasks move between them, and the queue has one lock.
 */
#include <schedtui.bpf.h>

char _license[] SEC("license") = "GPL";

#define SHARED_DSQ 1
#define MIN_SLICE_NS (500 * NSEC_PER_USEC)

/* How long a task runs before others get their turn. Longer: fewer switches, warmer caches, more throughput. Cost:
 * Whoever waits, waits longer. */
const volatile u64 slice_us = 5000;

/* How far a task that slept may start behind the others. More: it gets a CPU sooner after waking up. Cost: Many
 * tasks that sleep now and then hold up those that compute. */
const volatile u64 sleeper_credit_us = 5000;

/* The longest that a task's debt can keep it from running. Longer: weights are kept more exactly between extremes.
 * Cost: Tasks of low weight pause longer. The watchdog ends the policy at 5000. */
const volatile u64 max_wait_ms = 1000;

u64 nr_to_idle_cpu; /* wake-ups that found an idle CPU */
u64 nr_queued;      /* times that a task had to wait */
u64 nr_kept;        /* times that a task went on after its slice, still the furthest behind */
u64 nr_forgiven;    /* times that the longest wait cut a debt */

UEI_DEFINE(uei);

static struct vclock clock;

struct fair_task {
	u64 vtime;
	u64 charged; /* sum_exec_runtime up to where vtime counts it */
	struct vclock_share share;
};
TASK_STATE(tasks, struct fair_task);

static u64 fair_slice(void)
{
	return slice_for_queue(slice_us * NSEC_PER_USEC, MIN_SLICE_NS, max_wait_ms * NSEC_PER_MSEC,
			       scx_bpf_dsq_nr_queued(SHARED_DSQ), clock.nr_cpus);
}

static u64 fair_turn(struct fair_task *state)
{
	u64 owed = state->vtime;
	u64 turn = vclock_turn(&clock, &state->vtime, sleeper_credit_us * NSEC_PER_USEC, max_wait_ms * NSEC_PER_MSEC);

	if (time_before(state->vtime, owed))
		count(nr_forgiven);
	return turn;
}

/* Adds what the task ran since it was last charged. */
static void fair_charge(const struct task_struct *p, struct fair_task *state)
{
	state->vtime += weighted(p, p->se.sum_exec_runtime - state->charged);
	state->charged = p->se.sum_exec_runtime;
}

s32 BPF_STRUCT_OPS(fair_select_cpu, struct task_struct *p, s32 prev_cpu, u64 wake_flags)
{
	bool idle = false;
	s32 cpu = scx_bpf_select_cpu_dfl(p, prev_cpu, wake_flags, &idle);

	if (idle) {
		count(nr_to_idle_cpu);
		scx_bpf_dsq_insert(p, SCX_DSQ_LOCAL, fair_slice(), 0);
	}
	return cpu;
}

void BPF_STRUCT_OPS(fair_enqueue, struct task_struct *p, u64 enq_flags)
{
	struct fair_task *state = task_state(&tasks, p);

	if (!state || is_percpu_kthread(p)) {
		scx_bpf_dsq_insert(p, SCX_DSQ_LOCAL, fair_slice(), enq_flags);
		return;
	}
	count(nr_queued);
	scx_bpf_dsq_insert_vtime(p, SHARED_DSQ, fair_slice(), fair_turn(state), enq_flags);
	kick_idle_cpu(p);
}

static bool fair_comes_first(const struct task_struct *p)
{
	struct fair_task *state = task_state(&tasks, (void *)p);
	u64 first;

	if (!state || !first_vtime(SHARED_DSQ, &first))
		return true;
	fair_charge(p, state);
	return time_before(fair_turn(state), first);
}

void BPF_STRUCT_OPS(fair_dispatch, s32 cpu, struct task_struct *prev)
{
	if (wants_to_go_on(prev) && fair_comes_first(prev)) {
		count(nr_kept);
		scx_bpf_task_set_slice(prev, fair_slice());
		return;
	}
	/* What waits may be barred from this CPU: then the task that was here goes on. */
	if (!scx_bpf_dsq_move_to_local(SHARED_DSQ) && wants_to_go_on(prev))
		scx_bpf_task_set_slice(prev, fair_slice());
}

void BPF_STRUCT_OPS(fair_running, struct task_struct *p)
{
	struct fair_task *state = task_state(&tasks, p);

	if (state)
		state->charged = p->se.sum_exec_runtime;
}

void BPF_STRUCT_OPS(fair_stopping, struct task_struct *p, bool runnable)
{
	struct fair_task *state = task_state(&tasks, p);

	if (state)
		fair_charge(p, state);
}

void BPF_STRUCT_OPS(fair_runnable, struct task_struct *p, u64 enq_flags)
{
	struct fair_task *state = task_state(&tasks, p);

	if (state)
		vclock_join(&clock, &state->share, p->scx.weight);
}

void BPF_STRUCT_OPS(fair_quiescent, struct task_struct *p, u64 deq_flags)
{
	struct fair_task *state = task_state(&tasks, p);

	if (state)
		vclock_leave(&clock, &state->share);
}

void BPF_STRUCT_OPS(fair_set_weight, struct task_struct *p, u32 weight)
{
	struct fair_task *state = task_state(&tasks, p);

	if (state)
		vclock_reweigh(&clock, &state->share, weight);
}

s32 BPF_STRUCT_OPS_SLEEPABLE(fair_init_task, struct task_struct *p, struct scx_init_task_args *args)
{
	return new_task_state(&tasks, p) ? 0 : -ENOMEM;
}

void BPF_STRUCT_OPS(fair_enable, struct task_struct *p)
{
	struct fair_task *state = task_state(&tasks, p);

	if (state)
		state->vtime = vclock_now(&clock);
}

/* With these two, the policy lives on when CPUs come and go, as they do around suspend. */
void BPF_STRUCT_OPS(fair_cpu_online, s32 cpu)
{
	clock.nr_cpus = nr_online_cpus();
}

void BPF_STRUCT_OPS(fair_cpu_offline, s32 cpu)
{
	empty_for_offline(SHARED_DSQ, cpu);
	clock.nr_cpus = nr_cpus_without(cpu);
}

s32 BPF_STRUCT_OPS_SLEEPABLE(fair_init)
{
	vclock_start(&clock);
	return scx_bpf_create_dsq(SHARED_DSQ, NUMA_NO_NODE);
}

void BPF_STRUCT_OPS(fair_exit, struct scx_exit_info *info)
{
	UEI_RECORD(uei, info);
}

SCX_OPS_DEFINE(fair_ops,
	.select_cpu = (void *)fair_select_cpu,
	.enqueue = (void *)fair_enqueue,
	.dispatch = (void *)fair_dispatch,
	.running = (void *)fair_running,
	.stopping = (void *)fair_stopping,
	.runnable = (void *)fair_runnable,
	.quiescent = (void *)fair_quiescent,
	.set_weight = (void *)fair_set_weight,
	.init_task = (void *)fair_init_task,
	.enable = (void *)fair_enable,
	.cpu_online = (void *)fair_cpu_online,
	.cpu_offline = (void *)fair_cpu_offline,
	.init = (void *)fair_init,
	.exit = (void *)fair_exit,
	.timeout_ms = 5000,
	.name = "fair");
