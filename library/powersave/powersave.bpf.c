/* SPDX-License-Identifier: GPL-2.0 */
/*
 * powersave: as few CPUs as the load needs, the efficient ones first, so that the others can sleep deeply.
 *
 * CPUs are open or closed. Tasks wait in one queue, sorted as in `fair` (a task's turn comes the sooner, the less it
 * has run in proportion to its weight), and only open CPUs take from it. At first one CPU is open: the one with the
 * least capacity, which on machines with fast and slow cores is a slow one.
 *
 * A task that finds no open CPU idle starts a timer. When the first in the queue has waited for `open_after_us`, the
 * timer opens one more CPU, and again after that time as long as somebody waits for too long: no wait is longer than it
 * takes to open as many CPUs as are needed, up to all of them. From then on it is a fair scheduler.
 *
 * Each `look_back_ms` the time that tasks ran is compared with what the open CPUs could do. When one CPU less would be
 * filled by `full_percent` at most, an open CPU that idles is closed, the least efficient first.
 *
 * A task that may not run on the first CPU of the order waits in a queue that all CPUs serve, closed ones too: its
 * owner's choice of CPUs comes before saving.
 *
 * Where the CPU's speed can be chosen (the schedutil governor), it follows how busy the CPU was: under sched_ext the
 * kernel asks for the highest speed unless the scheduler says otherwise.
 */
#include <schedtui.bpf.h>

char _license[] SEC("license") = "GPL";

#define OPEN_DSQ 1
#define ANY_DSQ 2
#define MIN_SLICE_NS (500 * NSEC_PER_USEC)
#define MAX_CPUS 1024
#define CPUS_LOOKED_AT 128
#define CAPACITIES 64
#define SPEED_WINDOW_NS (20 * NSEC_PER_MSEC)
#define LOWEST_SPEED (SCX_CPUPERF_ONE / 8)

/* How long a task may wait before one more CPU is woken. Longer: fewer CPUs are used, and more power is saved.
 * Cost: Everything answers later by up to that much when the load grows. */
const volatile u64 open_after_us = 2000;

/* How full the CPUs that stay may become before another is kept. Higher: fewer CPUs are used. Cost: Tasks get
 * into each other's way more often, and CPUs are opened again soon. */
const volatile u64 full_percent = 80;

/* Over how long the load is measured before a CPU is closed. Longer: CPUs are not closed in a short pause. Cost: CPUs
 * stay awake for longer after the work is done. */
const volatile u64 look_back_ms = 100;

/* How long a task runs before others get their turn. Longer: fewer switches, warmer caches, more throughput. Cost:
 * Whoever waits, waits longer. */
const volatile u64 slice_us = 5000;

/* How far a task that slept may start behind the others. More: it gets a CPU sooner after waking up. Cost: Many
 * tasks that sleep now and then hold up those that compute. */
const volatile u64 sleeper_credit_us = 5000;

/* The longest that a task's debt can keep it from running. Longer: weights are kept more exactly between extremes.
 * Cost: Tasks of low weight pause longer. The watchdog ends the policy at 5000. */
const volatile u64 max_wait_ms = 1000;

/* Whether the speed of a CPU follows its load. Off: the kernel asks for the highest speed. Cost: A CPU that was idle
 * needs some tens of milliseconds to reach its full speed. */
const volatile bool slow_down = true;

u64 nr_open_now;    /* CPUs that are open */
u64 nr_opened;      /* times that a CPU was opened because a task waited for too long */
u64 nr_closed;      /* times that a CPU was closed because the others were enough */
u64 nr_to_idle_cpu; /* wake-ups that found an open CPU idle */
u64 nr_queued;      /* times that a task had to wait */
u64 nr_anywhere;    /* of them, by tasks whose own choice of CPUs came before saving */

static struct vclock clock;

struct powersave_task {
	u64 vtime;
	u64 charged;   /* sum_exec_runtime up to where vtime counts it */
	u64 queued_at; /* ns */
	struct vclock_share share;
};
TASK_STATE(tasks, struct powersave_task);

/* One cache line each, so that CPUs do not slow each other down. */
struct powersave_cpu {
	u64 used_ns;      /* in the window for its speed */
	u64 window_began; /* ns */
	u32 open;
	u32 place; /* in the order */
} __attribute__((aligned(64)));

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, MAX_CPUS);
	__type(key, u32);
	__type(value, struct powersave_cpu);
} cpus SEC(".maps");

/* The CPUs, in the order in which they are opened. */
static u32 order[MAX_CPUS];
static u32 nr_ordered;
static u32 nr_placed; /* while the order is made */

static u64 used_ns;   /* by all tasks, since the last look at the load */
static u64 looked_at; /* ns */
static u32 nr_needed = 1; /* CPUs, by what was used before */

struct powersave_alarm {
	struct bpf_timer timer;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct powersave_alarm);
} alarms SEC(".maps");

static u32 alarm_is_set;
static u64 nr_queued_at_alarm;

static u32 powersave_nth(u32 place)
{
	return place < MAX_CPUS ? order[place] : 0;
}

static struct powersave_cpu *powersave_cpu(u32 cpu)
{
	return bpf_map_lookup_elem(&cpus, &cpu);
}

static bool powersave_is_open(u32 cpu)
{
	struct powersave_cpu *state = powersave_cpu(cpu);

	return state && state->open;
}

static bool powersave_open(u32 cpu)
{
	struct powersave_cpu *state = powersave_cpu(cpu);

	if (!state || __sync_lock_test_and_set(&state->open, 1))
		return false;
	count(nr_open_now);
	return true;
}

static bool powersave_close(u32 cpu)
{
	struct powersave_cpu *state = powersave_cpu(cpu);

	if (!state || !__sync_lock_test_and_set(&state->open, 0))
		return false;
	count_by(nr_open_now, -1);
	return true;
}

/* Whether a task may be made to wait so that CPUs can sleep. */
static bool powersave_may_wait(const struct task_struct *p)
{
	return bpf_cpumask_test_cpu(powersave_nth(0), p->cpus_ptr);
}

static u64 powersave_slice(void)
{
	u64 nr_waiting = scx_bpf_dsq_nr_queued(OPEN_DSQ) + scx_bpf_dsq_nr_queued(ANY_DSQ);

	return slice_for_queue(slice_us * NSEC_PER_USEC, MIN_SLICE_NS, max_wait_ms * NSEC_PER_MSEC, nr_waiting,
			       nr_open_now);
}

static u64 powersave_turn(struct powersave_task *state)
{
	return vclock_turn(&clock, &state->vtime, sleeper_credit_us * NSEC_PER_USEC, max_wait_ms * NSEC_PER_MSEC);
}

/* An open CPU that idles and may run the task: where it was if that CPU stays open, or else the first in order;
 * negative if there is none. */
static s32 powersave_pick_idle(const struct task_struct *p, s32 near)
{
	const struct cpumask *idle = scx_bpf_get_idle_cpumask();
	struct powersave_cpu *there = powersave_cpu(near);
	s32 found = -1;
	int i;

	if (bpf_cpumask_empty(idle))
		goto out;
	if (there && there->open && there->place < nr_needed && bpf_cpumask_test_cpu(near, p->cpus_ptr) &&
	    scx_bpf_test_and_clear_cpu_idle(near)) {
		found = near;
		goto out;
	}
	bpf_for(i, 0, min(nr_ordered, CPUS_LOOKED_AT)) {
		u32 cpu = powersave_nth(i);

		if (powersave_is_open(cpu) && bpf_cpumask_test_cpu(cpu, p->cpus_ptr) &&
		    scx_bpf_test_and_clear_cpu_idle(cpu)) {
			found = cpu;
			break;
		}
	}
out:
	scx_bpf_put_idle_cpumask(idle);
	return found;
}

/* Asks for the speed that the CPU needs: a quarter more than it used, and all of it when it was always busy. */
static void powersave_choose_speed(u32 cpu, struct powersave_cpu *state, u64 now)
{
	u64 elapsed_ns = now - state->window_began, busy, speed;

	if (!slow_down || elapsed_ns < SPEED_WINDOW_NS)
		return;
	busy = state->used_ns * SCX_CPUPERF_ONE / elapsed_ns;
	speed = busy * scx_bpf_cpuperf_cur(cpu) / SCX_CPUPERF_ONE * 5 / 4;
	if (busy > SCX_CPUPERF_ONE * 95 / 100)
		speed = SCX_CPUPERF_ONE;
	scx_bpf_cpuperf_set(cpu, clamp_u64(speed, LOWEST_SPEED, SCX_CPUPERF_ONE));
	state->used_ns = 0;
	state->window_began = now;
}

/*
 * How many CPUs are enough for what was used: the first in order are kept open, and those after them are closed that idle.
 * The others of them have their tasks drawn to the first ones when these wake up next.
 */
static void powersave_look_back(u64 now)
{
	u64 then = looked_at, elapsed_ns = now - then, used;
	const struct cpumask *idle;
	int i;

	if (time_before(now, then + look_back_ms * NSEC_PER_MSEC) ||
	    __sync_val_compare_and_swap(&looked_at, then, now) != then)
		return;
	used = __sync_lock_test_and_set(&used_ns, 0);
	nr_needed = used * 100 / (elapsed_ns * full_percent + 1) + 1;
	idle = scx_bpf_get_idle_cpumask();
	bpf_for(i, 0, min(nr_ordered, MAX_CPUS)) {
		u32 cpu = powersave_nth(i);

		if (i < nr_needed)
			powersave_open(cpu);
		else if (bpf_cpumask_test_cpu(cpu, idle) && powersave_close(cpu))
			count(nr_closed);
	}
	scx_bpf_put_idle_cpumask(idle);
}

/* Adds what the task ran on this CPU since it was last charged. */
static void powersave_charge(const struct task_struct *p, struct powersave_task *state, u32 cpu)
{
	u64 used = p->se.sum_exec_runtime - state->charged, now = scx_bpf_now();
	struct powersave_cpu *here = powersave_cpu(cpu);

	state->vtime += weighted(p, used);
	state->charged = p->se.sum_exec_runtime;
	count_by(used_ns, used);
	powersave_look_back(now);
	if (!here)
		return;
	here->used_ns += used;
	powersave_choose_speed(cpu, here, now);
}

/* Opens the first closed CPU in order that may run the task. */
static void powersave_open_for(const struct task_struct *p)
{
	int i;

	bpf_for(i, 0, min(nr_ordered, MAX_CPUS)) {
		u32 cpu = powersave_nth(i);

		if (bpf_cpumask_test_cpu(cpu, p->cpus_ptr) && powersave_open(cpu)) {
			count(nr_opened);
			scx_bpf_kick_cpu(cpu, SCX_KICK_IDLE);
			break;
		}
	}
}

static void powersave_set_alarm(void)
{
	u32 key = 0;
	struct powersave_alarm *alarm = bpf_map_lookup_elem(&alarms, &key);

	if (alarm && nr_open_now < nr_ordered && !__sync_lock_test_and_set(&alarm_is_set, 1))
		bpf_timer_start(&alarm->timer, open_after_us * NSEC_PER_USEC, 0);
}

/*
 * Somebody may have waited for too long. A task that is being put into the queue just now does not show there yet, but
 * has been counted, and either finds the alarm off or is found here by its count: none is forgotten.
 */
static int powersave_alarm(void *map, u32 *key, struct powersave_alarm *alarm)
{
	u64 before = nr_queued_at_alarm, limit = scx_bpf_now() - open_after_us * NSEC_PER_USEC;
	struct task_struct *p;

	__sync_lock_test_and_set(&alarm_is_set, 0);
	nr_queued_at_alarm = nr_queued;
	bpf_rcu_read_lock();
	bpf_for_each(scx_dsq, p, OPEN_DSQ, 0) {
		struct powersave_task *state = task_state(&tasks, p);

		if (!state || !time_before(limit, state->queued_at)) {
			powersave_open_for(p);
			break;
		}
	}
	bpf_rcu_read_unlock();
	if (nr_queued_at_alarm != before || scx_bpf_dsq_nr_queued(OPEN_DSQ))
		powersave_set_alarm();
	return 0;
}

s32 BPF_STRUCT_OPS(powersave_select_cpu, struct task_struct *p, s32 prev_cpu, u64 wake_flags)
{
	bool idle = false;
	s32 cpu;

	if (powersave_may_wait(p)) {
		cpu = powersave_pick_idle(p, prev_cpu);
		idle = cpu >= 0;
		if (!idle)
			cpu = powersave_is_open(prev_cpu) ? prev_cpu : powersave_nth(0);
	} else {
		cpu = scx_bpf_select_cpu_dfl(p, prev_cpu, wake_flags, &idle);
	}
	if (idle) {
		count(nr_to_idle_cpu);
		scx_bpf_dsq_insert(p, SCX_DSQ_LOCAL, powersave_slice(), 0);
	}
	return cpu;
}

void BPF_STRUCT_OPS(powersave_enqueue, struct task_struct *p, u64 enq_flags)
{
	struct powersave_task *state = task_state(&tasks, p);
	s32 cpu;

	if (!state || is_percpu_kthread(p)) {
		scx_bpf_dsq_insert(p, SCX_DSQ_LOCAL, powersave_slice(), enq_flags);
		return;
	}
	count(nr_queued);
	if (!powersave_may_wait(p)) {
		count(nr_anywhere);
		scx_bpf_dsq_insert_vtime(p, ANY_DSQ, powersave_slice(), powersave_turn(state), enq_flags);
		kick_idle_cpu(p);
		return;
	}
	state->queued_at = scx_bpf_now();
	scx_bpf_dsq_insert_vtime(p, OPEN_DSQ, powersave_slice(), powersave_turn(state), enq_flags);
	cpu = powersave_pick_idle(p, scx_bpf_task_cpu(p));
	if (cpu >= 0)
		scx_bpf_kick_cpu(cpu, SCX_KICK_IDLE);
	powersave_set_alarm();
}

/* When the first turn of those comes whom this CPU serves; false if nobody waits. */
static bool powersave_first(bool open, u64 *turn, u64 *dsq_id)
{
	u64 other;
	bool waits = first_vtime(ANY_DSQ, turn);

	*dsq_id = ANY_DSQ;
	if (open && first_vtime(OPEN_DSQ, &other) && (!waits || time_before(other, *turn))) {
		*turn = other;
		*dsq_id = OPEN_DSQ;
		return true;
	}
	return waits;
}

void BPF_STRUCT_OPS(powersave_dispatch, s32 cpu, struct task_struct *prev)
{
	struct powersave_task *state = prev ? task_state(&tasks, prev) : NULL;
	bool open = powersave_is_open(cpu), goes_on = wants_to_go_on(prev);
	u64 first, dsq_id;

	if (goes_on && state)
		powersave_charge(prev, state, cpu);
	if (powersave_first(open, &first, &dsq_id)) {
		if (goes_on && state && time_before(powersave_turn(state), first)) {
			scx_bpf_task_set_slice(prev, powersave_slice());
			return;
		}
		/* What waits first may be barred from this CPU: then the other queue, then the task that was here. */
		if (scx_bpf_dsq_move_to_local(dsq_id))
			return;
		if (dsq_id == OPEN_DSQ ? scx_bpf_dsq_move_to_local(ANY_DSQ) :
					 open && scx_bpf_dsq_move_to_local(OPEN_DSQ))
			return;
	}
	if (goes_on)
		scx_bpf_task_set_slice(prev, powersave_slice());
}

/* Who runs on a closed CPU came there while it was open; there is nothing to save while it is busy. */
void BPF_STRUCT_OPS(powersave_running, struct task_struct *p)
{
	struct powersave_task *state = task_state(&tasks, p);
	s32 cpu = scx_bpf_task_cpu(p);

	if (state)
		state->charged = p->se.sum_exec_runtime;
	if (powersave_may_wait(p) && !powersave_is_open(cpu))
		powersave_open(cpu);
}

void BPF_STRUCT_OPS(powersave_stopping, struct task_struct *p, bool runnable)
{
	struct powersave_task *state = task_state(&tasks, p);

	if (state)
		powersave_charge(p, state, scx_bpf_task_cpu(p));
}

void BPF_STRUCT_OPS(powersave_runnable, struct task_struct *p, u64 enq_flags)
{
	struct powersave_task *state = task_state(&tasks, p);

	if (state)
		vclock_join(&clock, &state->share, p->scx.weight);
}

void BPF_STRUCT_OPS(powersave_quiescent, struct task_struct *p, u64 deq_flags)
{
	struct powersave_task *state = task_state(&tasks, p);

	if (state)
		vclock_leave(&clock, &state->share);
}

void BPF_STRUCT_OPS(powersave_set_weight, struct task_struct *p, u32 weight)
{
	struct powersave_task *state = task_state(&tasks, p);

	if (state)
		vclock_reweigh(&clock, &state->share, weight);
}

s32 BPF_STRUCT_OPS_SLEEPABLE(powersave_init_task, struct task_struct *p, struct scx_init_task_args *args)
{
	return new_task_state(&tasks, p) ? 0 : -ENOMEM;
}

void BPF_STRUCT_OPS(powersave_enable, struct task_struct *p)
{
	struct powersave_task *state = task_state(&tasks, p);

	if (state)
		state->vtime = vclock_now(&clock);
}

/* The least capacity above `above`; 0 if no CPU has more. */
static u32 powersave_next_capacity(const struct cpumask *online, u32 above)
{
	u32 least = 0;
	int cpu;

	bpf_for(cpu, 0, min(scx_bpf_nr_cpu_ids(), MAX_CPUS)) {
		u32 capacity;

		if (!bpf_cpumask_test_cpu(cpu, online))
			continue;
		capacity = scx_bpf_cpuperf_cap(cpu) + 1;
		if (capacity > above && (!least || capacity < least))
			least = capacity;
	}
	return least;
}

/*
 * Puts the CPUs that are online into the order in which they are opened, without the one that `leaves` (negative: none).
 * Who reads meanwhile finds a CPU twice or not at all, which costs one choice.
 */
static void powersave_put_in_order(s32 leaves)
{
	const struct cpumask *online = scx_bpf_get_online_cpumask();
	u32 capacity = 0;
	int level, cpu;

	nr_placed = 0;
	bpf_for(level, 0, CAPACITIES) {
		capacity = powersave_next_capacity(online, capacity);
		if (!capacity)
			break;
		bpf_for(cpu, 0, min(scx_bpf_nr_cpu_ids(), MAX_CPUS)) {
			struct powersave_cpu *state;
			u32 place = nr_placed;

			if (cpu == leaves || place >= MAX_CPUS || !bpf_cpumask_test_cpu(cpu, online) ||
			    scx_bpf_cpuperf_cap(cpu) + 1 != capacity)
				continue;
			order[place] = cpu;
			nr_placed = place + 1;
			state = powersave_cpu(cpu);
			if (state)
				state->place = place;
		}
	}
	nr_ordered = nr_placed;
	scx_bpf_put_cpumask(online);
	powersave_open(powersave_nth(0));
}

/* With these two, the policy lives on when CPUs come and go, as they do around suspend. */
void BPF_STRUCT_OPS(powersave_cpu_online, s32 cpu)
{
	powersave_put_in_order(-1);
	clock.nr_cpus = nr_online_cpus();
}

void BPF_STRUCT_OPS(powersave_cpu_offline, s32 cpu)
{
	powersave_put_in_order(cpu);
	powersave_close(cpu);
	empty_for_offline(OPEN_DSQ, cpu);
	empty_for_offline(ANY_DSQ, cpu);
	clock.nr_cpus = nr_cpus_without(cpu);
}

s32 BPF_STRUCT_OPS_SLEEPABLE(powersave_init)
{
	u32 key = 0;
	struct powersave_alarm *alarm = bpf_map_lookup_elem(&alarms, &key);
	s32 error;

	if (!alarm)
		return -ENOENT;
	vclock_start(&clock);
	looked_at = scx_bpf_now();
	powersave_put_in_order(-1);
	bpf_timer_init(&alarm->timer, &alarms, CLOCK_MONOTONIC);
	bpf_timer_set_callback(&alarm->timer, powersave_alarm);
	error = scx_bpf_create_dsq(OPEN_DSQ, NUMA_NO_NODE);
	return error ?: scx_bpf_create_dsq(ANY_DSQ, NUMA_NO_NODE);
}

UEI_DEFINE(uei);

void BPF_STRUCT_OPS(powersave_exit, struct scx_exit_info *info)
{
	UEI_RECORD(uei, info);
}

SCX_OPS_DEFINE(powersave_ops,
	.select_cpu = (void *)powersave_select_cpu,
	.enqueue = (void *)powersave_enqueue,
	.dispatch = (void *)powersave_dispatch,
	.running = (void *)powersave_running,
	.stopping = (void *)powersave_stopping,
	.runnable = (void *)powersave_runnable,
	.quiescent = (void *)powersave_quiescent,
	.set_weight = (void *)powersave_set_weight,
	.init_task = (void *)powersave_init_task,
	.enable = (void *)powersave_enable,
	.cpu_online = (void *)powersave_cpu_online,
	.cpu_offline = (void *)powersave_cpu_offline,
	.init = (void *)powersave_init,
	.exit = (void *)powersave_exit,
	.timeout_ms = 5000,
	.name = "powersave");
