/* SPDX-License-Identifier: GPL-2.0 */
/* Its init fails: the kernel enables it and throws it out in one go. */
#include <schedtui.bpf.h>

char _license[] SEC("license") = "GPL";

s32 BPF_STRUCT_OPS_SLEEPABLE(bad_init_init)
{
	return -22;
}

SCX_OPS_DEFINE(bad_init_ops,
	.init = (void *)bad_init_init,
	.timeout_ms = 5000,
	.name = "bad_init");
