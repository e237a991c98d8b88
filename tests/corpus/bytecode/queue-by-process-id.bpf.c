/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A queue for each CPU, chosen by the process id. A task that may not run on that CPU waits there for ever.
 */
#include <schedtui.bpf.h>

char _license[] SEC("license") = "GPL";

#define SHARED_DSQ 1

UEI_DEFINE(uei);

void BPF_STRUCT_OPS(queue_by_process_id_enqueue, struct task_struct *p, u64 enq_flags)
{
	u32 cpu = p->pid % scx_bpf_nr_cpu_ids();

	scx_bpf_dsq_insert(p, cpu, 5 * NSEC_PER_MSEC, enq_flags);
	scx_bpf_kick_cpu(cpu, SCX_KICK_IDLE);
}

void BPF_STRUCT_OPS(queue_by_process_id_dispatch, s32 cpu, struct task_struct *prev)
{
	scx_bpf_dsq_move_to_local(cpu);
}

s32 BPF_STRUCT_OPS_SLEEPABLE(queue_by_process_id_init)
{
	s32 error;
	int i;

	bpf_for(i, 0, scx_bpf_nr_cpu_ids()) {
		error = scx_bpf_create_dsq(i, NUMA_NO_NODE);
		if (error)
			return error;
	}
	return 0;
}

void BPF_STRUCT_OPS(queue_by_process_id_exit, struct scx_exit_info *info)
{
	UEI_RECORD(uei, info);
}

SCX_OPS_DEFINE(queue_by_process_id_ops,
	.enqueue = (void *)queue_by_process_id_enqueue,
	.dispatch = (void *)queue_by_process_id_dispatch,
	.init = (void *)queue_by_process_id_init,
	.exit = (void *)queue_by_process_id_exit,
	.timeout_ms = 2000,
	.name = "queue_by_process_id");
