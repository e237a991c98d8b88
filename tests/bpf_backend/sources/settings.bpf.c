/* SPDX-License-Identifier: GPL-2.0 */
/* Every kind of tunable and counter; each counter shows the value that a tunable had in the kernel. */
#include <schedtui.bpf.h>

char _license[] SEC("license") = "GPL";

const volatile u64 slice_us = 5000;
const volatile s32 offset = -3;
const volatile u8 tiny = 7;
const volatile bool enabled = true;
const volatile char who[16] = "nobody";
static const volatile u32 hidden_constant = 1;
const u32 built_in = 3; /* the compiler may have used its value already */

u64 nr_slice_us;
s32 seen_offset;
u32 seen_tiny;
u32 seen_enabled;
u64 who_begins;
static u64 nr_hidden;
u64 not_a_number[2];

void BPF_STRUCT_OPS(settings_enqueue, struct task_struct *p, u64 enq_flags)
{
	nr_hidden += hidden_constant;
	not_a_number[0] = nr_hidden;
	scx_bpf_dsq_insert(p, SCX_DSQ_GLOBAL, slice_us * NSEC_PER_USEC, enq_flags);
}

s32 BPF_STRUCT_OPS_SLEEPABLE(settings_init)
{
	nr_slice_us = slice_us;
	seen_offset = offset;
	seen_tiny = tiny;
	seen_enabled = enabled;
	who_begins = who[0];
	return 0;
}

SCX_OPS_DEFINE(settings_ops,
	.enqueue = (void *)settings_enqueue,
	.init = (void *)settings_init,
	.timeout_ms = 5000,
	.name = "settings");
