/* SPDX-License-Identifier: GPL-2.0 */
/*
 * fifo: first come, first served, in one queue for all CPUs.
 *
 * A task that must wait goes to the end of the queue; a CPU that becomes free takes the first task that may run on it.
 * Weight decides how long a turn is, not when it comes: a task of twice the weight runs twice as long. Turns become
 * shorter when the queue is long, so that all who wait have one within `max_round_ms`.
 *
 * There is nothing to learn and nothing to misjudge, and few switches: work in batches finishes in the order in
 * which it came. There is no favour either for a task that only needs the CPU for a moment.
 */
#include <schedtui.bpf.h>

char _license[] SEC("license") = "GPL";

#define SHARED_DSQ 1
#define MIN_SLICE_NS (500 * NSEC_PER_USEC)
#define MAX_SLICE_NS (100 * NSEC_PER_MSEC)

/* How long a turn of a task of normal weight is. Longer: fewer switches and warmer caches. Cost: Everybody waits
 * longer for a turn. */
const volatile u64 slice_us = 20000;

/* In how long everyone who waits should have had a turn. Longer: turns keep their length although the queue is
 * long. Cost: The last in the queue waits that long. The watchdog ends the policy at 5000. */
const volatile u64 max_round_ms = 1000;

u64 nr_to_idle_cpu; /* wake-ups that found an idle CPU */
u64 nr_queued;      /* times that a task had to wait */
u64 nr_shortened;   /* turns made shorter because the queue was long */

UEI_DEFINE(uei);

static u64 nr_cpus;

static u64 fifo_slice(const struct task_struct *p)
{
	u64 full = clamp_u64(slice_us * NSEC_PER_USEC * p->scx.weight / 100, MIN_SLICE_NS, MAX_SLICE_NS);
	u64 slice = slice_for_queue(full, MIN_SLICE_NS, max_round_ms * NSEC_PER_MSEC,
				    scx_bpf_dsq_nr_queued(SHARED_DSQ), nr_cpus);

	if (slice < full)
		count(nr_shortened);
	return slice;
}

s32 BPF_STRUCT_OPS(fifo_select_cpu, struct task_struct *p, s32 prev_cpu, u64 wake_flags)
{
	bool idle = false;
	s32 cpu = scx_bpf_select_cpu_dfl(p, prev_cpu, wake_flags, &idle);

	if (idle) {
		count(nr_to_idle_cpu);
		scx_bpf_dsq_insert(p, SCX_DSQ_LOCAL, fifo_slice(p), 0);
	}
	return cpu;
}

void BPF_STRUCT_OPS(fifo_enqueue, struct task_struct *p, u64 enq_flags)
{
	if (is_percpu_kthread(p)) {
		scx_bpf_dsq_insert(p, SCX_DSQ_LOCAL, fifo_slice(p), enq_flags);
		return;
	}
	count(nr_queued);
	scx_bpf_dsq_insert(p, SHARED_DSQ, fifo_slice(p), enq_flags);
	kick_idle_cpu(p);
}

void BPF_STRUCT_OPS(fifo_dispatch, s32 cpu, struct task_struct *prev)
{
	if (!scx_bpf_dsq_move_to_local(SHARED_DSQ) && wants_to_go_on(prev))
		scx_bpf_task_set_slice(prev, fifo_slice(prev));
}

/* With these two, the policy lives on when CPUs come and go, as they do around suspend. */
void BPF_STRUCT_OPS(fifo_cpu_online, s32 cpu)
{
	nr_cpus = nr_online_cpus();
}

void BPF_STRUCT_OPS(fifo_cpu_offline, s32 cpu)
{
	empty_for_offline(SHARED_DSQ, cpu);
	nr_cpus = nr_cpus_without(cpu);
}

s32 BPF_STRUCT_OPS_SLEEPABLE(fifo_init)
{
	nr_cpus = nr_online_cpus();
	return scx_bpf_create_dsq(SHARED_DSQ, NUMA_NO_NODE);
}

void BPF_STRUCT_OPS(fifo_exit, struct scx_exit_info *info)
{
	UEI_RECORD(uei, info);
}

SCX_OPS_DEFINE(fifo_ops,
	.select_cpu = (void *)fifo_select_cpu,
	.enqueue = (void *)fifo_enqueue,
	.dispatch = (void *)fifo_dispatch,
	.cpu_online = (void *)fifo_cpu_online,
	.cpu_offline = (void *)fifo_cpu_offline,
	.init = (void *)fifo_init,
	.exit = (void *)fifo_exit,
	.timeout_ms = 5000,
	.name = "fifo");
