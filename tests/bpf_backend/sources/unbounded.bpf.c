/* SPDX-License-Identifier: GPL-2.0 */
/* Rejected by the verifier: an index without a bound. */
#include <schedtui.bpf.h>

char _license[] SEC("license") = "GPL";

u64 table[16];

void BPF_STRUCT_OPS(unbounded_enqueue, struct task_struct *p, u64 enq_flags)
{
	table[p->scx.dsq_vtime]++; /* the fault */
	scx_bpf_dsq_insert(p, SCX_DSQ_GLOBAL, SCX_SLICE_DFL, enq_flags);
}

SCX_OPS_DEFINE(unbounded_ops,
	.enqueue = (void *)unbounded_enqueue,
	.timeout_ms = 5000,
	.name = "unbounded");
