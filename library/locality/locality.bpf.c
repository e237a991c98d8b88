/* SPDX-License-Identifier: GPL-2.0 */
/*
 * locality: tasks stay with the cache that holds their data.
 *
 * CPUs that share a last-level cache (LLC) share a queue. A task waits in the queue of the cache where it ran last,
 * sorted as in `fair`: its turn comes the sooner, the less it has run in proportion to its weight. A CPU that becomes
 * free takes the first task of its own queue.
 *
 * Moving to another cache costs a task its warm data, so it happens for three reasons only: the task is new and has no
 * data yet; a CPU elsewhere has nothing to do, and the task has waited for `stay_us`; or its turn is
 * `max_lag_us` more overdue than that of those who wait elsewhere, as when more tasks share one cache than the other. The
 * last one makes shares even over the whole machine, and is why nobody starves: turns are times on the wall clock, so
 * those of different queues can be compared.
 *
 * Which CPUs share a cache comes from the kernel's own scheduling domains (the per-CPU variable sd_llc_id). Where
 * it cannot be read, all CPUs count as sharing one.
 */
#include <schedtui.bpf.h>

char _license[] SEC("license") = "GPL";

#define MIN_SLICE_NS (500 * NSEC_PER_USEC)
#define MAX_CPUS 1024
#define MAX_LLCS 64
#define CPUS_LOOKED_AT 64
#define LOOK_AROUND_NS (2 * NSEC_PER_MSEC)

/* How long a task runs before others get their turn. Longer: fewer switches, warmer caches, more throughput. Cost:
 * Whoever waits, waits longer. */
const volatile u64 slice_us = 5000;

/* How long a task waits for a CPU of its own cache before an idle one elsewhere may take it. Longer: fewer moves
 * between caches. Cost: CPUs idle for that long although somebody waits. */
const volatile u64 stay_us = 8000;

/* How much more overdue the turns at another cache must be than the own ones before a busy CPU helps there. Longer:
 * fewer moves between caches. Cost: Tasks at a crowded cache get less than their share for that long. */
const volatile u64 max_lag_us = 50000;

/* How far a task that slept may start behind the others. More: it gets a CPU sooner after waking up. Cost: Many
 * tasks that sleep now and then hold up those that compute. */
const volatile u64 sleeper_credit_us = 5000;

/* The longest that a task's debt can keep it from running. Longer: weights are kept more exactly between extremes.
 * Cost: Tasks of low weight pause longer. The watchdog ends the policy at 5000. */
const volatile u64 max_wait_ms = 1000;

u64 nr_caches;      /* last-level caches that were found */
u64 nr_to_idle_cpu; /* wake-ups that found an idle CPU at the task's own cache */
u64 nr_queued;      /* times that a task had to wait */
u64 nr_stolen;      /* tasks that an idle CPU took from another cache */
u64 nr_helped;      /* tasks that a busy CPU took because they waited much longer elsewhere */
u64 nr_moved;       /* times that a task ran at another cache than before, for whatever reason */

static struct vclock clock;

struct locality_task {
	u64 vtime;
	u64 charged;   /* sum_exec_runtime up to where vtime counts it */
	u64 queued_at; /* ns */
	u32 llc;       /* where it ran last */
	bool has_run;
	struct vclock_share share;
};
TASK_STATE(tasks, struct locality_task);

/* One cache line each, so that caches do not slow each other down. */
struct locality_llc {
	u64 looked_around_at; /* ns */
	u32 first;            /* its CPUs are cpus_by_llc[first .. first + nr_cpus - 1] */
	u32 nr_cpus;
} __attribute__((aligned(64)));

static struct locality_llc llcs[MAX_LLCS];
static u32 llc_of_cpu[MAX_CPUS];
static u32 cpus_by_llc[MAX_CPUS];
static u32 nr_listed; /* of them */

extern const int sd_llc_id __ksym __weak;

static u32 locality_llc_of(s32 cpu)
{
	u32 index = cpu;

	return index < MAX_CPUS ? llc_of_cpu[index] & (MAX_LLCS - 1) : 0;
}

static struct locality_llc *locality_llc(u32 llc)
{
	return &llcs[llc & (MAX_LLCS - 1)];
}

/* The queue where a task belongs: that of its CPU, or of one of its CPUs when it may no longer run there. */
static u32 locality_home(const struct task_struct *p)
{
	s32 cpu = scx_bpf_task_cpu(p);

	if (!bpf_cpumask_test_cpu(cpu, p->cpus_ptr))
		cpu = bpf_cpumask_first(p->cpus_ptr);
	return locality_llc_of(cpu);
}

/* Where the fewest wait for each CPU. For a task that has no data anywhere yet, and may run everywhere. */
static u32 locality_shortest_queue(u32 llc_index)
{
	u64 shortest = ~0ULL;
	int i;

	bpf_for(i, 0, min(nr_caches, MAX_LLCS)) {
		u64 waiting = scx_bpf_dsq_nr_queued(i) * MAX_CPUS / max(locality_llc(i)->nr_cpus, 1);

		if (waiting < shortest) {
			shortest = waiting;
			llc_index = i;
		}
	}
	return llc_index;
}

static u64 locality_slice(u32 llc)
{
	return slice_for_queue(slice_us * NSEC_PER_USEC, MIN_SLICE_NS, max_wait_ms * NSEC_PER_MSEC,
			       scx_bpf_dsq_nr_queued(llc), locality_llc(llc)->nr_cpus);
}

/* An idle CPU of the cache that may run the task, a whole idle core if there is one; negative if there is none. */
static s32 locality_pick_idle(const struct task_struct *p, u32 llc_index, s32 near)
{
	const struct cpumask *idle = scx_bpf_get_idle_cpumask(), *cores = scx_bpf_get_idle_smtmask();
	struct locality_llc *llc = locality_llc(llc_index);
	u32 nr = min(llc->nr_cpus, CPUS_LOOKED_AT);
	s32 found = -1;
	int i;

	if (bpf_cpumask_empty(idle))
		goto out;
	if (bpf_cpumask_test_cpu(near, cores) && bpf_cpumask_test_cpu(near, p->cpus_ptr) &&
	    locality_llc_of(near) == llc_index && scx_bpf_test_and_clear_cpu_idle(near)) {
		found = near;
		goto out;
	}
	bpf_for(i, 0, 2 * nr) {
		u32 index = llc->first + (i < nr ? i : i - nr), cpu;

		if (index >= MAX_CPUS)
			break;
		cpu = cpus_by_llc[index];
		if (bpf_cpumask_test_cpu(cpu, i < nr ? cores : idle) && bpf_cpumask_test_cpu(cpu, p->cpus_ptr) &&
		    scx_bpf_test_and_clear_cpu_idle(cpu)) {
			found = cpu;
			break;
		}
	}
out:
	scx_bpf_put_idle_cpumask(cores);
	scx_bpf_put_idle_cpumask(idle);
	return found;
}

/* Adds what the task ran since it was last charged. */
static void locality_charge(const struct task_struct *p, struct locality_task *state)
{
	state->vtime += weighted(p, p->se.sum_exec_runtime - state->charged);
	state->charged = p->se.sum_exec_runtime;
}

/* Twice the lag, because a turn that could not be that far in the past would never show that it is overdue. */
static u64 locality_turn(struct locality_task *state)
{
	return vclock_turn(&clock, &state->vtime, 2 * max_lag_us * NSEC_PER_USEC, max_wait_ms * NSEC_PER_MSEC);
}

/* The first task of a queue: its turn, and since when it waits. False if the queue is empty. */
static bool locality_first(u32 llc, u64 *turn, u64 *queued_at)
{
	struct task_struct *p;
	bool found = false;

	if (!scx_bpf_dsq_nr_queued(llc))
		return false;
	bpf_for_each(scx_dsq, p, llc, 0) {
		struct locality_task *state = task_state(&tasks, p);

		*turn = p->scx.dsq_vtime;
		*queued_at = state ? state->queued_at : 0;
		found = true;
		break;
	}
	return found;
}

s32 BPF_STRUCT_OPS(locality_select_cpu, struct task_struct *p, s32 prev_cpu, u64 wake_flags)
{
	struct locality_task *state = task_state(&tasks, p);
	bool idle = false;
	s32 cpu;

	if (!state || !state->has_run) {
		cpu = scx_bpf_select_cpu_dfl(p, prev_cpu, wake_flags, &idle);
		if (idle)
			scx_bpf_dsq_insert(p, SCX_DSQ_LOCAL, locality_slice(locality_llc_of(cpu)), 0);
		return cpu;
	}
	cpu = locality_pick_idle(p, locality_llc_of(prev_cpu), prev_cpu);
	if (cpu < 0)
		return prev_cpu;
	count(nr_to_idle_cpu);
	scx_bpf_dsq_insert(p, SCX_DSQ_LOCAL, locality_slice(locality_llc_of(cpu)), 0);
	return cpu;
}

void BPF_STRUCT_OPS(locality_enqueue, struct task_struct *p, u64 enq_flags)
{
	struct locality_task *state = task_state(&tasks, p);
	u32 llc = locality_home(p);
	s32 cpu;

	if (!state || is_percpu_kthread(p)) {
		scx_bpf_dsq_insert(p, SCX_DSQ_LOCAL, locality_slice(llc), enq_flags);
		return;
	}
	count(nr_queued);
	if (!state->has_run && p->nr_cpus_allowed >= clock.nr_cpus)
		llc = locality_shortest_queue(llc);
	state->queued_at = scx_bpf_now();
	scx_bpf_dsq_insert_vtime(p, llc, locality_slice(llc), locality_turn(state), enq_flags);
	cpu = locality_pick_idle(p, llc, scx_bpf_task_cpu(p));
	if (cpu >= 0)
		scx_bpf_kick_cpu(cpu, SCX_KICK_IDLE);
	else if (!state->has_run || !stay_us)
		kick_idle_cpu(p);
}

/*
 * Whether a task may leave its cache for an idle CPU: it has waited for long enough now, or a little again and again, so
 * that its turn is as much overdue.
 */
static bool locality_may_leave(u64 turn, u64 queued_at)
{
	u64 limit = scx_bpf_now() - stay_us * NSEC_PER_USEC;

	return !time_before(limit, queued_at) || !time_before(limit, turn + sleeper_credit_us * NSEC_PER_USEC);
}

/* The queue, other than the own, whose first task's turn came first; for an idle CPU, of those that may leave. */
static s32 locality_most_overdue(u32 own, u64 turn_before, bool idle)
{
	s32 found = -1;
	int i;

	bpf_for(i, 0, min(nr_caches, MAX_LLCS)) {
		u64 turn, queued_at;

		if (i == own || !locality_first(i, &turn, &queued_at) || !time_before(turn, turn_before))
			continue;
		if (idle && !locality_may_leave(turn, queued_at))
			continue;
		turn_before = turn;
		found = i;
	}
	return found;
}

/* Now and then a busy CPU looks whether somebody elsewhere waits much longer than those at its own cache. */
static bool locality_help(u32 own, u64 own_turn)
{
	struct locality_llc *llc = locality_llc(own);
	u64 now = scx_bpf_now();
	s32 other;

	if (nr_caches < 2 || time_before(now, llc->looked_around_at + LOOK_AROUND_NS))
		return false;
	llc->looked_around_at = now;
	other = locality_most_overdue(own, own_turn - max_lag_us * NSEC_PER_USEC, false);
	if (other < 0 || !scx_bpf_dsq_move_to_local(other))
		return false;
	count(nr_helped);
	return true;
}

/* An idle CPU takes the most overdue of those who have waited for long enough. */
static bool locality_steal(u32 own)
{
	s32 other;

	if (nr_caches < 2)
		return false;
	other = locality_most_overdue(own, scx_bpf_now() + 2 * max_wait_ms * NSEC_PER_MSEC, true);
	if (other < 0 || !scx_bpf_dsq_move_to_local(other))
		return false;
	count(nr_stolen);
	return true;
}

void BPF_STRUCT_OPS(locality_dispatch, s32 cpu, struct task_struct *prev)
{
	struct locality_task *state = prev ? task_state(&tasks, prev) : NULL;
	bool goes_on = wants_to_go_on(prev), waits;
	u64 first = 0, own_turn = scx_bpf_now(), queued_at;
	u32 llc = locality_llc_of(cpu);

	waits = locality_first(llc, &first, &queued_at);
	if (waits)
		own_turn = first;
	if (goes_on && state) {
		u64 turn;

		locality_charge(prev, state);
		turn = locality_turn(state);
		if (!waits || time_before(turn, own_turn))
			own_turn = turn;
	}
	if (waits || goes_on) {
		if (locality_help(llc, own_turn))
			return;
	}
	if (goes_on && (!waits || !state || own_turn != first)) {
		scx_bpf_task_set_slice(prev, locality_slice(llc));
		return;
	}
	if (scx_bpf_dsq_move_to_local(llc))
		return;
	/* What waits may be barred from this CPU: then the task that was here goes on. */
	if (goes_on)
		scx_bpf_task_set_slice(prev, locality_slice(llc));
	else
		locality_steal(llc);
}

/* All CPUs of a cache are busy, or this would not tick where somebody waits: after `stay_us` an idle one elsewhere may. */
void BPF_STRUCT_OPS(locality_tick, struct task_struct *p)
{
	u32 llc = locality_llc_of(scx_bpf_task_cpu(p));
	struct task_struct *first;

	if (nr_caches < 2 || !scx_bpf_dsq_nr_queued(llc))
		return;
	bpf_for_each(scx_dsq, first, llc, 0) {
		struct locality_task *state = task_state(&tasks, first);

		if (state && locality_may_leave(first->scx.dsq_vtime, state->queued_at))
			kick_idle_cpu(first);
		break;
	}
}

void BPF_STRUCT_OPS(locality_running, struct task_struct *p)
{
	struct locality_task *state = task_state(&tasks, p);
	u32 llc = locality_llc_of(scx_bpf_task_cpu(p));

	if (!state)
		return;
	if (state->has_run && state->llc != llc)
		count(nr_moved);
	state->llc = llc;
	state->has_run = true;
	state->charged = p->se.sum_exec_runtime;
}

void BPF_STRUCT_OPS(locality_stopping, struct task_struct *p, bool runnable)
{
	struct locality_task *state = task_state(&tasks, p);

	if (state)
		locality_charge(p, state);
}

/* Sleep earns the credit of a sleeper, not the larger lag of those who were kept waiting. */
void BPF_STRUCT_OPS(locality_runnable, struct task_struct *p, u64 enq_flags)
{
	struct locality_task *state = task_state(&tasks, p);
	u64 now, capacity, earliest;

	if (!state)
		return;
	vclock_join(&clock, &state->share, p->scx.weight);
	if (!(enq_flags & SCX_ENQ_WAKEUP))
		return;
	now = vclock_now(&clock);
	capacity = max(clock.nr_cpus * 100, 1);
	earliest = now - sleeper_credit_us * NSEC_PER_USEC * capacity / max(clock.weight, capacity);
	if (time_before(state->vtime, earliest))
		state->vtime = earliest;
}

void BPF_STRUCT_OPS(locality_quiescent, struct task_struct *p, u64 deq_flags)
{
	struct locality_task *state = task_state(&tasks, p);

	if (state)
		vclock_leave(&clock, &state->share);
}

void BPF_STRUCT_OPS(locality_set_weight, struct task_struct *p, u32 weight)
{
	struct locality_task *state = task_state(&tasks, p);

	if (state)
		vclock_reweigh(&clock, &state->share, weight);
}

s32 BPF_STRUCT_OPS_SLEEPABLE(locality_init_task, struct task_struct *p, struct scx_init_task_args *args)
{
	struct locality_task *state = new_task_state(&tasks, p);

	if (!state)
		return -ENOMEM;
	state->has_run = !args->fork;
	state->llc = locality_llc_of(scx_bpf_task_cpu(p));
	return 0;
}

void BPF_STRUCT_OPS(locality_enable, struct task_struct *p)
{
	struct locality_task *state = task_state(&tasks, p);

	if (state)
		state->vtime = vclock_now(&clock);
}

/* The kernel's number for the last-level cache of a CPU: not dense, and another one when CPUs come and go. */
static s32 locality_kernel_llc(u32 cpu)
{
	const int *id;

	if (!bpf_ksym_exists(&sd_llc_id))
		return 0;
	id = bpf_per_cpu_ptr(&sd_llc_id, cpu);
	return id ? *id : 0;
}

/* The cache of a CPU among those of the CPUs before it; a new one when none of them has the same. */
static u32 locality_find_llc(u32 cpu)
{
	s32 id = locality_kernel_llc(cpu);
	int other;

	bpf_for(other, 0, cpu) {
		if (locality_kernel_llc(other) == id)
			return locality_llc_of(other);
	}
	/* More caches than queues: they share the last one. */
	return nr_caches < MAX_LLCS ? nr_caches++ : MAX_LLCS - 1;
}

/* Lists the CPUs of a cache. */
static void locality_list_cpus(u32 index)
{
	struct locality_llc *llc = locality_llc(index);
	int cpu;

	llc->first = nr_listed;
	bpf_for(cpu, 0, min(scx_bpf_nr_cpu_ids(), MAX_CPUS)) {
		u32 place = nr_listed;

		if (locality_llc_of(cpu) != index || place >= MAX_CPUS)
			continue;
		cpus_by_llc[place] = cpu;
		nr_listed = place + 1;
		llc->nr_cpus++;
	}
}

/*
 * With these two, the policy lives on when CPUs come and go, as they do around suspend. Caches keep the CPUs that they had:
 * a CPU that was never online before is counted to the first cache, which costs it nothing but locality.
 */
void BPF_STRUCT_OPS(locality_cpu_online, s32 cpu)
{
	clock.nr_cpus = nr_online_cpus();
}

void BPF_STRUCT_OPS(locality_cpu_offline, s32 cpu)
{
	int llc;

	bpf_for(llc, 0, min(nr_caches, MAX_LLCS))
		empty_for_offline(llc, cpu);
	clock.nr_cpus = nr_cpus_without(cpu);
}

s32 BPF_STRUCT_OPS_SLEEPABLE(locality_init)
{
	int cpu, llc;

	vclock_start(&clock);
	bpf_for(cpu, 0, min(scx_bpf_nr_cpu_ids(), MAX_CPUS)) {
		u32 index = cpu;

		if (index < MAX_CPUS)
			llc_of_cpu[index] = locality_find_llc(index);
	}
	bpf_for(llc, 0, min(nr_caches, MAX_LLCS)) {
		s32 error = scx_bpf_create_dsq(llc, NUMA_NO_NODE);

		if (error)
			return error;
		locality_list_cpus(llc);
	}
	return 0;
}

UEI_DEFINE(uei);

void BPF_STRUCT_OPS(locality_exit, struct scx_exit_info *info)
{
	UEI_RECORD(uei, info);
}

SCX_OPS_DEFINE(locality_ops,
	.select_cpu = (void *)locality_select_cpu,
	.enqueue = (void *)locality_enqueue,
	.dispatch = (void *)locality_dispatch,
	.tick = (void *)locality_tick,
	.running = (void *)locality_running,
	.stopping = (void *)locality_stopping,
	.runnable = (void *)locality_runnable,
	.quiescent = (void *)locality_quiescent,
	.set_weight = (void *)locality_set_weight,
	.init_task = (void *)locality_init_task,
	.enable = (void *)locality_enable,
	.cpu_online = (void *)locality_cpu_online,
	.cpu_offline = (void *)locality_cpu_offline,
	.init = (void *)locality_init,
	.exit = (void *)locality_exit,
	.timeout_ms = 5000,
	.name = "locality");
