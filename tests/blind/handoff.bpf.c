/* SPDX-License-Identifier: GPL-2.0 */
/*
 * handoff: weighted fair shares, and a short way for requests and replies.
 *
 * All tasks wait in one queue, sorted by when their turn comes, as in `fair`. One case is different: a task that wakes
 * up another and is about to sleep itself (the kernel calls that a synchronous wake-up; pipes and sockets do it) hands
 * its CPU over. The one that is woken runs next, on the same CPU, where the message still is in the cache, and goes on
 * with what is left of the slice of the one that woke it up. So a client and its server count as one: they
 * share a slice, instead of queueing up for each message.
 */
#include <schedtui.bpf.h>

char _license[] SEC("license") = "GPL";

#define SHARED_DSQ 1
#define MIN_REST_NS (3 * NSEC_PER_MSEC)
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

u64 nr_handed_over; /* wake-ups that went on with the slice of who woke them up */
u64 nr_cut_short;   /* times that such a slice ended before the task slept again */
u64 nr_to_idle_cpu; /* wake-ups that found an idle CPU */
u64 nr_queued;      /* times that a task had to wait */
u64 nr_kept;        /* times that a task went on after its slice, still the furthest behind */
u64 nr_forgiven;    /* times that the longest wait cut a debt */

UEI_DEFINE(uei);

static struct vclock clock;

struct handoff_task {
	u64 vtime;
	u64 charged; /* sum_exec_runtime up to where vtime counts it */
	bool is_guest; /* it runs on the slice of another, that was handed over */
	struct vclock_share share;
};
TASK_STATE(tasks, struct handoff_task);

static u64 handoff_slice(void)
{
	return slice_for_queue(slice_us * NSEC_PER_USEC, MIN_SLICE_NS, max_wait_ms * NSEC_PER_MSEC,
			       scx_bpf_dsq_nr_queued(SHARED_DSQ), clock.nr_cpus);
}

static u64 handoff_turn(struct handoff_task *state)
{
	u64 owed = state->vtime;
	u64 turn = vclock_turn(&clock, &state->vtime, sleeper_credit_us * NSEC_PER_USEC, max_wait_ms * NSEC_PER_MSEC);

	if (time_before(state->vtime, owed))
		count(nr_forgiven);
	return turn;
}

/* Adds what the task ran since it was last charged; a guest runs on the time of its host. */
static void handoff_charge(const struct task_struct *p, struct handoff_task *state)
{
	if (!state->is_guest)
		state->vtime += weighted(p, p->se.sum_exec_runtime - state->charged);
	state->charged = p->se.sum_exec_runtime;
}

/* What is left of the slice of the task that runs here. A rest too short for an answer is rounded up. */
static u64 handoff_rest(void)
{
	struct task_struct *waker = bpf_get_current_task_btf();

	return clamp_u64(waker->scx.slice, MIN_REST_NS, slice_us * NSEC_PER_USEC);
}

s32 BPF_STRUCT_OPS(handoff_select_cpu, struct task_struct *p, s32 prev_cpu, u64 wake_flags)
{
	struct handoff_task *state = task_state(&tasks, p);
	s32 cpu = bpf_get_smp_processor_id();
	bool idle = false;

	if (state && (wake_flags & SCX_WAKE_SYNC) && bpf_cpumask_test_cpu(cpu, p->cpus_ptr)) {
		count(nr_handed_over);
		state->is_guest = true;
		scx_bpf_dsq_insert(p, SCX_DSQ_LOCAL, handoff_rest(), 0);
		return cpu;
	}
	cpu = scx_bpf_select_cpu_dfl(p, prev_cpu, wake_flags, &idle);
	if (state)
		state->is_guest = false;
	if (idle) {
		count(nr_to_idle_cpu);
		scx_bpf_dsq_insert(p, SCX_DSQ_LOCAL, handoff_slice(), 0);
	}
	return cpu;
}

void BPF_STRUCT_OPS(handoff_enqueue, struct task_struct *p, u64 enq_flags)
{
	struct handoff_task *state = task_state(&tasks, p);

	if (!state || is_percpu_kthread(p)) {
		scx_bpf_dsq_insert(p, SCX_DSQ_LOCAL, handoff_slice(), enq_flags);
		return;
	}
	if (state->is_guest) {
		/* Its host had used most of the slice up: once, it gets a slice of its own to finish the answer. */
		state->is_guest = false;
		count(nr_cut_short);
		scx_bpf_dsq_insert(p, SCX_DSQ_LOCAL, handoff_slice(), enq_flags);
		return;
	}
	count(nr_queued);
	scx_bpf_dsq_insert_vtime(p, SHARED_DSQ, handoff_slice(), handoff_turn(state), enq_flags);
	kick_idle_cpu(p);
}

static bool handoff_comes_first(const struct task_struct *p)
{
	struct handoff_task *state = task_state(&tasks, (void *)p);
	u64 first;

	if (!state || !first_vtime(SHARED_DSQ, &first))
		return true;
	handoff_charge(p, state);
	return time_before(handoff_turn(state), first);
}

void BPF_STRUCT_OPS(handoff_dispatch, s32 cpu, struct task_struct *prev)
{
	if (wants_to_go_on(prev) && handoff_comes_first(prev)) {
		count(nr_kept);
		scx_bpf_task_set_slice(prev, handoff_slice());
		return;
	}
	/* What waits may be barred from this CPU: then the task that was here goes on. */
	if (!scx_bpf_dsq_move_to_local(SHARED_DSQ) && wants_to_go_on(prev))
		scx_bpf_task_set_slice(prev, handoff_slice());
}

void BPF_STRUCT_OPS(handoff_running, struct task_struct *p)
{
	struct handoff_task *state = task_state(&tasks, p);

	if (state)
		state->charged = p->se.sum_exec_runtime;
}

void BPF_STRUCT_OPS(handoff_stopping, struct task_struct *p, bool runnable)
{
	struct handoff_task *state = task_state(&tasks, p);

	if (state)
		handoff_charge(p, state);
}

void BPF_STRUCT_OPS(handoff_runnable, struct task_struct *p, u64 enq_flags)
{
	struct handoff_task *state = task_state(&tasks, p);

	if (state)
		vclock_join(&clock, &state->share, p->scx.weight);
}

void BPF_STRUCT_OPS(handoff_quiescent, struct task_struct *p, u64 deq_flags)
{
	struct handoff_task *state = task_state(&tasks, p);

	if (state)
		vclock_leave(&clock, &state->share);
}

void BPF_STRUCT_OPS(handoff_set_weight, struct task_struct *p, u32 weight)
{
	struct handoff_task *state = task_state(&tasks, p);

	if (state)
		vclock_reweigh(&clock, &state->share, weight);
}

s32 BPF_STRUCT_OPS_SLEEPABLE(handoff_init_task, struct task_struct *p, struct scx_init_task_args *args)
{
	return new_task_state(&tasks, p) ? 0 : -ENOMEM;
}

void BPF_STRUCT_OPS(handoff_enable, struct task_struct *p)
{
	struct handoff_task *state = task_state(&tasks, p);

	if (state)
		state->vtime = vclock_now(&clock);
}

/* With these two, the policy lives on when CPUs come and go, as they do around suspend. */
void BPF_STRUCT_OPS(handoff_cpu_online, s32 cpu)
{
	clock.nr_cpus = nr_online_cpus();
}

void BPF_STRUCT_OPS(handoff_cpu_offline, s32 cpu)
{
	empty_for_offline(SHARED_DSQ, cpu);
	clock.nr_cpus = nr_online_cpus();
}

s32 BPF_STRUCT_OPS_SLEEPABLE(handoff_init)
{
	vclock_start(&clock);
	return scx_bpf_create_dsq(SHARED_DSQ, NUMA_NO_NODE);
}

void BPF_STRUCT_OPS(handoff_exit, struct scx_exit_info *info)
{
	UEI_RECORD(uei, info);
}

SCX_OPS_DEFINE(handoff_ops,
	.select_cpu = (void *)handoff_select_cpu,
	.enqueue = (void *)handoff_enqueue,
	.dispatch = (void *)handoff_dispatch,
	.running = (void *)handoff_running,
	.stopping = (void *)handoff_stopping,
	.runnable = (void *)handoff_runnable,
	.quiescent = (void *)handoff_quiescent,
	.set_weight = (void *)handoff_set_weight,
	.init_task = (void *)handoff_init_task,
	.enable = (void *)handoff_enable,
	.cpu_online = (void *)handoff_cpu_online,
	.cpu_offline = (void *)handoff_cpu_offline,
	.init = (void *)handoff_init,
	.exit = (void *)handoff_exit,
	.timeout_ms = 5000,
	.name = "handoff");
