/* SPDX-License-Identifier: GPL-2.0 */
/* A policy that does not compile: line 9 uses a name that nothing declares. */
#include <schedtui.bpf.h>

char _license[] SEC("license") = "GPL";

void BPF_STRUCT_OPS(broken_enqueue, struct task_struct *p, u64 enq_flags)
{
	scx_bpf_dsq_insert(p, SCX_DSQ_GLOBAL, slice_that_is_nowhere, enq_flags);
}

SCX_OPS_DEFINE(broken_ops,
	.enqueue = (void *)broken_enqueue,
	.name = "broken");
