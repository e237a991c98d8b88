/* SPDX-License-Identifier: GPL-2.0 */
/*
 * periodic: tasks that wake up at even intervals, as sound does, run by earliest deadline; all others share fairly.
 *
 * For each task it is learned how far apart its wake-ups are, and how long it runs each time. When `patience` wake-ups came
 * within `jitter_percent` of the even times, and the task ran for no more than `share_percent` of it, the task is
 * periodic: its work has to be done before it wakes up next, and that time is its deadline. A wake-up that was left out or
 * that comes a little late is no reason to forget a period; several that do not fit are.
 *
 * Periodic tasks wait in a queue sorted by deadline, and go before all others. One that wakes up takes the CPU from a
 * task that is not periodic, or whose deadline is later by `preempt_margin_us`.
 *
 * A period is a claim, and claims have limits. In each period a task gets no more than four times what it usually
 * runs, and `share_percent` of the period at most; all periodic tasks together get `share_percent` of the
 * machine in each tenth of a second. Beyond that they wait like everybody else, with what they ran counted
 * against them. A CPU serves a task that is not periodic and has been due for `others_wait_ms` before the next
 * periodic one. Tasks with `nice` above 0 asked to come last, and are never taken for periodic.
 *
 * All others are scheduled as in `fair`: a task's turn comes the sooner, the less it has run in proportion to its weight.
 */
#include <schedtui.bpf.h>

char _license[] SEC("license") = "GPL";

#define PERIODIC_DSQ 1
#define FAIR_DSQ 2
#define MIN_SLICE_NS (500 * NSEC_PER_USEC)
#define MIN_PERIOD_NS (500 * NSEC_PER_USEC)
#define MAX_PERIOD_NS (100 * NSEC_PER_MSEC)
#define MIN_BUDGET_NS NSEC_PER_MSEC
#define WINDOW_NS (100 * NSEC_PER_MSEC)
#define MAX_LEFT_OUT 4
#define MAX_CPUS 1024
#define CPUS_LOOKED_AT 16

/* How many wake-ups must fit before a task counts as periodic. More: fewer mistakes. Cost: Sound that
 * starts waits like everybody else for that many periods. */
const volatile u64 patience = 8;

/* How far a wake-up may be off the learned interval. More: uneven programs count as periodic too. Cost: So do some
 * that are not. */
const volatile u64 jitter_percent = 25;

/* How much of its interval a periodic task may run first, and how much of the machine all of them together may. More:
 * heavier sound and video work is safe. Cost: What is left for everybody else shrinks. */
const volatile u64 share_percent = 50;

/* By how much earlier a deadline must be to take the CPU from another periodic task. More: fewer interruptions. Cost:
 * Deadlines that are close to each other are missed more often. */
const volatile u64 preempt_margin_us = 200;

/* For how long the turn of another task may be overdue before it goes before a periodic one. Longer: deadlines are safer.
 * Cost: Other tasks pause longer. */
const volatile u64 others_wait_ms = 100;

/* How long a task that is not periodic runs before others get their turn. Longer: fewer switches, more throughput.
 * Cost: Tasks that are not periodic wait longer for each other. */
const volatile u64 slice_us = 5000;

/* How far a task that slept may start behind the others. More: it gets a CPU sooner after waking up. Cost: Many
 * tasks that sleep now and then hold up those that compute. */
const volatile u64 sleeper_credit_us = 5000;

/* The longest that a task's debt can keep it from running. Longer: weights are kept more exactly between extremes.
 * Cost: Tasks of low weight pause longer. The watchdog ends the policy at 5000. */
const volatile u64 max_wait_ms = 1000;

u64 nr_learned;     /* times that a task was found to be periodic */
u64 nr_forgotten;   /* times that a task was found to be periodic no more */
u64 last_period_us; /* the interval that was learned last */
u64 nr_on_time;     /* periods whose work was done before the next one began */
u64 nr_late;        /* periods whose work was not */
u64 nr_over_budget; /* times that a periodic task had used up what it may have first */
u64 nr_preempted;   /* running tasks that had to make room */
u64 nr_to_idle_cpu; /* wake-ups that found an idle CPU */
u64 nr_queued;      /* times that a task had to wait */

static struct vclock clock;

struct periodic_task {
	u64 vtime;
	u64 charged;   /* sum_exec_runtime up to where vtime counts it */
	u64 woke_at;   /* ns */
	u64 awake_since; /* sum_exec_runtime then */
	u64 period_ns; /* learned, or being learned */
	u64 expected_at; /* ns: its last wake-up, had it come at the even time */
	u64 burst_ns;  /* how long it usually runs in a period */
	u64 budget_ns; /* how long it may still run first in this period */
	u64 deadline;  /* ns: when its next period begins */
	u32 fitting;   /* wake-ups that fitted, less those that did not */
	bool known;    /* to be periodic */
	struct vclock_share share;
};
TASK_STATE(tasks, struct periodic_task);

/* One cache line each, so that CPUs do not slow each other down. */
struct periodic_cpu {
	u64 deadline; /* of the periodic task that runs; 0: none does */
	bool busy;    /* with a task of ours */
	bool owes;    /* others a turn: the last one went to a periodic task */
} __attribute__((aligned(64)));

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, MAX_CPUS);
	__type(key, u32);
	__type(value, struct periodic_cpu);
} cpus SEC(".maps");

static u64 window_began; /* ns */
static u64 window_used;  /* ns of CPU time that periodic tasks had first */

static struct periodic_cpu *periodic_cpu(u32 cpu)
{
	return bpf_map_lookup_elem(&cpus, &cpu);
}

/* Whether periodic tasks still have some of their share of the machine. */
static bool periodic_window_has_room(void)
{
	u64 now = scx_bpf_now(), began = window_began;

	if (!time_before(now, began + WINDOW_NS) &&
	    __sync_val_compare_and_swap(&window_began, began, now) == began)
		__sync_lock_test_and_set(&window_used, 0);
	return window_used < WINDOW_NS * clock.nr_cpus * share_percent / 100;
}

/* Whether a task goes first now. */
static bool periodic_goes_first(const struct periodic_task *state)
{
	return state->known && state->budget_ns && periodic_window_has_room();
}

static u64 fair_slice(void)
{
	return slice_for_queue(slice_us * NSEC_PER_USEC, MIN_SLICE_NS, max_wait_ms * NSEC_PER_MSEC,
			       scx_bpf_dsq_nr_queued(FAIR_DSQ), clock.nr_cpus);
}

static u64 fair_turn(struct periodic_task *state)
{
	return vclock_turn(&clock, &state->vtime, sleeper_credit_us * NSEC_PER_USEC, max_wait_ms * NSEC_PER_MSEC);
}

static u64 periodic_slice(const struct periodic_task *state)
{
	return max(state->budget_ns, MIN_BUDGET_NS);
}

/* Adds what the task ran since it was last charged, to its vtime and against its budget. */
static void periodic_charge(const struct task_struct *p, struct periodic_task *state)
{
	u64 used = p->se.sum_exec_runtime - state->charged;

	state->vtime += weighted(p, used);
	state->charged = p->se.sum_exec_runtime;
	if (!state->known || !state->budget_ns)
		return;
	count_by(window_used, used);
	if (used < state->budget_ns) {
		state->budget_ns -= used;
	} else {
		state->budget_ns = 0;
		count(nr_over_budget);
	}
}

/* Whether a wake-up falls on the times that are expected: `*times` periods after the last, `*error_ns` late or early. */
static bool periodic_fits(u64 period_ns, u64 since_ns, u64 *times, s64 *error_ns)
{
	u64 tolerance = period_ns * jitter_percent / 100;

	if (!period_ns)
		return false;
	*times = (since_ns + period_ns / 2) / period_ns;
	*error_ns = since_ns - *times * period_ns;
	return *times >= 1 && *times <= 1 + MAX_LEFT_OUT && *error_ns <= (s64)tolerance &&
	       *error_ns >= -(s64)tolerance;
}

static bool periodic_may_be(const struct task_struct *p, const struct periodic_task *state)
{
	return p->scx.weight >= 100 && !(p->flags & PF_KTHREAD) && state->period_ns >= MIN_PERIOD_NS &&
	       state->period_ns <= MAX_PERIOD_NS && state->burst_ns <= state->period_ns * share_percent / 100;
}

/* Moves the expected times towards a wake-up by a part of its error, so that one that came late costs little. */
static void periodic_follow(struct periodic_task *state, u64 times, s64 error_ns)
{
	u64 away = (error_ns < 0 ? -error_ns : error_ns) / 4, each = away / (2 * times);

	state->expected_at += times * state->period_ns;
	state->expected_at += error_ns < 0 ? -away : away;
	state->period_ns += error_ns < 0 ? -each : each;
	state->fitting = min(state->fitting + 1, 3 * patience);
}

static void periodic_start_over(struct periodic_task *state, u64 interval_ns, u64 now)
{
	state->period_ns = interval_ns;
	state->expected_at = now;
}

static void periodic_learn(const struct task_struct *p, struct periodic_task *state, u64 now)
{
	u64 interval_ns = now - state->woke_at, times;
	s64 error_ns;

	if (periodic_fits(state->period_ns, now - state->expected_at, &times, &error_ns)) {
		periodic_follow(state, times, error_ns);
	} else if (state->fitting > patience / 2) {
		state->fitting -= 2;
	} else if (interval_ns < state->period_ns && periodic_fits(interval_ns, state->period_ns, &times, &error_ns)) {
		/* What seemed to be the interval was several of them: work that came too late left wake-ups out. */
		periodic_start_over(state, interval_ns, now);
	} else {
		periodic_start_over(state, interval_ns, now);
		state->fitting = 0;
	}
	if (!state->known && state->fitting >= patience && periodic_may_be(p, state)) {
		state->known = true;
		last_period_us = state->period_ns / NSEC_PER_USEC;
		count(nr_learned);
	} else if (state->known && (state->fitting <= patience / 2 || !periodic_may_be(p, state))) {
		state->known = false;
		count(nr_forgotten);
	}
}

static void periodic_begin(struct periodic_task *state)
{
	state->deadline = state->woke_at + state->period_ns;
	state->budget_ns = min(max(4 * state->burst_ns, MIN_BUDGET_NS), state->period_ns * share_percent / 100);
}

s32 BPF_STRUCT_OPS(periodic_select_cpu, struct task_struct *p, s32 prev_cpu, u64 wake_flags)
{
	struct periodic_task *state = task_state(&tasks, p);
	bool idle = false;
	s32 cpu = scx_bpf_select_cpu_dfl(p, prev_cpu, wake_flags, &idle);

	if (idle) {
		count(nr_to_idle_cpu);
		scx_bpf_dsq_insert(p, SCX_DSQ_LOCAL,
				   state && periodic_goes_first(state) ? periodic_slice(state) : fair_slice(), 0);
	}
	return cpu;
}

/*
 * Asks a CPU to look at the queue: one whose task is not periodic, or else the one with the latest deadline. What it reads
 * of other CPUs may be out of date by the time it is used: a CPU that is asked in vain goes on with what it did.
 */
static void periodic_preempt(const struct task_struct *p, u64 deadline)
{
	u64 latest = deadline + preempt_margin_us * NSEC_PER_USEC;
	u32 nr_cpus = scx_bpf_nr_cpu_ids(), first = scx_bpf_task_cpu(p);
	s32 victim = -1;
	int i;

	bpf_for(i, 0, min(nr_cpus, CPUS_LOOKED_AT)) {
		u32 cpu = (first + i) % nr_cpus;
		struct periodic_cpu *other = periodic_cpu(cpu);

		if (!other || !other->busy || !bpf_cpumask_test_cpu(cpu, p->cpus_ptr))
			continue;
		if (!other->deadline) {
			victim = cpu;
			break;
		}
		if (time_after(other->deadline, latest)) {
			latest = other->deadline;
			victim = cpu;
		}
	}
	if (victim >= 0) {
		count(nr_preempted);
		scx_bpf_kick_cpu(victim, SCX_KICK_PREEMPT);
	}
}

void BPF_STRUCT_OPS(periodic_enqueue, struct task_struct *p, u64 enq_flags)
{
	struct periodic_task *state = task_state(&tasks, p);

	if (!state || is_percpu_kthread(p)) {
		scx_bpf_dsq_insert(p, SCX_DSQ_LOCAL, fair_slice(), enq_flags);
		return;
	}
	count(nr_queued);
	if (!periodic_goes_first(state)) {
		scx_bpf_dsq_insert_vtime(p, FAIR_DSQ, fair_slice(), fair_turn(state), enq_flags);
		kick_idle_cpu(p);
		return;
	}
	scx_bpf_dsq_insert_vtime(p, PERIODIC_DSQ, periodic_slice(state), state->deadline, enq_flags);
	if (!kick_idle_cpu(p))
		periodic_preempt(p, state->deadline);
}

/* Lets the running task go on if it still comes before all who wait. */
static bool periodic_goes_on(struct task_struct *p)
{
	struct periodic_task *state = task_state(&tasks, p);
	u64 first;

	if (!state)
		return false;
	periodic_charge(p, state);
	if (periodic_goes_first(state)) {
		if (first_vtime(PERIODIC_DSQ, &first) && time_before(first, state->deadline))
			return false;
		scx_bpf_task_set_slice(p, periodic_slice(state));
		return true;
	}
	if (scx_bpf_dsq_nr_queued(PERIODIC_DSQ) ||
	    (first_vtime(FAIR_DSQ, &first) && !time_before(fair_turn(state), first)))
		return false;
	scx_bpf_task_set_slice(p, fair_slice());
	return true;
}

/* Whether somebody who is not periodic has waited for so long that a CPU serves them first, once. */
static bool periodic_owes(struct periodic_cpu *here)
{
	u64 first;

	if (!here || !here->owes)
		return false;
	return first_vtime(FAIR_DSQ, &first) && time_before(first + others_wait_ms * NSEC_PER_MSEC, scx_bpf_now());
}

void BPF_STRUCT_OPS(periodic_dispatch, s32 cpu, struct task_struct *prev)
{
	struct periodic_cpu *here = periodic_cpu(cpu);

	if (periodic_owes(here) && scx_bpf_dsq_move_to_local(FAIR_DSQ))
		return;
	if (wants_to_go_on(prev) && periodic_goes_on(prev))
		return;
	/* What waits may be barred from this CPU: then the task that was here goes on. */
	if (!scx_bpf_dsq_move_to_local(PERIODIC_DSQ) && !scx_bpf_dsq_move_to_local(FAIR_DSQ) && wants_to_go_on(prev))
		scx_bpf_task_set_slice(prev, fair_slice());
}

void BPF_STRUCT_OPS(periodic_running, struct task_struct *p)
{
	struct periodic_task *state = task_state(&tasks, p);
	struct periodic_cpu *here = periodic_cpu(scx_bpf_task_cpu(p));
	bool first;

	if (!state)
		return;
	state->charged = p->se.sum_exec_runtime;
	if (!here)
		return;
	first = periodic_goes_first(state);
	here->deadline = first ? state->deadline : 0;
	here->owes = first;
	here->busy = true;
}

void BPF_STRUCT_OPS(periodic_stopping, struct task_struct *p, bool runnable)
{
	struct periodic_task *state = task_state(&tasks, p);
	struct periodic_cpu *here = periodic_cpu(scx_bpf_task_cpu(p));

	if (state)
		periodic_charge(p, state);
	if (here)
		here->busy = false;
}

void BPF_STRUCT_OPS(periodic_runnable, struct task_struct *p, u64 enq_flags)
{
	struct periodic_task *state = task_state(&tasks, p);
	u64 now = scx_bpf_now();

	if (!state)
		return;
	vclock_join(&clock, &state->share, p->scx.weight);
	/* A wake-up right after the last one belongs to the same period. */
	if (!(enq_flags & SCX_ENQ_WAKEUP) || time_before(now, state->woke_at + MIN_PERIOD_NS / 2))
		return;
	periodic_learn(p, state, now);
	state->woke_at = now;
	state->awake_since = p->se.sum_exec_runtime;
	periodic_begin(state);
}

void BPF_STRUCT_OPS(periodic_quiescent, struct task_struct *p, u64 deq_flags)
{
	struct periodic_task *state = task_state(&tasks, p);

	if (!state)
		return;
	vclock_leave(&clock, &state->share);
	if (!(deq_flags & SCX_DEQ_SLEEP))
		return;
	state->burst_ns = (state->burst_ns * 3 + p->se.sum_exec_runtime - state->awake_since) / 4;
	if (!state->known)
		return;
	if (time_before(scx_bpf_now(), state->deadline))
		count(nr_on_time);
	else
		count(nr_late);
}

void BPF_STRUCT_OPS(periodic_set_weight, struct task_struct *p, u32 weight)
{
	struct periodic_task *state = task_state(&tasks, p);

	if (state)
		vclock_reweigh(&clock, &state->share, weight);
}

s32 BPF_STRUCT_OPS_SLEEPABLE(periodic_init_task, struct task_struct *p, struct scx_init_task_args *args)
{
	return new_task_state(&tasks, p) ? 0 : -ENOMEM;
}

void BPF_STRUCT_OPS(periodic_enable, struct task_struct *p)
{
	struct periodic_task *state = task_state(&tasks, p);

	if (!state)
		return;
	state->vtime = vclock_now(&clock);
	state->awake_since = p->se.sum_exec_runtime;
}

/* With these two, the policy lives on when CPUs come and go, as they do around suspend. */
void BPF_STRUCT_OPS(periodic_cpu_online, s32 cpu)
{
	clock.nr_cpus = nr_online_cpus();
}

void BPF_STRUCT_OPS(periodic_cpu_offline, s32 cpu)
{
	empty_for_offline(PERIODIC_DSQ, cpu);
	empty_for_offline(FAIR_DSQ, cpu);
	clock.nr_cpus = nr_cpus_without(cpu);
}

s32 BPF_STRUCT_OPS_SLEEPABLE(periodic_init)
{
	s32 error;

	vclock_start(&clock);
	window_began = scx_bpf_now();
	error = scx_bpf_create_dsq(PERIODIC_DSQ, NUMA_NO_NODE);
	return error ?: scx_bpf_create_dsq(FAIR_DSQ, NUMA_NO_NODE);
}

UEI_DEFINE(uei);

void BPF_STRUCT_OPS(periodic_exit, struct scx_exit_info *info)
{
	UEI_RECORD(uei, info);
}

SCX_OPS_DEFINE(periodic_ops,
	.select_cpu = (void *)periodic_select_cpu,
	.enqueue = (void *)periodic_enqueue,
	.dispatch = (void *)periodic_dispatch,
	.running = (void *)periodic_running,
	.stopping = (void *)periodic_stopping,
	.runnable = (void *)periodic_runnable,
	.quiescent = (void *)periodic_quiescent,
	.set_weight = (void *)periodic_set_weight,
	.init_task = (void *)periodic_init_task,
	.enable = (void *)periodic_enable,
	.cpu_online = (void *)periodic_cpu_online,
	.cpu_offline = (void *)periodic_cpu_offline,
	.init = (void *)periodic_init,
	.exit = (void *)periodic_exit,
	.timeout_ms = 5000,
	.name = "periodic");
