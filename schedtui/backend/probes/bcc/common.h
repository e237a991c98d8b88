/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What every deep dive counts in, and whom it counts. bcc compiles this text together with one program's.
 *
 * Only fields of tracepoints are read, whose layout the running kernel itself describes: nothing here depends on the
 * layout of a kernel structure. The histogram is log-linear, four slots an octave, as schedtui/backend/histogram.py has it.
 */
#define SLOTS 128
#define NAME 16

struct pair {
	u32 waker; /* 0 where nobody else has a part in it */
	u32 pid;
};

struct row {
	u64 count;
	u64 total_ns;
	u64 max_ns; /* two CPUs that write at once may lose the larger: it is for people to read */
	char name[NAME];
	char waker[NAME];
};

struct begun {
	u64 at;
	u32 waker;
	char name[NAME];
};

BPF_PERCPU_ARRAY(slots, u64, SLOTS);
BPF_TABLE("lru_hash", struct pair, struct row, rows, 4096);
BPF_HASH(since, u32, struct begun, 32768);
BPF_ARRAY(counting, u32, 1); /* 1 while user space looks; marks are set before, so that the first times are whole */
BPF_ARRAY(missed, u64, 1);

#if FILTER
BPF_HASH(wanted, u32, u8, 32768);

static inline int is_wanted(u32 pid)
{
	return wanted.lookup(&pid) != 0;
}

TRACEPOINT_PROBE(sched, sched_process_fork)
{
	u32 parent = args->parent_pid, child = args->child_pid;
	u8 yes = 1;

	if (wanted.lookup(&parent))
		wanted.update(&child, &yes);
	return 0;
}
#else
static inline int is_wanted(u32 pid)
{
	return 1;
}
#endif

static inline void miss(void)
{
	int only = 0;
	u64 *count = missed.lookup(&only);

	if (count)
		__sync_fetch_and_add(count, 1);
}

/* A state of 0 can run still: it was pushed off. Where the kernel tells preemption apart, its bit lies above the states. */
static inline int can_run(long state)
{
	return (state & 0xff) == 0;
}

static inline int has_ended(long state)
{
	return state & 0x30; /* dead, zombie */
}

static inline int slot_of(u64 ns)
{
	u64 left = ns;
	int exponent = 0;

	if (ns < 4)
		return ns;
	if (left >> 32) { left >>= 32; exponent += 32; }
	if (left >> 16) { left >>= 16; exponent += 16; }
	if (left >> 8) { left >>= 8; exponent += 8; }
	if (left >> 4) { left >>= 4; exponent += 4; }
	if (left >> 2) { left >>= 2; exponent += 2; }
	if (left >> 1) exponent += 1;
	exponent = 4 * (exponent - 1) + ((ns >> (exponent - 2)) & 3);
	return exponent < SLOTS ? exponent : SLOTS - 1;
}

static inline void mark(u32 pid, struct begun *begun)
{
	begun->at = bpf_ktime_get_ns();
	if (pid && is_wanted(pid) && since.update(&pid, begun))
		miss();
}

static inline void finish(u32 pid, const char *name)
{
	struct begun *begun = since.lookup(&pid);
	struct pair key = {};
	struct row fresh = {}, *row;
	int slot, only = 0;
	u32 *looked_at = counting.lookup(&only);
	u64 ns, *count;

	if (!begun)
		return;
	ns = bpf_ktime_get_ns() - begun->at;
	key.pid = pid;
	key.waker = begun->waker;
	__builtin_memcpy(fresh.waker, begun->name, NAME);
	since.delete(&pid);
	if (!looked_at || !*looked_at)
		return;
	slot = slot_of(ns);
	count = slots.lookup(&slot);
	if (count)
		*count += 1;
	__builtin_memcpy(fresh.name, name, NAME);
	row = rows.lookup_or_try_init(&key, &fresh);
	if (!row)
		return;
	__sync_fetch_and_add(&row->count, 1);
	__sync_fetch_and_add(&row->total_ns, ns);
	if (ns > row->max_ns)
		row->max_ns = ns;
}
