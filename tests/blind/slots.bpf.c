/* SPDX-License-Identifier: GPL-2.0 */
/*
 * slots: weighted fair shares, without a look-up.
 *
 * What a task has run, in proportion to its weight, is kept in an array that every CPU reaches with one instruction: the
 * low bits of the pid say where. All tasks wait in one queue, sorted by when their turn comes; who has run least
 * comes first. No hash, no allocation, no lock: an account costs a cache line at most.
 */
#include <schedtui.bpf.h>

char _license[] SEC("license") = "GPL";

#define SHARED_DSQ 1
#define MIN_SLICE_NS (500 * NSEC_PER_USEC)
#define NR_SLOTS 1024 /* a power of two, more than ever run at once */
#define MAX_CPUS 1024

/* How long a task runs before others get their turn. Longer: fewer switches. Cost: Whoever waits, waits longer. */
const volatile u64 slice_us = 5000;

/* How far a task that slept may start behind the others. Cost: Sleepers hold up those that compute. */
const volatile u64 sleeper_credit_us = 5000;

/* The longest that a task's debt can keep it from running. Cost: Tasks of low weight pause longer. */
const volatile u64 max_wait_ms = 1000;

u64 nr_to_idle_cpu; /* wake-ups that found an idle CPU */
u64 nr_queued;      /* times that a task had to wait */
u64 nr_kept;        /* times that a task went on after its slice */

UEI_DEFINE(uei);

static struct vclock clock;

struct slot {
	u64 vtime;
	struct vclock_share share;
};

static struct slot table[NR_SLOTS];
static u64 charged[MAX_CPUS]; /* sum_exec_runtime of the task that runs there, up to where its vtime counts it */

static struct slot *slots_of(const struct task_struct *p)
{
	return &table[(u32)p->pid & (NR_SLOTS - 1)];
}

static u64 slots_slice(void)
{
	return slice_for_queue(slice_us * NSEC_PER_USEC, MIN_SLICE_NS, max_wait_ms * NSEC_PER_MSEC,
			       scx_bpf_dsq_nr_queued(SHARED_DSQ), clock.nr_cpus);
}

static u64 slots_turn(struct slot *slot)
{
	return vclock_turn(&clock, &slot->vtime, sleeper_credit_us * NSEC_PER_USEC, max_wait_ms * NSEC_PER_MSEC);
}

static void slots_charge(const struct task_struct *p, struct slot *slot)
{
	u32 cpu = scx_bpf_task_cpu(p) & (MAX_CPUS - 1);

	slot->vtime += weighted(p, p->se.sum_exec_runtime - charged[cpu]);
	charged[cpu] = p->se.sum_exec_runtime;
}

s32 BPF_STRUCT_OPS(slots_select_cpu, struct task_struct *p, s32 prev_cpu, u64 wake_flags)
{
	bool idle = false;
	s32 cpu = scx_bpf_select_cpu_dfl(p, prev_cpu, wake_flags, &idle);

	if (idle) {
		count(nr_to_idle_cpu);
		scx_bpf_dsq_insert(p, SCX_DSQ_LOCAL, slots_slice(), 0);
	}
	return cpu;
}

void BPF_STRUCT_OPS(slots_enqueue, struct task_struct *p, u64 enq_flags)
{
	struct slot *slot = slots_of(p);

	if (is_percpu_kthread(p)) {
		scx_bpf_dsq_insert(p, SCX_DSQ_LOCAL, slots_slice(), enq_flags);
		return;
	}
	count(nr_queued);
	scx_bpf_dsq_insert_vtime(p, SHARED_DSQ, slots_slice(), slots_turn(slot), enq_flags);
	kick_idle_cpu(p);
}

static bool slots_comes_first(const struct task_struct *p)
{
	struct slot *slot = slots_of(p);
	u64 first;

	if (!first_vtime(SHARED_DSQ, &first))
		return true;
	slots_charge(p, slot);
	return time_before(slots_turn(slot), first);
}

void BPF_STRUCT_OPS(slots_dispatch, s32 cpu, struct task_struct *prev)
{
	if (wants_to_go_on(prev) && slots_comes_first(prev)) {
		count(nr_kept);
		scx_bpf_task_set_slice(prev, slots_slice());
		return;
	}
	if (!scx_bpf_dsq_move_to_local(SHARED_DSQ) && wants_to_go_on(prev))
		scx_bpf_task_set_slice(prev, slots_slice());
}

void BPF_STRUCT_OPS(slots_running, struct task_struct *p)
{
	charged[scx_bpf_task_cpu(p) & (MAX_CPUS - 1)] = p->se.sum_exec_runtime;
}

void BPF_STRUCT_OPS(slots_stopping, struct task_struct *p, bool runnable)
{
	struct slot *slot = slots_of(p);

	slots_charge(p, slot);
}

void BPF_STRUCT_OPS(slots_runnable, struct task_struct *p, u64 enq_flags)
{
	struct slot *slot = slots_of(p);

	vclock_join(&clock, &slot->share, p->scx.weight);
}

void BPF_STRUCT_OPS(slots_quiescent, struct task_struct *p, u64 deq_flags)
{
	struct slot *slot = slots_of(p);

	vclock_leave(&clock, &slot->share);
}

void BPF_STRUCT_OPS(slots_set_weight, struct task_struct *p, u32 weight)
{
	struct slot *slot = slots_of(p);

	vclock_reweigh(&clock, &slot->share, weight);
}

void BPF_STRUCT_OPS(slots_enable, struct task_struct *p)
{
	struct slot *slot = slots_of(p);

	slot->vtime = vclock_now(&clock);
}

void BPF_STRUCT_OPS(slots_cpu_online, s32 cpu)
{
	clock.nr_cpus = nr_online_cpus();
}

void BPF_STRUCT_OPS(slots_cpu_offline, s32 cpu)
{
	empty_for_offline(SHARED_DSQ, cpu);
	clock.nr_cpus = nr_online_cpus();
}

s32 BPF_STRUCT_OPS_SLEEPABLE(slots_init)
{
	vclock_start(&clock);
	return scx_bpf_create_dsq(SHARED_DSQ, NUMA_NO_NODE);
}

void BPF_STRUCT_OPS(slots_exit, struct scx_exit_info *info)
{
	UEI_RECORD(uei, info);
}

SCX_OPS_DEFINE(slots_ops,
	.select_cpu = (void *)slots_select_cpu,
	.enqueue = (void *)slots_enqueue,
	.dispatch = (void *)slots_dispatch,
	.running = (void *)slots_running,
	.stopping = (void *)slots_stopping,
	.runnable = (void *)slots_runnable,
	.quiescent = (void *)slots_quiescent,
	.set_weight = (void *)slots_set_weight,
	.enable = (void *)slots_enable,
	.cpu_online = (void *)slots_cpu_online,
	.cpu_offline = (void *)slots_cpu_offline,
	.init = (void *)slots_init,
	.exit = (void *)slots_exit,
	.timeout_ms = 5000,
	.name = "slots");
