/* SPDX-License-Identifier: GPL-2.0 */
/* The part of brings-a-header.bpf.c that a reader of that file does not see. */
static __always_inline bool stranger_takes(const struct task_struct *p)
{
	return p->static_prio > 120;
}
