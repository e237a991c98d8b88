/* SPDX-License-Identifier: GPL-2.0 */
/* How long tasks stay away from the CPU between two turns, for whatever reason. */
TRACEPOINT_PROBE(sched, sched_switch)
{
	struct begun begun = {};
	char name[NAME];

	if (!has_ended(args->prev_state))
		mark(args->prev_pid, &begun);
	__builtin_memcpy(name, args->next_comm, NAME);
	finish(args->next_pid, name);
	return 0;
}
