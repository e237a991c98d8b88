/* SPDX-License-Identifier: GPL-2.0 */
/*
 * ledger: weighted fair shares, with the accounts of all tasks in one table.
 *
 * Every task has an account, found by its pid, that says how much CPU time it has had in proportion to its weight. All
 * tasks wait in one queue, sorted by when their turn comes; who has had least comes first. The table is allocated
 * once, when the policy is loaded, so that nothing is allocated on the way of a fork. Pids are used again, and a new
 * task then overwrites the account that its predecessor left, so there is nothing to clean up.
 */
#include <schedtui.bpf.h>

char _license[] SEC("license") = "GPL";

#define SHARED_DSQ 1
#define MIN_SLICE_NS (500 * NSEC_PER_USEC)
#define MAX_ACCOUNTS 4096

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

struct account {
	u64 vtime;
	u64 charged; /* sum_exec_runtime up to where vtime counts it */
	struct vclock_share share;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, MAX_ACCOUNTS);
	__type(key, u32);
	__type(value, struct account);
} accounts SEC(".maps");

static struct account *ledger_account(const struct task_struct *p)
{
	u32 pid = p->pid;

	return bpf_map_lookup_elem(&accounts, &pid);
}

static u64 ledger_slice(void)
{
	return slice_for_queue(slice_us * NSEC_PER_USEC, MIN_SLICE_NS, max_wait_ms * NSEC_PER_MSEC,
			       scx_bpf_dsq_nr_queued(SHARED_DSQ), clock.nr_cpus);
}

static u64 ledger_turn(struct account *account)
{
	return vclock_turn(&clock, &account->vtime, sleeper_credit_us * NSEC_PER_USEC, max_wait_ms * NSEC_PER_MSEC);
}

static void ledger_charge(const struct task_struct *p, struct account *account)
{
	account->vtime += weighted(p, p->se.sum_exec_runtime - account->charged);
	account->charged = p->se.sum_exec_runtime;
}

s32 BPF_STRUCT_OPS(ledger_select_cpu, struct task_struct *p, s32 prev_cpu, u64 wake_flags)
{
	bool idle = false;
	s32 cpu = scx_bpf_select_cpu_dfl(p, prev_cpu, wake_flags, &idle);

	if (idle) {
		count(nr_to_idle_cpu);
		scx_bpf_dsq_insert(p, SCX_DSQ_LOCAL, ledger_slice(), 0);
	}
	return cpu;
}

void BPF_STRUCT_OPS(ledger_enqueue, struct task_struct *p, u64 enq_flags)
{
	struct account *account = ledger_account(p);

	if (!account || is_percpu_kthread(p)) {
		scx_bpf_dsq_insert(p, SCX_DSQ_LOCAL, ledger_slice(), enq_flags);
		return;
	}
	count(nr_queued);
	scx_bpf_dsq_insert_vtime(p, SHARED_DSQ, ledger_slice(), ledger_turn(account), enq_flags);
	kick_idle_cpu(p);
}

static bool ledger_comes_first(const struct task_struct *p)
{
	struct account *account = ledger_account(p);
	u64 first;

	if (!account || !first_vtime(SHARED_DSQ, &first))
		return true;
	ledger_charge(p, account);
	return time_before(ledger_turn(account), first);
}

void BPF_STRUCT_OPS(ledger_dispatch, s32 cpu, struct task_struct *prev)
{
	if (wants_to_go_on(prev) && ledger_comes_first(prev)) {
		count(nr_kept);
		scx_bpf_task_set_slice(prev, ledger_slice());
		return;
	}
	if (!scx_bpf_dsq_move_to_local(SHARED_DSQ) && wants_to_go_on(prev))
		scx_bpf_task_set_slice(prev, ledger_slice());
}

void BPF_STRUCT_OPS(ledger_running, struct task_struct *p)
{
	struct account *account = ledger_account(p);

	if (account)
		account->charged = p->se.sum_exec_runtime;
}

void BPF_STRUCT_OPS(ledger_stopping, struct task_struct *p, bool runnable)
{
	struct account *account = ledger_account(p);

	if (account)
		ledger_charge(p, account);
}

void BPF_STRUCT_OPS(ledger_runnable, struct task_struct *p, u64 enq_flags)
{
	struct account *account = ledger_account(p);

	if (account)
		vclock_join(&clock, &account->share, p->scx.weight);
}

void BPF_STRUCT_OPS(ledger_quiescent, struct task_struct *p, u64 deq_flags)
{
	struct account *account = ledger_account(p);

	if (account)
		vclock_leave(&clock, &account->share);
}

void BPF_STRUCT_OPS(ledger_set_weight, struct task_struct *p, u32 weight)
{
	struct account *account = ledger_account(p);

	if (account)
		vclock_reweigh(&clock, &account->share, weight);
}

void BPF_STRUCT_OPS(ledger_enable, struct task_struct *p)
{
	struct account fresh = {};
	u32 pid = p->pid;

	fresh.vtime = vclock_now(&clock);
	fresh.charged = p->se.sum_exec_runtime;
	bpf_map_update_elem(&accounts, &pid, &fresh, BPF_ANY);
}

void BPF_STRUCT_OPS(ledger_cpu_online, s32 cpu)
{
	clock.nr_cpus = nr_online_cpus();
}

void BPF_STRUCT_OPS(ledger_cpu_offline, s32 cpu)
{
	empty_for_offline(SHARED_DSQ, cpu);
	clock.nr_cpus = nr_online_cpus();
}

s32 BPF_STRUCT_OPS_SLEEPABLE(ledger_init)
{
	vclock_start(&clock);
	return scx_bpf_create_dsq(SHARED_DSQ, NUMA_NO_NODE);
}

void BPF_STRUCT_OPS(ledger_exit, struct scx_exit_info *info)
{
	UEI_RECORD(uei, info);
}

SCX_OPS_DEFINE(ledger_ops,
	.select_cpu = (void *)ledger_select_cpu,
	.enqueue = (void *)ledger_enqueue,
	.dispatch = (void *)ledger_dispatch,
	.running = (void *)ledger_running,
	.stopping = (void *)ledger_stopping,
	.runnable = (void *)ledger_runnable,
	.quiescent = (void *)ledger_quiescent,
	.set_weight = (void *)ledger_set_weight,
	.enable = (void *)ledger_enable,
	.cpu_online = (void *)ledger_cpu_online,
	.cpu_offline = (void *)ledger_cpu_offline,
	.init = (void *)ledger_init,
	.exit = (void *)ledger_exit,
	.timeout_ms = 5000,
	.name = "ledger");
