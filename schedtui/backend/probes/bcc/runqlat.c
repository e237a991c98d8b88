/* SPDX-License-Identifier: GPL-2.0 */
/* How long tasks wait for a CPU: from being able to run (woken, forked or pushed off) until they run. */
TRACEPOINT_PROBE(sched, sched_wakeup)
{
	struct begun begun = {};

	mark(args->pid, &begun);
	return 0;
}

TRACEPOINT_PROBE(sched, sched_wakeup_new)
{
	struct begun begun = {};

	mark(args->pid, &begun);
	return 0;
}

TRACEPOINT_PROBE(sched, sched_switch)
{
	struct begun begun = {};
	char name[NAME];

	if (can_run(args->prev_state))
		mark(args->prev_pid, &begun);
	__builtin_memcpy(name, args->next_comm, NAME);
	finish(args->next_pid, name);
	return 0;
}
