/* SPDX-License-Identifier: GPL-2.0 */
/*
 * homebase: every task has a home, and waits there.
 *
 * Each CPU has a queue of its own, sorted by when the turn of a task comes, as in `fair`. A task waits at its home, the
 * CPU that it was last woken up on, where its data is. A CPU whose own queue is empty takes the first task that
 * it may from another one, and a task whose home is more crowded than another CPU moves its home there, so the load
 * stays even. There is no queue that all CPUs share, and no lock to fight for.
 */
#include <schedtui.bpf.h>

char _license[] SEC("license") = "GPL";

#define MIN_SLICE_NS (500 * NSEC_PER_USEC)
#define MAX_CPUS 1024

/* How long a task runs before others get their turn. Cost: Whoever waits, waits longer. */
const volatile u64 slice_us = 5000;

/* How far a task that slept may start behind the others. Cost: Sleepers hold up those that compute. */
const volatile u64 sleeper_credit_us = 5000;

/* The longest that a task's debt can keep it from running. Cost: Tasks of low weight pause longer. */
const volatile u64 max_wait_ms = 1000;

u64 nr_to_idle_cpu; /* wake-ups that found an idle CPU */
u64 nr_queued;      /* times that a task had to wait at home */
u64 nr_moved;       /* homes moved because they were crowded */
u64 nr_stolen;      /* tasks that an idle CPU took from elsewhere */

UEI_DEFINE(uei);

static struct vclock clock;
static bool is_online[MAX_CPUS];

struct home_task {
	u64 vtime;
	u64 charged; /* sum_exec_runtime up to where vtime counts it */
	u32 home;
	struct vclock_share share;
};
TASK_STATE(tasks, struct home_task);

static bool home_is_open(u32 cpu)
{
	return cpu < MAX_CPUS && is_online[cpu];
}

static u64 home_slice(u32 home)
{
	return slice_for_queue(slice_us * NSEC_PER_USEC, MIN_SLICE_NS, max_wait_ms * NSEC_PER_MSEC,
			       scx_bpf_dsq_nr_queued(home), 1);
}

static u64 home_turn(struct home_task *state)
{
	return vclock_turn(&clock, &state->vtime, sleeper_credit_us * NSEC_PER_USEC, max_wait_ms * NSEC_PER_MSEC);
}

static void home_charge(const struct task_struct *p, struct home_task *state)
{
	state->vtime += weighted(p, p->se.sum_exec_runtime - state->charged);
	state->charged = p->se.sum_exec_runtime;
}

s32 BPF_STRUCT_OPS(home_select_cpu, struct task_struct *p, s32 prev_cpu, u64 wake_flags)
{
	struct home_task *state = task_state(&tasks, p);
	bool idle = false;
	s32 cpu = scx_bpf_select_cpu_dfl(p, prev_cpu, wake_flags, &idle);

	if (state)
		state->home = cpu;
	if (idle) {
		count(nr_to_idle_cpu);
		scx_bpf_dsq_insert(p, SCX_DSQ_LOCAL, slice_us * NSEC_PER_USEC, 0);
	}
	return cpu;
}

/* The CPU where the fewest wait, of those that may run the task; its home unless another is shorter. */
static u32 home_find(const struct task_struct *p, u32 home)
{
	u32 nr_cpus = scx_bpf_nr_cpu_ids(), best = home;
	s32 fewest = home_is_open(home) ? scx_bpf_dsq_nr_queued(home) : 0x7fffffff;
	int cpu;

	bpf_for(cpu, 0, min(nr_cpus, MAX_CPUS)) {
		s32 nr;

		if (!home_is_open(cpu) || !bpf_cpumask_test_cpu(cpu, p->cpus_ptr))
			continue;
		nr = scx_bpf_dsq_nr_queued(cpu);
		if (nr < fewest) {
			fewest = nr;
			best = cpu;
		}
	}
	return best;
}

void BPF_STRUCT_OPS(home_enqueue, struct task_struct *p, u64 enq_flags)
{
	struct home_task *state = task_state(&tasks, p);
	u32 home;

	if (!state || is_percpu_kthread(p)) {
		scx_bpf_dsq_insert(p, SCX_DSQ_LOCAL, slice_us * NSEC_PER_USEC, enq_flags);
		return;
	}
	count(nr_queued);
	home = home_find(p, state->home);
	if (home != state->home) {
		count(nr_moved);
		state->home = home;
	}
	scx_bpf_dsq_insert_vtime(p, home, home_slice(home), home_turn(state), enq_flags);
	if (!kick_idle_cpu(p))
		scx_bpf_kick_cpu(home, SCX_KICK_IDLE);
}

/* From the other queues in turn, the nearest number first. */
static bool home_steal(s32 thief)
{
	u32 nr_cpus = scx_bpf_nr_cpu_ids();
	int i;

	bpf_for(i, 1, min(nr_cpus, MAX_CPUS)) {
		u32 cpu = (thief + i) % nr_cpus;

		if (scx_bpf_dsq_nr_queued(cpu) > 0 && scx_bpf_dsq_move_to_local(cpu)) {
			count(nr_stolen);
			return true;
		}
	}
	return false;
}

void BPF_STRUCT_OPS(home_dispatch, s32 cpu, struct task_struct *prev)
{
	if (scx_bpf_dsq_move_to_local(cpu))
		return;
	if (wants_to_go_on(prev))
		scx_bpf_task_set_slice(prev, home_slice(cpu));
	else
		home_steal(cpu);
}

void BPF_STRUCT_OPS(home_running, struct task_struct *p)
{
	struct home_task *state = task_state(&tasks, p);

	if (state)
		state->charged = p->se.sum_exec_runtime;
}

void BPF_STRUCT_OPS(home_stopping, struct task_struct *p, bool runnable)
{
	struct home_task *state = task_state(&tasks, p);

	if (state)
		home_charge(p, state);
}

void BPF_STRUCT_OPS(home_runnable, struct task_struct *p, u64 enq_flags)
{
	struct home_task *state = task_state(&tasks, p);

	if (state)
		vclock_join(&clock, &state->share, p->scx.weight);
}

void BPF_STRUCT_OPS(home_quiescent, struct task_struct *p, u64 deq_flags)
{
	struct home_task *state = task_state(&tasks, p);

	if (state)
		vclock_leave(&clock, &state->share);
}

void BPF_STRUCT_OPS(home_set_weight, struct task_struct *p, u32 weight)
{
	struct home_task *state = task_state(&tasks, p);

	if (state)
		vclock_reweigh(&clock, &state->share, weight);
}

s32 BPF_STRUCT_OPS_SLEEPABLE(home_init_task, struct task_struct *p, struct scx_init_task_args *args)
{
	return new_task_state(&tasks, p) ? 0 : -ENOMEM;
}

void BPF_STRUCT_OPS(home_enable, struct task_struct *p)
{
	struct home_task *state = task_state(&tasks, p);

	if (!state)
		return;
	state->vtime = vclock_now(&clock);
	state->home = scx_bpf_task_cpu(p);
}

void BPF_STRUCT_OPS(home_cpu_online, s32 cpu)
{
	if (cpu >= 0 && cpu < MAX_CPUS)
		is_online[cpu] = true;
	clock.nr_cpus = nr_online_cpus();
}

/* Its queue is handed over at once, and nobody moves in any more. */
void BPF_STRUCT_OPS(home_cpu_offline, s32 cpu)
{
	struct task_struct *p;

	if (cpu >= 0 && cpu < MAX_CPUS)
		is_online[cpu] = false;
	bpf_for_each(scx_dsq, p, cpu, 0)
		scx_bpf_dsq_move(BPF_FOR_EACH_ITER, p, SCX_DSQ_LOCAL_ON | scx_bpf_task_cpu(p), 0);
	clock.nr_cpus = nr_online_cpus();
}

s32 BPF_STRUCT_OPS_SLEEPABLE(home_init)
{
	u32 nr_cpus = scx_bpf_nr_cpu_ids();
	const struct cpumask *online;
	int cpu;
	s32 err;

	bpf_for(cpu, 0, min(nr_cpus, MAX_CPUS)) {
		err = scx_bpf_create_dsq(cpu, NUMA_NO_NODE);
		if (err)
			return err;
	}
	online = scx_bpf_get_online_cpumask();
	bpf_for(cpu, 0, min(nr_cpus, MAX_CPUS)) {
		if (bpf_cpumask_test_cpu(cpu, online))
			is_online[cpu] = true;
	}
	scx_bpf_put_cpumask(online);
	vclock_start(&clock);
	return 0;
}

void BPF_STRUCT_OPS(home_exit, struct scx_exit_info *info)
{
	UEI_RECORD(uei, info);
}

SCX_OPS_DEFINE(home_ops,
	.select_cpu = (void *)home_select_cpu,
	.enqueue = (void *)home_enqueue,
	.dispatch = (void *)home_dispatch,
	.running = (void *)home_running,
	.stopping = (void *)home_stopping,
	.runnable = (void *)home_runnable,
	.quiescent = (void *)home_quiescent,
	.set_weight = (void *)home_set_weight,
	.init_task = (void *)home_init_task,
	.enable = (void *)home_enable,
	.cpu_online = (void *)home_cpu_online,
	.cpu_offline = (void *)home_cpu_offline,
	.init = (void *)home_init,
	.exit = (void *)home_exit,
	.timeout_ms = 5000,
	.name = "homebase");
