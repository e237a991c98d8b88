/* SPDX-License-Identifier: GPL-2.0 */
/* A policy that compiles, and that the kernel's verifier rejects: line 22 uses a map's entry without looking whether
 * there is one. */
#include <schedtui.bpf.h>

char _license[] SEC("license") = "GPL";

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 64);
	__type(key, u32);
	__type(value, u64);
} slices SEC(".maps");

u64 nr_enqueued;

void BPF_STRUCT_OPS(rejected_enqueue, struct task_struct *p, u64 enq_flags)
{
	u32 pid = p->pid;
	u64 *slice = bpf_map_lookup_elem(&slices, &pid);

	scx_bpf_dsq_insert(p, SCX_DSQ_GLOBAL, *slice, enq_flags);
	count(nr_enqueued);
}

SCX_OPS_DEFINE(rejected_ops,
	.enqueue = (void *)rejected_enqueue,
	.timeout_ms = 5000,
	.name = "rejected");
