/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A policy that calls every kfunc which has changed between kernels, from where it may be called. Each running kernel
 * must find its own form of them. `uncertain` keeps what would disturb the tasks from happening, not from being loaded.
 */
#include <schedtui.bpf.h>

char _license[] SEC("license") = "GPL";

#define SORTED_DSQ 1
#define PLAIN_DSQ 2

const volatile u32 end_with_code; /* not 0: the policy ends itself */

u64 nr_and;
u64 nr_walked;
u64 nr_dumped;
u64 nr_online;

static u32 uncertain;
static u64 nr_dispatched;

s32 BPF_STRUCT_OPS(forms_select_cpu, struct task_struct *p, s32 prev_cpu, u64 wake_flags)
{
	s32 cpu = scx_bpf_select_cpu_and(p, prev_cpu, wake_flags, p->cpus_ptr, 0);

	if (cpu < 0)
		return prev_cpu;
	count(nr_and);
	scx_bpf_dsq_insert(p, SCX_DSQ_LOCAL, SCX_SLICE_DFL, 0);
	return cpu;
}

void BPF_STRUCT_OPS(forms_enqueue, struct task_struct *p, u64 enq_flags)
{
	bool brief = (p->flags & PF_KTHREAD) && !__COMPAT_is_enq_cpu_selected(enq_flags);
	u64 head = brief ? SCX_ENQ_HEAD : 0;

	if (p->pid & 1)
		scx_bpf_dsq_insert(p, PLAIN_DSQ, SCX_SLICE_DFL, enq_flags | head);
	else
		scx_bpf_dsq_insert_vtime(p, SORTED_DSQ, SCX_SLICE_DFL, scx_bpf_now(), enq_flags);
	kick_idle_cpu(p);
}

void BPF_STRUCT_OPS(forms_dispatch, s32 cpu, struct task_struct *prev)
{
	struct task_struct *p;

	/* By turns, so that neither queue starves the other. */
	if ((__sync_fetch_and_add(&nr_dispatched, 1) & 1) && scx_bpf_dsq_move_to_local(SORTED_DSQ))
		return;
	bpf_for_each(scx_dsq, p, PLAIN_DSQ, 0) {
		count(nr_walked);
		if (!bpf_cpumask_test_cpu(cpu, p->cpus_ptr))
			continue;
		scx_bpf_dsq_move_set_slice(BPF_FOR_EACH_ITER, SCX_SLICE_DFL / 2);
		if (scx_bpf_dsq_move(BPF_FOR_EACH_ITER, p, SCX_DSQ_LOCAL, 0))
			return;
		scx_bpf_dsq_move_set_vtime(BPF_FOR_EACH_ITER, 0);
		if (scx_bpf_dsq_move_vtime(BPF_FOR_EACH_ITER, p, SORTED_DSQ, 0))
			break;
	}
	if (!scx_bpf_dsq_move_to_local(SORTED_DSQ) && !scx_bpf_dsq_move_to_local(PLAIN_DSQ, 0) && wants_to_go_on(prev))
		scx_bpf_task_set_slice(prev, SCX_SLICE_DFL);
}

void BPF_STRUCT_OPS(forms_tick, struct task_struct *p)
{
	struct task_struct *current;
	s32 cpu = scx_bpf_task_cpu(p);

	bpf_rcu_read_lock();
	current = scx_bpf_cpu_curr(cpu);
	if (current && current->pid < 0)
		scx_bpf_error("cpu %d runs a task without a number", cpu);
	bpf_rcu_read_unlock();
	if (end_with_code)
		scx_bpf_exit(end_with_code, "as asked, on cpu %d", cpu);
}

void BPF_STRUCT_OPS(forms_cpu_release, s32 cpu, struct scx_cpu_release_args *args)
{
	scx_bpf_reenqueue_local();
}

void BPF_STRUCT_OPS(forms_enable, struct task_struct *p)
{
	scx_bpf_task_set_dsq_vtime(p, 0);
	if (uncertain)
		scx_bpf_error("never");
}

void BPF_STRUCT_OPS(forms_dump, struct scx_dump_ctx *dump)
{
	count(nr_dumped);
	scx_bpf_dump("kind %d, %d online", dump->kind, (u32)nr_online);
}

s32 BPF_STRUCT_OPS_SLEEPABLE(forms_init)
{
	struct task_struct *first = bpf_task_from_pid(1);
	struct bpf_cpumask *mask = bpf_cpumask_create();
	s32 failed;

	if (first)
		bpf_task_release(first);
	if (!mask)
		return -ENOMEM;
	bpf_cpumask_set_cpu(0, mask);
	if (bpf_cpumask_weight(cast_mask(mask)) != 1)
		scx_bpf_error("a mask with one CPU holds %d", bpf_cpumask_weight(cast_mask(mask)));
	bpf_cpumask_release(mask);
	nr_online = nr_online_cpus();
	if (scx_bpf_cpuperf_cap(0) && uncertain)
		scx_bpf_cpuperf_set(0, SCX_CPUPERF_ONE);
	failed = scx_bpf_create_dsq(SORTED_DSQ, NUMA_NO_NODE);
	return failed ?: scx_bpf_create_dsq(PLAIN_DSQ, NUMA_NO_NODE);
}

SCX_OPS_DEFINE(forms_ops,
	.select_cpu = (void *)forms_select_cpu,
	.enqueue = (void *)forms_enqueue,
	.dispatch = (void *)forms_dispatch,
	.tick = (void *)forms_tick,
	.cpu_release = (void *)forms_cpu_release,
	.enable = (void *)forms_enable,
	.dump = (void *)forms_dump,
	.init = (void *)forms_init,
	.timeout_ms = 5000,
	.name = "all_forms");
