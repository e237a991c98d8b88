/* SPDX-License-Identifier: GPL-2.0 */
/*
 * comeback: weighted fair shares on a machine whose CPUs come and go.
 *
 * All tasks wait in one queue, sorted by when their turn comes, as in `fair`. A CPU that has just been switched on is
 * slow at first: its caches are cold, its frequency low, and the kernel itself still has work to do there. So it is
 * left alone until `settle_ms` have passed, except for tasks that may run nowhere else. CPUs that go on and off
 * again and again, as under some power managers, do not get work in between.
 */
#include <schedtui.bpf.h>

char _license[] SEC("license") = "GPL";

#define SHARED_DSQ 1
#define MAX_CPUS 1024
#define NEVER (~0ULL)
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

/* How long a CPU that was switched on is left alone. Longer: it is ready for work. Cost: It idles for so long. */
const volatile u64 settle_ms = 100;

u64 nr_to_idle_cpu; /* wake-ups that found an idle CPU */
u64 nr_queued;      /* times that a task had to wait */
u64 nr_kept;        /* times that a task went on after its slice, still the furthest behind */
u64 nr_forgiven;    /* times that the longest wait cut a debt */

UEI_DEFINE(uei);

static struct vclock clock;

struct comeback_task {
	u64 vtime;
	u64 charged; /* sum_exec_runtime up to where vtime counts it */
	struct vclock_share share;
};
TASK_STATE(tasks, struct comeback_task);

/* From when on each CPU is given work, ns. */
static u64 usable_from[MAX_CPUS];

static bool comeback_is_usable(s32 cpu)
{
	return scx_bpf_now() >= usable_from[cpu & (MAX_CPUS - 1)];
}

/* An idle CPU that is given work, the one where the task was before if possible; negative if there is none. */
static s32 comeback_pick_idle(const struct task_struct *p, s32 near)
{
	u32 nr_cpus = scx_bpf_nr_cpu_ids();
	int i;

	bpf_for(i, 0, min(nr_cpus, MAX_CPUS)) {
		s32 cpu = (near + i) % nr_cpus;

		if (comeback_is_usable(cpu) && bpf_cpumask_test_cpu(cpu, p->cpus_ptr) &&
		    scx_bpf_test_and_clear_cpu_idle(cpu))
			return cpu;
	}
	return -1;
}

static u64 comeback_slice(void)
{
	return slice_for_queue(slice_us * NSEC_PER_USEC, MIN_SLICE_NS, max_wait_ms * NSEC_PER_MSEC,
			       scx_bpf_dsq_nr_queued(SHARED_DSQ), clock.nr_cpus);
}

static u64 comeback_turn(struct comeback_task *state)
{
	u64 owed = state->vtime;
	u64 turn = vclock_turn(&clock, &state->vtime, sleeper_credit_us * NSEC_PER_USEC, max_wait_ms * NSEC_PER_MSEC);

	if (time_before(state->vtime, owed))
		count(nr_forgiven);
	return turn;
}

/* Adds what the task ran since it was last charged. */
static void comeback_charge(const struct task_struct *p, struct comeback_task *state)
{
	state->vtime += weighted(p, p->se.sum_exec_runtime - state->charged);
	state->charged = p->se.sum_exec_runtime;
}

s32 BPF_STRUCT_OPS(comeback_select_cpu, struct task_struct *p, s32 prev_cpu, u64 wake_flags)
{
	s32 cpu = comeback_pick_idle(p, prev_cpu);

	if (cpu < 0)
		return prev_cpu;
	count(nr_to_idle_cpu);
	scx_bpf_dsq_insert(p, SCX_DSQ_LOCAL, comeback_slice(), 0);
	return cpu;
}

void BPF_STRUCT_OPS(comeback_enqueue, struct task_struct *p, u64 enq_flags)
{
	struct comeback_task *state = task_state(&tasks, p);
	s32 cpu = scx_bpf_task_cpu(p);

	/* A task that is bound to a CPU which settles cannot be served by another one. */
	if (!state || is_percpu_kthread(p) || (p->nr_cpus_allowed == 1 && !comeback_is_usable(cpu))) {
		scx_bpf_dsq_insert(p, SCX_DSQ_LOCAL, comeback_slice(), enq_flags);
		return;
	}
	count(nr_queued);
	scx_bpf_dsq_insert_vtime(p, SHARED_DSQ, comeback_slice(), comeback_turn(state), enq_flags);
	cpu = comeback_pick_idle(p, cpu);
	if (cpu >= 0)
		scx_bpf_kick_cpu(cpu, SCX_KICK_IDLE);
}

static bool comeback_comes_first(const struct task_struct *p)
{
	struct comeback_task *state = task_state(&tasks, (void *)p);
	u64 first;

	if (!state || !first_vtime(SHARED_DSQ, &first))
		return true;
	comeback_charge(p, state);
	return time_before(comeback_turn(state), first);
}

void BPF_STRUCT_OPS(comeback_dispatch, s32 cpu, struct task_struct *prev)
{
	if (!comeback_is_usable(cpu))
		return;
	if (wants_to_go_on(prev) && comeback_comes_first(prev)) {
		count(nr_kept);
		scx_bpf_task_set_slice(prev, comeback_slice());
		return;
	}
	/* What waits may be barred from this CPU: then the task that was here goes on. */
	if (!scx_bpf_dsq_move_to_local(SHARED_DSQ) && wants_to_go_on(prev))
		scx_bpf_task_set_slice(prev, comeback_slice());
}

void BPF_STRUCT_OPS(comeback_running, struct task_struct *p)
{
	struct comeback_task *state = task_state(&tasks, p);

	if (state)
		state->charged = p->se.sum_exec_runtime;
}

void BPF_STRUCT_OPS(comeback_stopping, struct task_struct *p, bool runnable)
{
	struct comeback_task *state = task_state(&tasks, p);

	if (state)
		comeback_charge(p, state);
}

void BPF_STRUCT_OPS(comeback_runnable, struct task_struct *p, u64 enq_flags)
{
	struct comeback_task *state = task_state(&tasks, p);

	if (state)
		vclock_join(&clock, &state->share, p->scx.weight);
}

void BPF_STRUCT_OPS(comeback_quiescent, struct task_struct *p, u64 deq_flags)
{
	struct comeback_task *state = task_state(&tasks, p);

	if (state)
		vclock_leave(&clock, &state->share);
}

void BPF_STRUCT_OPS(comeback_set_weight, struct task_struct *p, u32 weight)
{
	struct comeback_task *state = task_state(&tasks, p);

	if (state)
		vclock_reweigh(&clock, &state->share, weight);
}

s32 BPF_STRUCT_OPS_SLEEPABLE(comeback_init_task, struct task_struct *p, struct scx_init_task_args *args)
{
	return new_task_state(&tasks, p) ? 0 : -ENOMEM;
}

void BPF_STRUCT_OPS(comeback_enable, struct task_struct *p)
{
	struct comeback_task *state = task_state(&tasks, p);

	if (state)
		state->vtime = vclock_now(&clock);
}

/* A delay that is already set is never made shorter. */
void BPF_STRUCT_OPS(comeback_cpu_online, s32 cpu)
{
	u64 *from = &usable_from[cpu & (MAX_CPUS - 1)];

	*from = max(*from, scx_bpf_now() + settle_ms * NSEC_PER_MSEC);
	clock.nr_cpus = nr_online_cpus();
}

void BPF_STRUCT_OPS(comeback_cpu_offline, s32 cpu)
{
	usable_from[cpu & (MAX_CPUS - 1)] = NEVER;
	empty_for_offline(SHARED_DSQ, cpu);
	clock.nr_cpus = nr_online_cpus();
}

s32 BPF_STRUCT_OPS_SLEEPABLE(comeback_init)
{
	vclock_start(&clock);
	return scx_bpf_create_dsq(SHARED_DSQ, NUMA_NO_NODE);
}

void BPF_STRUCT_OPS(comeback_exit, struct scx_exit_info *info)
{
	UEI_RECORD(uei, info);
}

SCX_OPS_DEFINE(comeback_ops,
	.select_cpu = (void *)comeback_select_cpu,
	.enqueue = (void *)comeback_enqueue,
	.dispatch = (void *)comeback_dispatch,
	.running = (void *)comeback_running,
	.stopping = (void *)comeback_stopping,
	.runnable = (void *)comeback_runnable,
	.quiescent = (void *)comeback_quiescent,
	.set_weight = (void *)comeback_set_weight,
	.init_task = (void *)comeback_init_task,
	.enable = (void *)comeback_enable,
	.cpu_online = (void *)comeback_cpu_online,
	.cpu_offline = (void *)comeback_cpu_offline,
	.init = (void *)comeback_init,
	.exit = (void *)comeback_exit,
	.timeout_ms = 5000,
	.name = "comeback");
