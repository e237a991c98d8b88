/* SPDX-License-Identifier: GPL-2.0 */
/* Ends itself, as a policy does that finds its own state broken. */
#include <schedtui.bpf.h>

char _license[] SEC("license") = "GPL";

u64 nr_ran;

void BPF_STRUCT_OPS(gives_up_running, struct task_struct *p)
{
	if (__sync_fetch_and_add(&nr_ran, 1) == 200)
		scx_bpf_error("had enough after %d", 200);
}

SCX_OPS_DEFINE(gives_up_ops,
	.running = (void *)gives_up_running,
	.timeout_ms = 5000,
	.name = "gives_up");
