/* SPDX-License-Identifier: GPL-2.0 */
/*
 * longest-first: start the longest job of a batch first, so that the batch as a whole ends sooner.
 *
 * When many short jobs and a long one share the CPUs evenly, the short ones end together and the long one then runs
 * on alone, while the other CPUs idle. Running it from the start, beside the short ones, wastes nothing.
 *
 * Tasks wait in one queue, sorted by when they came; a long job is treated as if it had come up to `head_start_ms`
 * earlier. How long a job is, is known in three ways: its name begins with `long_job`; jobs of its name took long
 * before (their length is learned when they end); or it has run for long itself. A length of `long_after_ms` earns the whole
 * head start, a shorter one its part of it. So does a task that ran for less than a millisecond before it last
 * slept: it costs the batch nothing, and shells and services stay usable.
 *
 * What a job has run itself earns a few turns at most: of equal jobs, those that began first would keep their CPUs otherwise,
 * and the others would come too seldom to catch up.
 *
 * A head start is a bounded lead over those who came earlier, so everybody's turn comes. Weight decides how long a turn is.
 */
#include <schedtui.bpf.h>

char _license[] SEC("license") = "GPL";

#define SHARED_DSQ 1
#define MIN_SLICE_NS (500 * NSEC_PER_USEC)
#define MAX_SLICE_NS (100 * NSEC_PER_MSEC)
#define MAX_ROUND_NS NSEC_PER_SEC
#define BRIEF_NS (2 * NSEC_PER_MSEC)
#define NAME_SIZE 16
#define TURNS_EARNED 4

/* Jobs whose name begins like this are long from the start. Empty: lengths are only learned. Cost: A name that
 * fits short jobs too takes the advantage from the long ones. */
const volatile char long_job[NAME_SIZE] = "";

/* How much earlier than it did a long job counts as having come. More: it keeps its CPU although more others wait.
 * Cost: Short jobs wait longer for a turn. The watchdog ends the policy at 5000. */
const volatile u64 head_start_ms = 1500;

/* From which CPU time on a job is fully long. More: only the very long ones gain. Cost: Set too low, jobs that are
 * not much longer than the others gain too, and then nobody does. */
const volatile u64 long_after_ms = 2000;

/* How long a turn of a task of normal weight is. Longer: fewer switches and warmer caches. Cost: Everybody waits
 * longer for a turn. */
const volatile u64 slice_us = 20000;

u64 nr_to_idle_cpu; /* wake-ups that found an idle CPU */
u64 nr_queued;      /* times that a task had to wait */
u64 nr_long_first;  /* times that a long job had its whole head start */
u64 nr_kept;        /* times that a job went on after its turn, because none waited longer */
u64 nr_learned;     /* jobs whose length was learned at their end */

UEI_DEFINE(uei);

static u64 nr_cpus;

struct job {
	u64 awake_since;   /* sum_exec_runtime when it woke up */
	u64 usual_burst_ns; /* how long it runs between two sleeps: an average, so that one long run does not count */
};
TASK_STATE(tasks, struct job);

struct job_name {
	char bytes[NAME_SIZE];
};

/* Name -> CPU time in ns of jobs that ended; the least recently used are forgotten. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 4096);
	__type(key, struct job_name);
	__type(value, u64);
} lengths SEC(".maps");

static u64 longest_slice(const struct task_struct *p)
{
	u64 full = clamp_u64(slice_us * NSEC_PER_USEC * p->scx.weight / 100, MIN_SLICE_NS, MAX_SLICE_NS);

	return slice_for_queue(full, MIN_SLICE_NS, MAX_ROUND_NS, scx_bpf_dsq_nr_queued(SHARED_DSQ), nr_cpus);
}

static struct job_name longest_name(const struct task_struct *p)
{
	struct job_name name = {};
	int i;

	_Pragma("unroll") for (i = 0; i < NAME_SIZE - 1; i++)
	{
		name.bytes[i] = p->comm[i];
		if (!name.bytes[i])
			break;
	}
	return name;
}

static bool longest_is_named(const struct job_name *name)
{
	int i;

	if (!long_job[0])
		return false;
	_Pragma("unroll") for (i = 0; i < NAME_SIZE - 1 && long_job[i]; i++)
	{
		if (long_job[i] != name->bytes[i])
			return false;
	}
	return true;
}

/* CPU time in ns that a job of its name takes, as far as it matters; 0: nobody knows. */
static u64 longest_length(const struct task_struct *p)
{
	struct job_name name = longest_name(p);
	u64 *learned;

	if (longest_is_named(&name))
		return long_after_ms * NSEC_PER_MSEC;
	learned = bpf_map_lookup_elem(&lengths, &name);
	return learned ? min(*learned, long_after_ms * NSEC_PER_MSEC) : 0;
}

/* The part of the head start that a length earns. */
static u64 longest_earned(u64 length)
{
	return head_start_ms * min(length, long_after_ms * NSEC_PER_MSEC) / max(long_after_ms, 1);
}

/* Where in the queue a task belongs: when it came, less its head start. */
static u64 longest_place(const struct task_struct *p, const struct job *job)
{
	u64 so_far = p->se.sum_exec_runtime, length = longest_length(p);
	u64 lead = max(longest_earned(length), min(longest_earned(so_far), TURNS_EARNED * slice_us * NSEC_PER_USEC));

	if (length >= long_after_ms * NSEC_PER_MSEC)
		count(nr_long_first);
	else if (so_far - job->awake_since + job->usual_burst_ns < BRIEF_NS)
		lead = head_start_ms * NSEC_PER_MSEC;
	return scx_bpf_now() - lead;
}

s32 BPF_STRUCT_OPS(longest_select_cpu, struct task_struct *p, s32 prev_cpu, u64 wake_flags)
{
	bool idle = false;
	s32 cpu = scx_bpf_select_cpu_dfl(p, prev_cpu, wake_flags, &idle);

	if (idle) {
		count(nr_to_idle_cpu);
		scx_bpf_dsq_insert(p, SCX_DSQ_LOCAL, longest_slice(p), 0);
	}
	return cpu;
}

void BPF_STRUCT_OPS(longest_enqueue, struct task_struct *p, u64 enq_flags)
{
	struct job *job = task_state(&tasks, p);

	if (!job || is_percpu_kthread(p)) {
		scx_bpf_dsq_insert(p, SCX_DSQ_LOCAL, longest_slice(p), enq_flags);
		return;
	}
	count(nr_queued);
	scx_bpf_dsq_insert_vtime(p, SHARED_DSQ, longest_slice(p), longest_place(p, job), enq_flags);
	kick_idle_cpu(p);
}

static bool longest_comes_first(const struct task_struct *p)
{
	struct job *job = task_state(&tasks, (void *)p);
	u64 first;

	if (!job || !first_vtime(SHARED_DSQ, &first))
		return true;
	return time_before(longest_place(p, job), first);
}

void BPF_STRUCT_OPS(longest_dispatch, s32 cpu, struct task_struct *prev)
{
	if (wants_to_go_on(prev) && longest_comes_first(prev)) {
		count(nr_kept);
		scx_bpf_task_set_slice(prev, longest_slice(prev));
		return;
	}
	/* What waits may be barred from this CPU: then the task that was here goes on. */
	if (!scx_bpf_dsq_move_to_local(SHARED_DSQ) && wants_to_go_on(prev))
		scx_bpf_task_set_slice(prev, longest_slice(prev));
}

void BPF_STRUCT_OPS(longest_runnable, struct task_struct *p, u64 enq_flags)
{
	struct job *job = task_state(&tasks, p);

	if (job && (enq_flags & SCX_ENQ_WAKEUP))
		job->awake_since = p->se.sum_exec_runtime;
}

void BPF_STRUCT_OPS(longest_quiescent, struct task_struct *p, u64 deq_flags)
{
	struct job *job = task_state(&tasks, p);

	if (job && (deq_flags & SCX_DEQ_SLEEP))
		job->usual_burst_ns = (3 * job->usual_burst_ns + p->se.sum_exec_runtime - job->awake_since) / 4;
}

s32 BPF_STRUCT_OPS_SLEEPABLE(longest_init_task, struct task_struct *p, struct scx_init_task_args *args)
{
	struct job *job = new_task_state(&tasks, p);

	if (!job)
		return -ENOMEM;
	job->usual_burst_ns = args->fork ? BRIEF_NS : 0;
	return 0;
}

/* A job's length goes into the average of its name. Unloading the policy comes by here too, and teaches nothing. */
void BPF_STRUCT_OPS(longest_exit_task, struct task_struct *p, struct scx_exit_task_args *args)
{
	u64 length = p->se.sum_exec_runtime, *learned;
	struct job_name name;

	if (args->cancelled || !(p->flags & PF_EXITING))
		return;
	name = longest_name(p);
	learned = bpf_map_lookup_elem(&lengths, &name);
	if (learned)
		length = (*learned * 3 + length) / 4;
	if (!bpf_map_update_elem(&lengths, &name, &length, BPF_ANY))
		count(nr_learned);
}

/* With these two, the policy lives on when CPUs come and go, as they do around suspend. */
void BPF_STRUCT_OPS(longest_cpu_online, s32 cpu)
{
	nr_cpus = nr_online_cpus();
}

void BPF_STRUCT_OPS(longest_cpu_offline, s32 cpu)
{
	empty_for_offline(SHARED_DSQ, cpu);
	nr_cpus = nr_cpus_without(cpu);
}

s32 BPF_STRUCT_OPS_SLEEPABLE(longest_init)
{
	nr_cpus = nr_online_cpus();
	return scx_bpf_create_dsq(SHARED_DSQ, NUMA_NO_NODE);
}

void BPF_STRUCT_OPS(longest_exit, struct scx_exit_info *info)
{
	UEI_RECORD(uei, info);
}

SCX_OPS_DEFINE(longest_ops,
	.select_cpu = (void *)longest_select_cpu,
	.enqueue = (void *)longest_enqueue,
	.dispatch = (void *)longest_dispatch,
	.runnable = (void *)longest_runnable,
	.quiescent = (void *)longest_quiescent,
	.init_task = (void *)longest_init_task,
	.exit_task = (void *)longest_exit_task,
	.cpu_online = (void *)longest_cpu_online,
	.cpu_offline = (void *)longest_cpu_offline,
	.init = (void *)longest_init,
	.exit = (void *)longest_exit,
	.timeout_ms = 5000,
	.name = "longest_first");
