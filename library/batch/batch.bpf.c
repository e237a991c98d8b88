/* SPDX-License-Identifier: GPL-2.0 */
/*
 * batch: long turns, on the CPU where a task ran before, with as few switches as fairness allows.
 *
 * All tasks wait in one queue, sorted by when their turn comes, as in `fair`: shares follow weight. Three things differ.
 * A turn is long. Nobody who wakes up interrupts a turn. And a CPU that becomes free looks past the first in the queue
 * for one that ran here last, whose data may still be in its caches; it prefers that one as long as the first is
 * overdue by less than `patience_ms`.
 *
 * So nobody starves: once overdue by more than that, the first is taken by whichever CPU becomes free next.
 */
#include <schedtui.bpf.h>

char _license[] SEC("license") = "GPL";

#define SHARED_DSQ 1
#define MIN_SLICE_NS NSEC_PER_MSEC
#define ROUND_NS NSEC_PER_SEC
#define CREDIT_NS (10 * NSEC_PER_MSEC)
#define MAX_DEBT_NS NSEC_PER_SEC
#define LOOKED_AT 8

/* How long a turn is. Longer: fewer switches, warmer caches, more throughput. Cost: Whoever waits, waits longer; a
 * terminal or a pointer stutters while all CPUs compute. */
const volatile u64 slice_us = 50000;

/* How long the first in the queue may be overdue before it comes before tasks whose data is still in a CPU's caches.
 * Longer: tasks stay where they are. Cost: Waits become longer and less even. The watchdog ends the policy at 5000. */
const volatile u64 patience_ms = 200;

u64 nr_to_idle_cpu; /* wake-ups that found an idle CPU */
u64 nr_queued;      /* times that a task had to wait */
u64 nr_kept;        /* times that a task went on after its turn, still the furthest behind */
u64 nr_stayed;      /* turns that a task got ahead of others because it ran on that CPU before */

UEI_DEFINE(uei);

static struct vclock clock;

struct batch_task {
	u64 vtime;
	u64 charged; /* sum_exec_runtime up to where vtime counts it */
	struct vclock_share share;
};
TASK_STATE(tasks, struct batch_task);

static u64 batch_slice(void)
{
	return slice_for_queue(slice_us * NSEC_PER_USEC, MIN_SLICE_NS, ROUND_NS, scx_bpf_dsq_nr_queued(SHARED_DSQ),
			       clock.nr_cpus);
}

static u64 batch_turn(struct batch_task *state)
{
	return vclock_turn(&clock, &state->vtime, CREDIT_NS, MAX_DEBT_NS);
}

/* Adds what the task ran since it was last charged. */
static void batch_charge(const struct task_struct *p, struct batch_task *state)
{
	state->vtime += weighted(p, p->se.sum_exec_runtime - state->charged);
	state->charged = p->se.sum_exec_runtime;
}

s32 BPF_STRUCT_OPS(batch_select_cpu, struct task_struct *p, s32 prev_cpu, u64 wake_flags)
{
	bool idle = false;
	s32 cpu = scx_bpf_select_cpu_dfl(p, prev_cpu, wake_flags, &idle);

	if (idle) {
		count(nr_to_idle_cpu);
		scx_bpf_dsq_insert(p, SCX_DSQ_LOCAL, batch_slice(), 0);
	}
	return cpu;
}

void BPF_STRUCT_OPS(batch_enqueue, struct task_struct *p, u64 enq_flags)
{
	struct batch_task *state = task_state(&tasks, p);

	if (!state || is_percpu_kthread(p)) {
		scx_bpf_dsq_insert(p, SCX_DSQ_LOCAL, batch_slice(), enq_flags);
		return;
	}
	count(nr_queued);
	scx_bpf_dsq_insert_vtime(p, SHARED_DSQ, batch_slice(), batch_turn(state), enq_flags);
	kick_idle_cpu(p);
}

static bool batch_comes_first(const struct task_struct *p)
{
	struct batch_task *state = task_state(&tasks, (void *)p);
	u64 first;

	if (!state || !first_vtime(SHARED_DSQ, &first))
		return true;
	batch_charge(p, state);
	return time_before(batch_turn(state), first);
}

/* Takes one of the first few that ran here last; false if there is none, or the first cannot wait any longer. */
static bool batch_take_warm(s32 cpu)
{
	u64 overdue_from = scx_bpf_now() - patience_ms * NSEC_PER_MSEC;
	struct task_struct *p;
	u32 nr_seen = 0;

	bpf_for_each(scx_dsq, p, SHARED_DSQ, 0) {
		if (!nr_seen && time_before(p->scx.dsq_vtime, overdue_from))
			return false;
		if (scx_bpf_task_cpu(p) == cpu && bpf_cpumask_test_cpu(cpu, p->cpus_ptr) &&
		    scx_bpf_dsq_move(BPF_FOR_EACH_ITER, p, SCX_DSQ_LOCAL, 0)) {
			if (nr_seen)
				count(nr_stayed);
			return true;
		}
		if (++nr_seen == LOOKED_AT)
			break;
	}
	return false;
}

void BPF_STRUCT_OPS(batch_dispatch, s32 cpu, struct task_struct *prev)
{
	if (wants_to_go_on(prev) && batch_comes_first(prev)) {
		count(nr_kept);
		scx_bpf_task_set_slice(prev, batch_slice());
		return;
	}
	/* What waits may be barred from this CPU: then the task that was here goes on. */
	if (!batch_take_warm(cpu) && !scx_bpf_dsq_move_to_local(SHARED_DSQ) && wants_to_go_on(prev))
		scx_bpf_task_set_slice(prev, batch_slice());
}

void BPF_STRUCT_OPS(batch_running, struct task_struct *p)
{
	struct batch_task *state = task_state(&tasks, p);

	if (state)
		state->charged = p->se.sum_exec_runtime;
}

void BPF_STRUCT_OPS(batch_stopping, struct task_struct *p, bool runnable)
{
	struct batch_task *state = task_state(&tasks, p);

	if (state)
		batch_charge(p, state);
}

void BPF_STRUCT_OPS(batch_runnable, struct task_struct *p, u64 enq_flags)
{
	struct batch_task *state = task_state(&tasks, p);

	if (state)
		vclock_join(&clock, &state->share, p->scx.weight);
}

void BPF_STRUCT_OPS(batch_quiescent, struct task_struct *p, u64 deq_flags)
{
	struct batch_task *state = task_state(&tasks, p);

	if (state)
		vclock_leave(&clock, &state->share);
}

void BPF_STRUCT_OPS(batch_set_weight, struct task_struct *p, u32 weight)
{
	struct batch_task *state = task_state(&tasks, p);

	if (state)
		vclock_reweigh(&clock, &state->share, weight);
}

s32 BPF_STRUCT_OPS_SLEEPABLE(batch_init_task, struct task_struct *p, struct scx_init_task_args *args)
{
	return new_task_state(&tasks, p) ? 0 : -ENOMEM;
}

void BPF_STRUCT_OPS(batch_enable, struct task_struct *p)
{
	struct batch_task *state = task_state(&tasks, p);

	if (state)
		state->vtime = vclock_now(&clock);
}

/* With these two, the policy lives on when CPUs come and go, as they do around suspend. */
void BPF_STRUCT_OPS(batch_cpu_online, s32 cpu)
{
	clock.nr_cpus = nr_online_cpus();
}

void BPF_STRUCT_OPS(batch_cpu_offline, s32 cpu)
{
	empty_for_offline(SHARED_DSQ, cpu);
	clock.nr_cpus = nr_cpus_without(cpu);
}

s32 BPF_STRUCT_OPS_SLEEPABLE(batch_init)
{
	vclock_start(&clock);
	return scx_bpf_create_dsq(SHARED_DSQ, NUMA_NO_NODE);
}

void BPF_STRUCT_OPS(batch_exit, struct scx_exit_info *info)
{
	UEI_RECORD(uei, info);
}

SCX_OPS_DEFINE(batch_ops,
	.select_cpu = (void *)batch_select_cpu,
	.enqueue = (void *)batch_enqueue,
	.dispatch = (void *)batch_dispatch,
	.running = (void *)batch_running,
	.stopping = (void *)batch_stopping,
	.runnable = (void *)batch_runnable,
	.quiescent = (void *)batch_quiescent,
	.set_weight = (void *)batch_set_weight,
	.init_task = (void *)batch_init_task,
	.enable = (void *)batch_enable,
	.cpu_online = (void *)batch_cpu_online,
	.cpu_offline = (void *)batch_cpu_offline,
	.init = (void *)batch_init,
	.exit = (void *)batch_exit,
	.timeout_ms = 5000,
	.name = "batch");
