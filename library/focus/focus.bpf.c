/* SPDX-License-Identifier: GPL-2.0 */
/*
 * focus: one process and everything that it starts come first; the rest shares what is left, fairly.
 *
 * All tasks wait in one queue, sorted by when their turn comes, as in `fair`. Tasks in the focus, and threads of the kernel
 * (on which they wait), have their turn earlier by a lead; within the focus, and among the rest, shares follow
 * weight. A task of the focus that wakes up takes the CPU from one of the rest at once.
 *
 * The lead is a time on the wall clock, so nobody starves: whoever has waited for longer than the lead comes before
 * the focus, and may then finish its turn without being interrupted. The lead is `patience_ms`, and longer when so many
 * wait that their overdue turns would take more than a fifth of the machine.
 *
 * What is in the focus can be changed at any time. A task looks whether it belongs to it when it queues up: by its own
 * process, then by its ancestors. It inherits the focus when it is forked, and keeps it when its parent dies.
 */
#include <schedtui.bpf.h>

char _license[] SEC("license") = "GPL";

#define SHARED_DSQ 1
#define MIN_SLICE_NS (500 * NSEC_PER_USEC)
#define CREDIT_NS (5 * NSEC_PER_MSEC)
#define MAX_DEBT_NS (500 * NSEC_PER_MSEC)
#define MAX_LEAD_NS (2500 * NSEC_PER_MSEC)
#define ROUND_NS NSEC_PER_SEC
#define RECHECK_NS (100 * NSEC_PER_MSEC)
#define OVERDUE_PART 5
#define MAX_CPUS 1024
#define CPUS_LOOKED_AT 16
#define GENERATIONS 8
#define NAME_SIZE 16

/* The process that comes first, with all that it starts. 0: none is chosen by its number. Cost: Nothing; a higher
 * number is only another process. */
volatile u32 focus_pid LIVE = 0;

/* Processes whose name begins like this come first, with all that they start. Empty: none is chosen by name. Cost: A
 * name that fits many processes favours none of them. */
volatile char focus_name[NAME_SIZE] LIVE = "";

/* Processes in this control group, or below it, come first: a path such as /user.slice. Empty: none is chosen by its
 * group. Cost: A group that holds nearly everything favours nothing. */
volatile u64 focus_cgroup LIVE = 0;

/* How long the rest may be kept waiting by the focus. Longer: the focus has the CPUs more to itself. Cost: Everything
 * else stops for that long while the focus uses all CPUs. The watchdog ends the policy at 5000. */
const volatile u64 patience_ms = 500;

/* How long a task runs before others get their turn. Longer: fewer switches. Cost: Tasks of the same standing wait
 * longer for each other. */
const volatile u64 slice_us = 4000;

u64 nr_to_idle_cpu;  /* wake-ups that found an idle CPU */
u64 nr_focus_first;  /* times that a task of the focus queued up before the rest */
u64 nr_rest_queued;  /* times that a task of the rest had to wait */
u64 nr_preempted;    /* tasks of the rest that had to make room */
u64 nr_overdue;      /* turns of the rest that came before the focus because they were overdue */

UEI_DEFINE(uei);

static struct vclock clock;

struct focus_task {
	u64 vtime;
	u64 charged;    /* sum_exec_runtime up to where vtime counts it */
	u64 chosen_by;  /* the choice for which `in_focus` was found */
	u64 checked_at; /* ns */
	u64 queued_at;  /* ns; 0: it was given an idle CPU */
	bool in_focus;
	struct vclock_share share;
};
TASK_STATE(tasks, struct focus_task);

/* One cache line each, so that CPUs do not slow each other down. */
struct focus_cpu {
	u64 yields_from; /* ns from which on its task makes room for the focus */
} __attribute__((aligned(64)));

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, MAX_CPUS);
	__type(key, u32);
	__type(value, struct focus_cpu);
} cpus SEC(".maps");

/* One number for what is chosen now, to see that it changed; 0: nothing is. */
static u64 focus_choice(void)
{
	u64 choice = focus_pid + focus_cgroup * 31;
	int i;

	_Pragma("unroll") for (i = 0; i < NAME_SIZE - 1; i++)
		choice = choice * 31 + focus_name[i];
	return choice;
}

static bool focus_is_named(const struct task_struct *p)
{
	int i;

	if (!focus_name[0])
		return false;
	_Pragma("unroll") for (i = 0; i < NAME_SIZE - 1; i++)
	{
		char wanted = focus_name[i];

		if (!wanted)
			break;
		if (wanted != p->comm[i])
			return false;
	}
	return true;
}

/* By the process itself and its ancestors, the nearest few: a task that was forked in the focus has inherited it. */
static bool focus_holds(struct task_struct *p)
{
	struct task_struct *process = p->group_leader;
	bool found = false;
	int i;

	if (is_under_cgroup(p, focus_cgroup))
		return true;
	bpf_rcu_read_lock();
	_Pragma("unroll") for (i = 0; i < GENERATIONS; i++)
	{
		if (!process)
			break;
		if ((focus_pid && (u32)process->tgid == focus_pid) || focus_is_named(process)) {
			found = true;
			break;
		}
		process = process->real_parent;
		if (process)
			process = process->group_leader;
	}
	bpf_rcu_read_unlock();
	return found;
}

/* A name comes with exec(), and nothing tells of it, so those outside look again now and then. */
static void focus_look(struct task_struct *p, struct focus_task *state)
{
	u64 choice = focus_choice(), now = scx_bpf_now();

	if (state->chosen_by == choice && (state->in_focus || now - state->checked_at < RECHECK_NS))
		return;
	state->chosen_by = choice;
	state->checked_at = now;
	state->in_focus = choice && focus_holds(p);
}

static bool focus_leads(const struct task_struct *p, const struct focus_task *state)
{
	return state->in_focus || (p->flags & PF_KTHREAD);
}

static u64 focus_slice(void)
{
	return slice_for_queue(slice_us * NSEC_PER_USEC, MIN_SLICE_NS, ROUND_NS, scx_bpf_dsq_nr_queued(SHARED_DSQ),
			       clock.nr_cpus);
}

static u64 focus_lead(void)
{
	u64 round = scx_bpf_dsq_nr_queued(SHARED_DSQ) * slice_us * NSEC_PER_USEC / max(clock.nr_cpus, 1);

	return clamp_u64(round * OVERDUE_PART, patience_ms * NSEC_PER_MSEC, MAX_LEAD_NS);
}

/* The debt within the focus is bounded by half the lead: it never falls behind the rest by what it ran. */
static u64 focus_turn(const struct task_struct *p, struct focus_task *state)
{
	u64 lead;

	if (!focus_leads(p, state))
		return vclock_turn(&clock, &state->vtime, CREDIT_NS, MAX_DEBT_NS);
	lead = focus_lead();
	return vclock_turn(&clock, &state->vtime, CREDIT_NS, lead / 2) - lead;
}

/* Adds what the task ran since it was last charged. */
static void focus_charge(const struct task_struct *p, struct focus_task *state)
{
	state->vtime += weighted(p, p->se.sum_exec_runtime - state->charged);
	state->charged = p->se.sum_exec_runtime;
}

s32 BPF_STRUCT_OPS(focus_select_cpu, struct task_struct *p, s32 prev_cpu, u64 wake_flags)
{
	struct focus_task *state = task_state(&tasks, p);
	bool idle = false;
	s32 cpu = scx_bpf_select_cpu_dfl(p, prev_cpu, wake_flags, &idle);

	if (idle) {
		count(nr_to_idle_cpu);
		if (state)
			state->queued_at = 0;
		scx_bpf_dsq_insert(p, SCX_DSQ_LOCAL, focus_slice(), 0);
	}
	return cpu;
}

/*
 * Asks a CPU that runs one of the rest to look at the queue. What it reads of other CPUs may be out of date by the
 * time it is used: a CPU that is asked in vain finds that its own task still comes first, and goes on.
 */
static void focus_preempt(const struct task_struct *p)
{
	u32 nr_cpus = scx_bpf_nr_cpu_ids(), first = scx_bpf_task_cpu(p);
	u64 now = scx_bpf_now();
	int i;

	bpf_for(i, 0, min(nr_cpus, CPUS_LOOKED_AT)) {
		u32 cpu = (first + i) % nr_cpus;
		struct focus_cpu *other = bpf_map_lookup_elem(&cpus, &cpu);

		if (other && time_before(other->yields_from, now) && bpf_cpumask_test_cpu(cpu, p->cpus_ptr)) {
			count(nr_preempted);
			scx_bpf_kick_cpu(cpu, SCX_KICK_PREEMPT);
			return;
		}
	}
}

void BPF_STRUCT_OPS(focus_enqueue, struct task_struct *p, u64 enq_flags)
{
	struct focus_task *state = task_state(&tasks, p);
	bool leads;

	if (!state || is_percpu_kthread(p)) {
		scx_bpf_dsq_insert(p, SCX_DSQ_LOCAL, focus_slice(), enq_flags);
		return;
	}
	focus_look(p, state);
	leads = focus_leads(p, state);
	if (leads)
		count(nr_focus_first);
	else
		count(nr_rest_queued);
	state->queued_at = scx_bpf_now();
	scx_bpf_dsq_insert_vtime(p, SHARED_DSQ, focus_slice(), focus_turn(p, state), enq_flags);
	if (!kick_idle_cpu(p) && leads && (enq_flags & SCX_ENQ_WAKEUP))
		focus_preempt(p);
}

static bool focus_comes_first(struct task_struct *p)
{
	struct focus_task *state = task_state(&tasks, p);
	u64 first;

	if (!state || !first_vtime(SHARED_DSQ, &first))
		return true;
	focus_charge(p, state);
	focus_look(p, state);
	return time_before(focus_turn(p, state), first);
}

void BPF_STRUCT_OPS(focus_dispatch, s32 cpu, struct task_struct *prev)
{
	if (wants_to_go_on(prev) && focus_comes_first(prev)) {
		scx_bpf_task_set_slice(prev, focus_slice());
		return;
	}
	/* What waits may be barred from this CPU: then the task that was here goes on. */
	if (!scx_bpf_dsq_move_to_local(SHARED_DSQ) && wants_to_go_on(prev))
		scx_bpf_task_set_slice(prev, focus_slice());
}

/* From when on the task that starts now makes room: never in the focus; at once, or after its turn when it was overdue. */
static u64 focus_yields_from(const struct task_struct *p, const struct focus_task *state)
{
	u64 now = scx_bpf_now();

	if (focus_leads(p, state))
		return now + NSEC_PER_SEC;
	if (!state->queued_at || now - state->queued_at < patience_ms * NSEC_PER_MSEC)
		return now;
	count(nr_overdue);
	return now + slice_us * NSEC_PER_USEC;
}

void BPF_STRUCT_OPS(focus_running, struct task_struct *p)
{
	struct focus_task *state = task_state(&tasks, p);
	u32 cpu = scx_bpf_task_cpu(p);
	struct focus_cpu *here = bpf_map_lookup_elem(&cpus, &cpu);

	if (!state)
		return;
	state->charged = p->se.sum_exec_runtime;
	if (here)
		here->yields_from = focus_yields_from(p, state);
}

void BPF_STRUCT_OPS(focus_stopping, struct task_struct *p, bool runnable)
{
	struct focus_task *state = task_state(&tasks, p);

	if (state)
		focus_charge(p, state);
}

void BPF_STRUCT_OPS(focus_runnable, struct task_struct *p, u64 enq_flags)
{
	struct focus_task *state = task_state(&tasks, p);

	if (state)
		vclock_join(&clock, &state->share, p->scx.weight);
}

void BPF_STRUCT_OPS(focus_quiescent, struct task_struct *p, u64 deq_flags)
{
	struct focus_task *state = task_state(&tasks, p);

	if (state)
		vclock_leave(&clock, &state->share);
}

void BPF_STRUCT_OPS(focus_set_weight, struct task_struct *p, u32 weight)
{
	struct focus_task *state = task_state(&tasks, p);

	if (state)
		vclock_reweigh(&clock, &state->share, weight);
}

s32 BPF_STRUCT_OPS_SLEEPABLE(focus_init_task, struct task_struct *p, struct scx_init_task_args *args)
{
	struct focus_task *state = new_task_state(&tasks, p), *parent;

	if (!state)
		return -ENOMEM;
	parent = args->fork ? task_state(&tasks, bpf_get_current_task_btf()) : NULL;
	if (parent) {
		state->chosen_by = parent->chosen_by;
		state->in_focus = parent->in_focus;
	}
	return 0;
}

void BPF_STRUCT_OPS(focus_enable, struct task_struct *p)
{
	struct focus_task *state = task_state(&tasks, p);

	if (state)
		state->vtime = vclock_now(&clock);
}

/* With these two, the policy lives on when CPUs come and go, as they do around suspend. */
void BPF_STRUCT_OPS(focus_cpu_online, s32 cpu)
{
	clock.nr_cpus = nr_online_cpus();
}

void BPF_STRUCT_OPS(focus_cpu_offline, s32 cpu)
{
	empty_for_offline(SHARED_DSQ, cpu);
	clock.nr_cpus = nr_cpus_without(cpu);
}

s32 BPF_STRUCT_OPS_SLEEPABLE(focus_init)
{
	vclock_start(&clock);
	return scx_bpf_create_dsq(SHARED_DSQ, NUMA_NO_NODE);
}

void BPF_STRUCT_OPS(focus_exit, struct scx_exit_info *info)
{
	UEI_RECORD(uei, info);
}

SCX_OPS_DEFINE(focus_ops,
	.select_cpu = (void *)focus_select_cpu,
	.enqueue = (void *)focus_enqueue,
	.dispatch = (void *)focus_dispatch,
	.running = (void *)focus_running,
	.stopping = (void *)focus_stopping,
	.runnable = (void *)focus_runnable,
	.quiescent = (void *)focus_quiescent,
	.set_weight = (void *)focus_set_weight,
	.init_task = (void *)focus_init_task,
	.enable = (void *)focus_enable,
	.cpu_online = (void *)focus_cpu_online,
	.cpu_offline = (void *)focus_cpu_offline,
	.init = (void *)focus_init,
	.exit = (void *)focus_exit,
	.timeout_ms = 5000,
	.name = "focus");
