/* SPDX-License-Identifier: GPL-2.0 */
/*
 * layers: foreground before normal before background; who belongs where is told by name, control group and nice.
 *
 * All tasks wait in one queue, sorted by when their turn comes, as in `fair`: within a layer, shares follow weight. A task
 * of the foreground has its turn earlier by `foreground_lead_ms`, one of the background later by `background_lag_ms`.
 * These are times on the wall clock, so layers age into each other and nobody starves: whoever of a lower layer has waited that
 * much longer comes before the higher one, and may then finish its turn without being interrupted. When so many wait that
 * overdue turns would take more than a fifth of the machine, leads and lags grow.
 *
 * A task that wakes up takes the CPU from one of a lower layer. Threads of the kernel are in the foreground, because all
 * layers wait on them.
 *
 * The rules are asked in this order, and the first that fits decides: the name of the task or of its process, its control group,
 * its nice value. Names and groups are looked at again now and then, because nothing tells when they change.
 */
#include <schedtui.bpf.h>

char _license[] SEC("license") = "GPL";

#define SHARED_DSQ 1
#define MIN_SLICE_NS (500 * NSEC_PER_USEC)
#define CREDIT_NS (5 * NSEC_PER_MSEC)
#define MAX_DEBT_NS (400 * NSEC_PER_MSEC)
#define MAX_GAP_NS (1250 * NSEC_PER_MSEC)
#define ROUND_NS NSEC_PER_SEC
#define RECHECK_NS (250 * NSEC_PER_MSEC)
#define OVERDUE_PART 5
#define MAX_CPUS 1024
#define CPUS_LOOKED_AT 16
#define NAME_SIZE 16
#define NAMES_SIZE 128
#define MAX_NAMES 8

/* Beginnings of names of tasks or processes, up to eight, with spaces between: these are the foreground. Cost: The
 * more there are, the less it helps each. */
const volatile char foreground_names[NAMES_SIZE] = "";

/* Beginnings of names of tasks or processes, up to eight, with spaces between: these are the background. Cost: They
 * stand still while the others use all CPUs, but for a turn now and then. */
const volatile char background_names[NAMES_SIZE] = "";

/* A control group whose processes are the foreground: a path such as /user.slice. Empty: none. Cost: The more it
 * holds, the less it helps each. */
const volatile u64 foreground_cgroup = 0;

/* A control group whose processes are the background: a path such as /system.slice. Empty: none. Cost: What others
 * wait for may be among them. */
const volatile u64 background_cgroup = 0;

/* Tasks of this nice value or a lower one are the foreground. -21: none is by its nice value. Cost: The more there
 * are, the less it helps each. */
const volatile s32 foreground_nice = -5;

/* Tasks of this nice value or a higher one are the background. 20: none is by its nice value. Cost: Set lower, tasks
 * that were only meant to share a little less stand still. */
const volatile s32 background_nice = 5;

/* How much longer than the foreground the normal layer waits. Longer: the foreground has the CPUs more to itself.
 * Cost: Everything else stops for that long while the foreground uses all CPUs. */
const volatile u64 foreground_lead_ms = 300;

/* How much longer than the normal layer the background waits. Longer: the background disturbs less. Cost: It gets
 * less done while others use all CPUs. The watchdog ends the policy at 5000. */
const volatile u64 background_lag_ms = 700;

/* How long a task runs before others get their turn. Longer: fewer switches. Cost: Tasks of the same layer wait
 * longer for each other. */
const volatile u64 slice_us = 4000;

u64 nr_to_idle_cpu; /* wake-ups that found an idle CPU */
u64 nr_foreground;  /* times that a task of the foreground had to wait */
u64 nr_normal;      /* times that a task of the normal layer had to wait */
u64 nr_background;  /* times that a task of the background had to wait */
u64 nr_preempted;   /* tasks that had to make room for a higher layer */
u64 nr_overdue;     /* turns that came before higher layers because they were overdue */

UEI_DEFINE(uei);

static struct vclock clock;

enum layer {
	FOREGROUND = 0,
	NORMAL = 1,
	BACKGROUND = 2,
};

struct layered_task {
	u64 vtime;
	u64 charged;    /* sum_exec_runtime up to where vtime counts it */
	u64 checked_at; /* ns; 0: never */
	u64 queued_at;  /* ns; 0: it was given an idle CPU */
	u32 layer;
	struct vclock_share share;
};
TASK_STATE(tasks, struct layered_task);

/* One cache line each, so that CPUs do not slow each other down. */
struct layered_cpu {
	u64 yields_from; /* ns from which on its task makes room for a higher layer */
	u32 layer;       /* of its task */
} __attribute__((aligned(64)));

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, MAX_CPUS);
	__type(key, u32);
	__type(value, struct layered_cpu);
} cpus SEC(".maps");

/* Names as the rules give them, taken apart once. */
static char foreground_list[MAX_NAMES][NAME_SIZE], background_list[MAX_NAMES][NAME_SIZE];

static void layers_take_apart(const volatile char *names, char list[MAX_NAMES][NAME_SIZE])
{
	u32 name = 0, length = 0;
	int i;

	bpf_for(i, 0, NAMES_SIZE) {
		char c = names[i & (NAMES_SIZE - 1)];

		if (!c)
			break;
		if (c == ' ' || c == ',') {
			name += length > 0;
			length = 0;
		} else if (name < MAX_NAMES && length < NAME_SIZE - 1) {
			list[name & (MAX_NAMES - 1)][length & (NAME_SIZE - 1)] = c;
			length++;
		}
	}
}

static bool layers_begins(const struct task_struct *p, const char *name)
{
	int i;

	_Pragma("unroll") for (i = 0; i < NAME_SIZE - 1; i++)
	{
		if (!name[i])
			break;
		if (name[i] != p->comm[i])
			return false;
	}
	return true;
}

static bool layers_is_listed(const struct task_struct *p, bool foreground)
{
	int n;

	bpf_for(n, 0, MAX_NAMES) {
		u32 index = n & (MAX_NAMES - 1);
		const char *name = foreground ? foreground_list[index] : background_list[index];

		if (!name[0])
			break;
		if (layers_begins(p, name) || layers_begins(p->group_leader, name))
			return true;
	}
	return false;
}

static u32 layers_find(struct task_struct *p)
{
	s32 nice = p->static_prio - DEFAULT_PRIO;

	if (p->flags & PF_KTHREAD)
		return FOREGROUND;
	if (layers_is_listed(p, true))
		return FOREGROUND;
	if (layers_is_listed(p, false))
		return BACKGROUND;
	if (is_under_cgroup(p, foreground_cgroup))
		return FOREGROUND;
	if (is_under_cgroup(p, background_cgroup))
		return BACKGROUND;
	if (nice <= foreground_nice)
		return FOREGROUND;
	return nice >= background_nice ? BACKGROUND : NORMAL;
}

static void layers_look(struct task_struct *p, struct layered_task *state)
{
	u64 now = scx_bpf_now();

	if (state->checked_at && now - state->checked_at < RECHECK_NS)
		return;
	state->checked_at = now;
	state->layer = layers_find(p);
}

static u64 layers_slice(void)
{
	return slice_for_queue(slice_us * NSEC_PER_USEC, MIN_SLICE_NS, ROUND_NS, scx_bpf_dsq_nr_queued(SHARED_DSQ),
			       clock.nr_cpus);
}

/* How much longer a layer waits than the one above: what was set, or more when so many wait. */
static u64 layers_gap(u64 set_ms)
{
	u64 round = scx_bpf_dsq_nr_queued(SHARED_DSQ) * slice_us * NSEC_PER_USEC / max(clock.nr_cpus, 1);

	return clamp_u64(round * OVERDUE_PART, set_ms * NSEC_PER_MSEC, max(MAX_GAP_NS, set_ms * NSEC_PER_MSEC));
}

/* Debts within the foreground are bounded by half its lead: it never falls behind a lower layer by what it ran. */
static u64 layers_turn(struct layered_task *state)
{
	u64 lead = layers_gap(foreground_lead_ms);

	switch (state->layer) {
	case FOREGROUND:
		return vclock_turn(&clock, &state->vtime, CREDIT_NS, lead / 2) - lead;
	case BACKGROUND:
		return vclock_turn(&clock, &state->vtime, CREDIT_NS, MAX_DEBT_NS) + layers_gap(background_lag_ms);
	default:
		return vclock_turn(&clock, &state->vtime, CREDIT_NS, min(MAX_DEBT_NS, background_lag_ms * NSEC_PER_MSEC / 2));
	}
}

/* Adds what the task ran since it was last charged. */
static void layers_charge(const struct task_struct *p, struct layered_task *state)
{
	state->vtime += weighted(p, p->se.sum_exec_runtime - state->charged);
	state->charged = p->se.sum_exec_runtime;
}

s32 BPF_STRUCT_OPS(layers_select_cpu, struct task_struct *p, s32 prev_cpu, u64 wake_flags)
{
	struct layered_task *state = task_state(&tasks, p);
	bool idle = false;
	s32 cpu = scx_bpf_select_cpu_dfl(p, prev_cpu, wake_flags, &idle);

	if (idle) {
		count(nr_to_idle_cpu);
		if (state) {
			layers_look(p, state);
			state->queued_at = 0;
		}
		scx_bpf_dsq_insert(p, SCX_DSQ_LOCAL, layers_slice(), 0);
	}
	return cpu;
}

/*
 * Asks the CPU that runs a task of the lowest layer below this one to look at the queue. What it reads of other CPUs may
 * be out of date by the time it is used: a CPU that is asked in vain finds that its own task still comes first, and goes on.
 */
static void layers_preempt(const struct task_struct *p, u32 layer)
{
	u32 nr_cpus = scx_bpf_nr_cpu_ids(), first = scx_bpf_task_cpu(p);
	u64 now = scx_bpf_now();
	s32 victim = -1;
	int i;

	bpf_for(i, 0, min(nr_cpus, CPUS_LOOKED_AT)) {
		u32 cpu = (first + i) % nr_cpus;
		struct layered_cpu *other = bpf_map_lookup_elem(&cpus, &cpu);

		if (other && other->layer > layer && time_before(other->yields_from, now) &&
		    bpf_cpumask_test_cpu(cpu, p->cpus_ptr)) {
			layer = other->layer;
			victim = cpu;
		}
	}
	if (victim >= 0) {
		count(nr_preempted);
		scx_bpf_kick_cpu(victim, SCX_KICK_PREEMPT);
	}
}

static void layers_count(u32 layer)
{
	if (layer == FOREGROUND)
		count(nr_foreground);
	else if (layer == NORMAL)
		count(nr_normal);
	else
		count(nr_background);
}

void BPF_STRUCT_OPS(layers_enqueue, struct task_struct *p, u64 enq_flags)
{
	struct layered_task *state = task_state(&tasks, p);

	if (!state || is_percpu_kthread(p)) {
		scx_bpf_dsq_insert(p, SCX_DSQ_LOCAL, layers_slice(), enq_flags);
		return;
	}
	layers_look(p, state);
	layers_count(state->layer);
	state->queued_at = scx_bpf_now();
	scx_bpf_dsq_insert_vtime(p, SHARED_DSQ, layers_slice(), layers_turn(state), enq_flags);
	if (!kick_idle_cpu(p) && (enq_flags & SCX_ENQ_WAKEUP))
		layers_preempt(p, state->layer);
}

static bool layers_comes_first(struct task_struct *p)
{
	struct layered_task *state = task_state(&tasks, p);
	u64 first;

	if (!state || !first_vtime(SHARED_DSQ, &first))
		return true;
	layers_charge(p, state);
	layers_look(p, state);
	return time_before(layers_turn(state), first);
}

void BPF_STRUCT_OPS(layers_dispatch, s32 cpu, struct task_struct *prev)
{
	if (wants_to_go_on(prev) && layers_comes_first(prev)) {
		scx_bpf_task_set_slice(prev, layers_slice());
		return;
	}
	/* What waits may be barred from this CPU: then the task that was here goes on. */
	if (!scx_bpf_dsq_move_to_local(SHARED_DSQ) && wants_to_go_on(prev))
		scx_bpf_task_set_slice(prev, layers_slice());
}

/* From when on the task that starts now makes room for a higher layer: at once, or after its turn when it was overdue. */
static u64 layers_yields_from(const struct layered_task *state)
{
	u64 now = scx_bpf_now();
	u64 gap_ms = state->layer == BACKGROUND ? background_lag_ms : foreground_lead_ms;

	if (state->layer == FOREGROUND || !state->queued_at || now - state->queued_at < gap_ms * NSEC_PER_MSEC)
		return now;
	count(nr_overdue);
	return now + slice_us * NSEC_PER_USEC;
}

void BPF_STRUCT_OPS(layers_running, struct task_struct *p)
{
	struct layered_task *state = task_state(&tasks, p);
	u32 cpu = scx_bpf_task_cpu(p);
	struct layered_cpu *here = bpf_map_lookup_elem(&cpus, &cpu);

	if (!state)
		return;
	state->charged = p->se.sum_exec_runtime;
	if (here) {
		here->layer = state->layer;
		here->yields_from = layers_yields_from(state);
	}
}

void BPF_STRUCT_OPS(layers_stopping, struct task_struct *p, bool runnable)
{
	struct layered_task *state = task_state(&tasks, p);

	if (state)
		layers_charge(p, state);
}

void BPF_STRUCT_OPS(layers_runnable, struct task_struct *p, u64 enq_flags)
{
	struct layered_task *state = task_state(&tasks, p);

	if (state)
		vclock_join(&clock, &state->share, p->scx.weight);
}

void BPF_STRUCT_OPS(layers_quiescent, struct task_struct *p, u64 deq_flags)
{
	struct layered_task *state = task_state(&tasks, p);

	if (state)
		vclock_leave(&clock, &state->share);
}

/* Called when nice changes, which may change the layer. */
void BPF_STRUCT_OPS(layers_set_weight, struct task_struct *p, u32 weight)
{
	struct layered_task *state = task_state(&tasks, p);

	if (!state)
		return;
	vclock_reweigh(&clock, &state->share, weight);
	state->checked_at = 0;
}

s32 BPF_STRUCT_OPS_SLEEPABLE(layers_init_task, struct task_struct *p, struct scx_init_task_args *args)
{
	struct layered_task *state = new_task_state(&tasks, p);

	if (!state)
		return -ENOMEM;
	state->layer = NORMAL;
	return 0;
}

void BPF_STRUCT_OPS(layers_enable, struct task_struct *p)
{
	struct layered_task *state = task_state(&tasks, p);

	if (state)
		state->vtime = vclock_now(&clock);
}

/* With these two, the policy lives on when CPUs come and go, as they do around suspend. */
void BPF_STRUCT_OPS(layers_cpu_online, s32 cpu)
{
	clock.nr_cpus = nr_online_cpus();
}

void BPF_STRUCT_OPS(layers_cpu_offline, s32 cpu)
{
	empty_for_offline(SHARED_DSQ, cpu);
	clock.nr_cpus = nr_cpus_without(cpu);
}

s32 BPF_STRUCT_OPS_SLEEPABLE(layers_init)
{
	layers_take_apart(foreground_names, foreground_list);
	layers_take_apart(background_names, background_list);
	vclock_start(&clock);
	return scx_bpf_create_dsq(SHARED_DSQ, NUMA_NO_NODE);
}

void BPF_STRUCT_OPS(layers_exit, struct scx_exit_info *info)
{
	UEI_RECORD(uei, info);
}

SCX_OPS_DEFINE(layers_ops,
	.select_cpu = (void *)layers_select_cpu,
	.enqueue = (void *)layers_enqueue,
	.dispatch = (void *)layers_dispatch,
	.running = (void *)layers_running,
	.stopping = (void *)layers_stopping,
	.runnable = (void *)layers_runnable,
	.quiescent = (void *)layers_quiescent,
	.set_weight = (void *)layers_set_weight,
	.init_task = (void *)layers_init_task,
	.enable = (void *)layers_enable,
	.cpu_online = (void *)layers_cpu_online,
	.cpu_offline = (void *)layers_cpu_offline,
	.init = (void *)layers_init,
	.exit = (void *)layers_exit,
	.timeout_ms = 5000,
	.name = "layers");
