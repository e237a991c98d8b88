/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Who wakes whom, and how long the woken then waits. Taken where the waker itself runs (sched_waking), because the woken
 * may be put onto a queue by another CPU. An interrupt wakes in the name of whatever it interrupted; pid 0 is an idle CPU.
 */
static inline void woken(u32 pid)
{
	struct begun begun = {};

	begun.waker = bpf_get_current_pid_tgid();
	bpf_get_current_comm(begun.name, NAME);
	mark(pid, &begun);
}

TRACEPOINT_PROBE(sched, sched_waking)
{
	woken(args->pid);
	return 0;
}

TRACEPOINT_PROBE(sched, sched_wakeup_new)
{
	woken(args->pid);
	return 0;
}

TRACEPOINT_PROBE(sched, sched_switch)
{
	char name[NAME];

	__builtin_memcpy(name, args->next_comm, NAME);
	finish(args->next_pid, name);
	return 0;
}
