/* SPDX-License-Identifier: GPL-2.0 */
/* How long tasks run at a stretch: from coming onto a CPU until leaving it. */
TRACEPOINT_PROBE(sched, sched_switch)
{
	struct begun begun = {};
	char name[NAME];

	__builtin_memcpy(name, args->prev_comm, NAME);
	finish(args->prev_pid, name);
	mark(args->next_pid, &begun);
	return 0;
}
