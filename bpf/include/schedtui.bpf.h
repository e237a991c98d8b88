/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The one header that a schedtui policy includes.
 *
 * What a policy is
 * ----------------
 * Since Linux 6.12 a program loaded at run time may decide which task runs where, and for how long. The
 * kernel's interface for this is called sched_ext; the program is written in a restricted C, compiled to BPF
 * bytecode, and checked by the kernel's verifier before it runs: it cannot crash the kernel, loop for ever or
 * read memory that is not its own. What the verifier cannot check is whether the program treats every task well.
 * For that there is a watchdog: a task that could run but was not let run for `timeout_ms` ends the policy, and
 * the kernel takes its own scheduler back. Nothing is lost but the policy.
 *
 * A policy is a table of callbacks, `struct sched_ext_ops`, that the kernel calls at the turning points of a
 * task's life. All of them are optional. In the order in which a task meets them:
 *
 *   init_task    the task exists (it was forked, or the policy was just loaded): set its bookkeeping up
 *   enable       from now on the policy schedules it
 *   runnable     it wants to run: it was woken up, or is new
 *   select_cpu   choose a CPU for a task that wakes up; an idle one can be given to it on the spot
 *   enqueue      the task must wait: put it into a queue
 *   dispatch     a CPU has nothing to do: move a task from a queue to it
 *   running      the task starts to run
 *   stopping     it stops: its slice is over, something took the CPU, or it goes to sleep
 *   quiescent    it sleeps, and does not want to run any more
 *   exit_task    the task ends, or the policy does
 *
 * Queues
 * ------
 * A queue is a DSQ, a dispatch queue. Each CPU has a local one, SCX_DSQ_LOCAL: a CPU runs what is in it, first
 * come first served, and calls dispatch() when it is empty. A policy makes queues of its own in init() with
 * scx_bpf_create_dsq(). A task goes into one in enqueue(), either at its end (scx_bpf_dsq_insert) or sorted by a
 * number that the policy chooses, smallest first (scx_bpf_dsq_insert_vtime). In dispatch(),
 * scx_bpf_dsq_move_to_local() moves the first task that may run on this CPU to its local queue. A task put into a
 * local queue overtakes everything in the shared ones, so only tasks that run briefly belong there: if the local
 * queue of a CPU never empties, whatever waits elsewhere starves.
 *
 * Slices
 * ------
 * Each insertion says how long the task may run, in nanoseconds. The kernel looks at the clock ticks (every 1, 4 or
 * 10 ms, as the kernel was built), so a short slice is rounded up to a tick when nothing else intervenes. A CPU
 * that should look for something better at once is told with scx_bpf_kick_cpu(cpu, SCX_KICK_PREEMPT); one that
 * sleeps, with SCX_KICK_IDLE.
 *
 * Virtual time
 * ------------
 * To share a CPU fairly, count for each task how long it has run, and always run the one that has run least. That
 * count is its vtime. A task of weight 200 deserves twice the time of one of weight 100, so its count goes half as
 * fast: vtime += used * 100 / weight. The weight comes from `nice`: 100 is normal, 1 the lowest, and 8676 the highest.
 * (Weights of control groups reach a policy through cgroup_set_weight(), if it cares for them.)
 *
 * A task that slept for an hour has a very small count, and would own the machine until it caught up. So each count is
 * compared with a clock that goes as fast as a task of weight 100 would be served if the machine were perfectly
 * fair: `struct vclock` below. How far a task is ahead of that clock, or behind, becomes the time of its turn, on the
 * wall clock: a task that is 3 ms ahead, on a machine that serves everyone at a third of full speed, has its turn in 9 ms.
 * Both directions have a limit: sleep cannot be saved up, and no debt delays a turn for long. Sort the queue by
 * these times, and nobody starves: a time on the wall clock is reached, whatever the others do in the meantime.
 *
 * Tunables, statistics, exit
 * --------------------------
 * A tunable is a `const volatile` global: schedtui sets it before the policy is loaded, and the verifier then
 * knows its value. One that may change while the policy runs is marked `LIVE` instead of `const`: read it each time
 * that it matters. A statistic is a global u64 that is not static: schedtui reads it while the policy runs; count()
 * below adds to it. Why a policy ended is in the kernel's log; UEI_RECORD keeps its kind and exit code.
 *
 * Kernels
 * -------
 * Structures are described with the few fields that policies use, and CO-RE finds each where the running kernel
 * keeps it. Kernel functions ("kfuncs") that were renamed or changed are declared once for each form, and the form that
 * the running kernel has is picked when the policy is loaded; the other branches are dropped by the verifier.
 * Tested on 6.16, 6.18 and 7.3. The forms for 6.12 to 6.15 follow the kernel's history, but are untested.
 *
 * Written to be included from one .bpf.c file, compiled with clang 16 or newer:
 *   clang -g -O2 -target bpf -mcpu=v3 -D__TARGET_ARCH_x86 -I bpf/include -c policy.bpf.c
 */
#ifndef SCHEDTUI_BPF_TYPES
#define SCHEDTUI_BPF_TYPES

/* ---- numbers ------------------------------------------------------------------------------------------ */

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef signed char s8;
typedef short s16;
typedef int s32;
typedef long long s64;
typedef u8 __u8;
typedef u16 __u16;
typedef u32 __u32;
typedef u64 __u64;
typedef s8 __s8;
typedef s16 __s16;
typedef s32 __s32;
typedef s64 __s64;
typedef u16 __be16;
typedef u32 __be32;
typedef u64 __be64;
typedef u32 __wsum;
typedef _Bool bool;
typedef int pid_t;
typedef unsigned long size_t;

enum {
	false = 0,
	true = 1,
};

#ifndef NULL
#define NULL ((void *)0)
#endif

#define NSEC_PER_USEC 1000ULL
#define NSEC_PER_MSEC 1000000ULL
#define NSEC_PER_SEC 1000000000ULL

#define EPERM 1
#define ENOENT 2
#define ESRCH 3
#define E2BIG 7
#define ENOMEM 12
#define EBUSY 16
#define EEXIST 17
#define ENODEV 19
#define EINVAL 22
#define ENOSPC 28
#define EOPNOTSUPP 95

/* ---- BPF itself --------------------------------------------------------------------------------------- */

enum bpf_map_type {
	BPF_MAP_TYPE_HASH = 1,
	BPF_MAP_TYPE_ARRAY = 2,
	BPF_MAP_TYPE_PERCPU_HASH = 5,
	BPF_MAP_TYPE_PERCPU_ARRAY = 6,
	BPF_MAP_TYPE_LRU_HASH = 9,
	BPF_MAP_TYPE_QUEUE = 22,
	BPF_MAP_TYPE_STACK = 23,
	BPF_MAP_TYPE_TASK_STORAGE = 29,
	BPF_MAP_TYPE_CGRP_STORAGE = 32,
};

enum {
	BPF_ANY = 0,
	BPF_NOEXIST = 1,
	BPF_EXIST = 2,
};

enum {
	BPF_F_NO_PREALLOC = 1U << 0,
	BPF_F_MMAPABLE = 1U << 10,
};

enum {
	BPF_LOCAL_STORAGE_GET_F_CREATE = 1,
};

#define CLOCK_MONOTONIC 1

struct bpf_iter_num {
	u64 __opaque[1];
} __attribute__((aligned(8)));

struct bpf_iter_scx_dsq {
	u64 __opaque[6];
} __attribute__((aligned(8)));

struct bpf_spin_lock {
	u32 val;
};

struct bpf_timer {
	u64 __opaque[2];
} __attribute__((aligned(8)));

/* ---- why a policy ended, and why it lost a CPU --------------------------------------------------------- */

enum scx_exit_kind {
	SCX_EXIT_NONE = 0,
	SCX_EXIT_DONE = 1,
	SCX_EXIT_UNREG = 64,
	SCX_EXIT_UNREG_BPF = 65,
	SCX_EXIT_UNREG_KERN = 66,
	SCX_EXIT_SYSRQ = 67,
	SCX_EXIT_ERROR = 1024,
	SCX_EXIT_ERROR_BPF = 1025,
	SCX_EXIT_ERROR_STALL = 1026,
};

enum scx_cpu_preempt_reason {
	SCX_CPU_PREEMPT_RT = 0,
	SCX_CPU_PREEMPT_DL = 1,
	SCX_CPU_PREEMPT_STOP = 2,
	SCX_CPU_PREEMPT_UNKNOWN = 3,
};

/* ---- the kernel's structures, as far as policies look into them --------------------------------------- */

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct cpumask {
	unsigned long bits[1];
};

struct bpf_cpumask {
	struct cpumask cpumask;
};

struct kernfs_node {
	u64 id;
};

struct cgroup {
	struct kernfs_node *kn;
	int level;
};

struct load_weight {
	unsigned long weight;
};

struct sched_entity {
	struct load_weight load;
	u64 exec_start;
	u64 sum_exec_runtime; /* ns that the task has run since it was forked */
	u64 prev_sum_exec_runtime;
	u64 vruntime;
};

struct sched_info {
	unsigned long pcount;
	unsigned long long run_delay; /* ns that the task has waited in run queues */
};

struct sched_ext_entity {
	u32 flags; /* SCX_TASK_* */
	u32 weight;
	s32 sticky_cpu;
	s32 holding_cpu;
	s32 selected_cpu;
	u64 slice; /* ns that remain of its slice */
	u64 dsq_vtime;
	bool disallow;
};

struct task_struct {
	unsigned int __state;
	unsigned int flags; /* PF_* */
	int on_cpu;
	int on_rq;
	int wake_cpu;
	int recent_used_cpu;
	unsigned int wakee_flips;
	struct task_struct *last_wakee;
	int prio;
	int static_prio; /* 120 + nice */
	int normal_prio;
	unsigned int rt_priority;
	unsigned int policy;
	int nr_cpus_allowed;
	const struct cpumask *cpus_ptr; /* the CPUs it may run on */
	unsigned short migration_disabled;
	struct sched_entity se;
	struct sched_ext_entity scx;
	struct sched_info sched_info;
	struct mm_struct *mm; /* NULL: a kernel thread */
	int exit_state;
	pid_t pid;  /* one a thread */
	pid_t tgid; /* one a process */
	struct task_struct *real_parent;
	struct task_struct *parent;
	struct task_struct *group_leader;
	u64 utime;
	u64 stime;
	unsigned long nvcsw;
	unsigned long nivcsw;
	u64 start_time;
	u64 start_boottime;
	char comm[16]; /* its name, cut to 15 bytes */
};

struct rq {
	struct task_struct *curr;
	u64 clock;
	unsigned int nr_running;
	int cpu;
};

struct scx_exit_info {
	enum scx_exit_kind kind;
	s64 exit_code;
	const char *reason;
	char *msg;
	char *dump;
};

struct scx_init_task_args {
	bool fork; /* the task is being forked; otherwise the policy is being loaded */
	struct cgroup *cgroup;
};

struct scx_exit_task_args {
	bool cancelled; /* the fork failed: the task never ran */
};

struct scx_dump_ctx {
	enum scx_exit_kind kind;
	s64 exit_code;
	const char *reason;
	u64 at_ns;
	u64 at_jiffies;
};

struct scx_cpu_acquire_args {
};

struct scx_cpu_release_args {
	enum scx_cpu_preempt_reason reason;
	struct task_struct *task;
};

struct scx_cgroup_init_args {
	u32 weight;
};

#pragma clang attribute pop

/*
 * The table of callbacks. libbpf matches its members with the running kernel's by name, and leaves out those that
 * the kernel does not know as long as they are zero.
 */
struct sched_ext_ops {
	s32 (*select_cpu)(struct task_struct *p, s32 prev_cpu, u64 wake_flags);
	void (*enqueue)(struct task_struct *p, u64 enq_flags);
	void (*dequeue)(struct task_struct *p, u64 deq_flags);
	void (*dispatch)(s32 cpu, struct task_struct *prev);
	void (*tick)(struct task_struct *p);
	void (*runnable)(struct task_struct *p, u64 enq_flags);
	void (*running)(struct task_struct *p);
	void (*stopping)(struct task_struct *p, bool runnable);
	void (*quiescent)(struct task_struct *p, u64 deq_flags);
	bool (*yield)(struct task_struct *from, struct task_struct *to);
	bool (*core_sched_before)(struct task_struct *a, struct task_struct *b);
	void (*set_weight)(struct task_struct *p, u32 weight);
	void (*set_cpumask)(struct task_struct *p, const struct cpumask *cpumask);
	void (*update_idle)(s32 cpu, bool idle);
	void (*cpu_acquire)(s32 cpu, struct scx_cpu_acquire_args *args);
	void (*cpu_release)(s32 cpu, struct scx_cpu_release_args *args);
	s32 (*init_task)(struct task_struct *p, struct scx_init_task_args *args);
	void (*exit_task)(struct task_struct *p, struct scx_exit_task_args *args);
	void (*enable)(struct task_struct *p);
	void (*disable)(struct task_struct *p);
	void (*dump)(struct scx_dump_ctx *ctx);
	void (*dump_cpu)(struct scx_dump_ctx *ctx, s32 cpu, bool idle);
	void (*dump_task)(struct scx_dump_ctx *ctx, struct task_struct *p);
	s32 (*cgroup_init)(struct cgroup *cgrp, struct scx_cgroup_init_args *args);
	void (*cgroup_exit)(struct cgroup *cgrp);
	s32 (*cgroup_prep_move)(struct task_struct *p, struct cgroup *from, struct cgroup *to);
	void (*cgroup_move)(struct task_struct *p, struct cgroup *from, struct cgroup *to);
	void (*cgroup_cancel_move)(struct task_struct *p, struct cgroup *from, struct cgroup *to);
	void (*cgroup_set_weight)(struct cgroup *cgrp, u32 weight);
	void (*cpu_online)(s32 cpu);
	void (*cpu_offline)(s32 cpu);
	s32 (*init)(void);
	void (*exit)(struct scx_exit_info *info);
	u32 dispatch_max_batch;
	u64 flags; /* SCX_OPS_* */
	u32 timeout_ms;
	u32 exit_dump_len;
	u64 hotplug_seq;
	char name[128]; /* letters, digits, '_' and '.' */
};

/* ---- constants ---------------------------------------------------------------------------------------- */

enum scx_public_consts {
	SCX_OPS_NAME_LEN = 128,
	SCX_SLICE_DFL = 20000000,
	SCX_SLICE_INF = 0xffffffffffffffffULL,
};

enum scx_consts {
	SCX_CPUPERF_ONE = 1024, /* the highest performance of a CPU */
};

enum scx_dsq_id_flags {
	SCX_DSQ_FLAG_BUILTIN = 1ULL << 63,
	SCX_DSQ_FLAG_LOCAL_ON = 1ULL << 62,
	SCX_DSQ_INVALID = SCX_DSQ_FLAG_BUILTIN | 0,
	SCX_DSQ_GLOBAL = SCX_DSQ_FLAG_BUILTIN | 1,
	SCX_DSQ_LOCAL = SCX_DSQ_FLAG_BUILTIN | 2,
	SCX_DSQ_LOCAL_ON = SCX_DSQ_FLAG_BUILTIN | SCX_DSQ_FLAG_LOCAL_ON, /* | cpu */
	SCX_DSQ_LOCAL_CPU_MASK = 0xffffffffULL,
};

enum scx_enq_flags {
	SCX_ENQ_WAKEUP = 1ULL << 0,
	SCX_ENQ_HEAD = 1ULL << 4,
	SCX_ENQ_CPU_SELECTED = 1ULL << 10,
	SCX_ENQ_PREEMPT = 1ULL << 32,
	SCX_ENQ_REENQ = 1ULL << 40,
	SCX_ENQ_LAST = 1ULL << 41,
};

enum scx_deq_flags {
	SCX_DEQ_SLEEP = 1ULL << 0,
	SCX_DEQ_CORE_SCHED_EXEC = 1ULL << 32,
};

enum scx_wake_flags {
	SCX_WAKE_FORK = 1 << 2,
	SCX_WAKE_TTWU = 1 << 3,
	SCX_WAKE_SYNC = 1 << 4,
};

enum scx_pick_idle_cpu_flags {
	SCX_PICK_IDLE_CORE = 1 << 0,
	SCX_PICK_IDLE_IN_NODE = 1 << 1,
};

enum scx_kick_flags {
	SCX_KICK_IDLE = 1 << 0,
	SCX_KICK_PREEMPT = 1 << 1,
	SCX_KICK_WAIT = 1 << 2,
};

enum scx_ops_flags {
	SCX_OPS_KEEP_BUILTIN_IDLE = 1 << 0,
	SCX_OPS_ENQ_LAST = 1 << 1,
	SCX_OPS_ENQ_EXITING = 1 << 2,
	SCX_OPS_SWITCH_PARTIAL = 1 << 3,
	SCX_OPS_ENQ_MIGRATION_DISABLED = 1 << 4,
	SCX_OPS_ALLOW_QUEUED_WAKEUP = 1 << 5,
	SCX_OPS_BUILTIN_IDLE_PER_NODE = 1 << 6,
};

enum scx_ent_flags {
	SCX_TASK_QUEUED = 1 << 0, /* it wants to run */
};

enum scx_exit_code {
	SCX_ECODE_RSN_HOTPLUG = 1ULL << 32,
	SCX_ECODE_ACT_RESTART = 1ULL << 48,
};

#define PF_IDLE 0x00000002
#define PF_EXITING 0x00000004
#define PF_IO_WORKER 0x00000010
#define PF_WQ_WORKER 0x00000020
#define PF_KCOMPACTD 0x00010000
#define PF_KSWAPD 0x00020000
#define PF_KTHREAD 0x00200000

#define MAX_RT_PRIO 100
#define DEFAULT_PRIO 120
#define SCHED_NORMAL 0
#define SCHED_BATCH 3
#define SCHED_IDLE 5
#define SCHED_EXT 7
#define NUMA_NO_NODE (-1)

#endif /* SCHEDTUI_BPF_TYPES */

/* "vmlinux.h" stops here: a program that includes it may declare kfuncs of its own. */
#if !defined(SCHEDTUI_TYPES_ONLY) && !defined(SCHEDTUI_BPF_H)
#define SCHEDTUI_BPF_H

#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>
#include <bpf/bpf_core_read.h>

/* Two of these flags moved in 7.x: ask the running kernel for the value; 0 where it has no such flag. */
#define __scx_enq_flag(flag)                                               \
	(bpf_core_enum_value_exists(enum scx_enq_flags, flag) ?            \
		 (u64)bpf_core_enum_value(enum scx_enq_flags, flag) : 0ULL)

/* Whether select_cpu() was asked before this enqueue(); before 6.13 it always was. */
static __always_inline bool __COMPAT_is_enq_cpu_selected(u64 enq_flags)
{
	return !bpf_core_enum_value_exists(enum scx_enq_flags, SCX_ENQ_CPU_SELECTED) ||
	       (enq_flags & __scx_enq_flag(SCX_ENQ_CPU_SELECTED));
}

#define SCX_ENQ_HEAD __scx_enq_flag(SCX_ENQ_HEAD)
#define SCX_ENQ_CPU_SELECTED __scx_enq_flag(SCX_ENQ_CPU_SELECTED)

#define __COMPAT_ENUM_OR_ZERO(type, name) (bpf_core_enum_value_exists(type, name) ? bpf_core_enum_value(type, name) : 0)

/* ---- kfuncs that are the same everywhere -------------------------------------------------------------- */

/* Queues */
s32 scx_bpf_create_dsq(u64 dsq_id, s32 node) __ksym;
void scx_bpf_destroy_dsq(u64 dsq_id) __ksym;
s32 scx_bpf_dsq_nr_queued(u64 dsq_id) __ksym;
u32 scx_bpf_dispatch_nr_slots(void) __ksym;
void scx_bpf_dispatch_cancel(void) __ksym;

/* bpf_for_each(scx_dsq, p, dsq_id, 0) walks the tasks in a queue */
int bpf_iter_scx_dsq_new(struct bpf_iter_scx_dsq *it, u64 dsq_id, u64 flags) __ksym __weak;
struct task_struct *bpf_iter_scx_dsq_next(struct bpf_iter_scx_dsq *it) __ksym __weak;
void bpf_iter_scx_dsq_destroy(struct bpf_iter_scx_dsq *it) __ksym __weak;
#define BPF_FOR_EACH_ITER (&___it)

/* CPUs */
s32 scx_bpf_select_cpu_dfl(struct task_struct *p, s32 prev_cpu, u64 wake_flags, bool *is_idle) __ksym;
void scx_bpf_kick_cpu(s32 cpu, u64 flags) __ksym;
bool scx_bpf_test_and_clear_cpu_idle(s32 cpu) __ksym;
s32 scx_bpf_pick_idle_cpu(const struct cpumask *cpus_allowed, u64 flags) __ksym;
s32 scx_bpf_pick_any_cpu(const struct cpumask *cpus_allowed, u64 flags) __ksym;
s32 scx_bpf_pick_idle_cpu_node(const struct cpumask *cpus_allowed, int node, u64 flags) __ksym __weak;
s32 scx_bpf_pick_any_cpu_node(const struct cpumask *cpus_allowed, int node, u64 flags) __ksym __weak;
const struct cpumask *scx_bpf_get_idle_cpumask(void) __ksym;
const struct cpumask *scx_bpf_get_idle_smtmask(void) __ksym;
const struct cpumask *scx_bpf_get_idle_cpumask_node(int node) __ksym __weak;
const struct cpumask *scx_bpf_get_idle_smtmask_node(int node) __ksym __weak;
void scx_bpf_put_idle_cpumask(const struct cpumask *cpumask) __ksym;
const struct cpumask *scx_bpf_get_possible_cpumask(void) __ksym __weak;
const struct cpumask *scx_bpf_get_online_cpumask(void) __ksym __weak;
void scx_bpf_put_cpumask(const struct cpumask *cpumask) __ksym __weak;
u32 scx_bpf_nr_cpu_ids(void) __ksym __weak;
u32 scx_bpf_nr_node_ids(void) __ksym __weak;
int scx_bpf_cpu_node(s32 cpu) __ksym __weak;
u32 scx_bpf_cpuperf_cap(s32 cpu) __ksym __weak; /* of SCX_CPUPERF_ONE */
u32 scx_bpf_cpuperf_cur(s32 cpu) __ksym __weak;
void scx_bpf_cpuperf_set(s32 cpu, u32 perf) __ksym __weak;
struct rq *scx_bpf_cpu_rq(s32 cpu) __ksym __weak; /* gone in 7.3 */

/* Tasks */
bool scx_bpf_task_running(const struct task_struct *p) __ksym;
s32 scx_bpf_task_cpu(const struct task_struct *p) __ksym;
struct cgroup *scx_bpf_task_cgroup(struct task_struct *p) __ksym __weak; /* give back: bpf_cgroup_release */
struct task_struct *bpf_task_from_pid(s32 pid) __ksym __weak; /* give back: bpf_task_release */
struct task_struct *bpf_task_acquire(struct task_struct *p) __ksym __weak;
void bpf_task_release(struct task_struct *p) __ksym __weak;
struct cgroup *bpf_cgroup_from_id(u64 id) __ksym __weak;
struct cgroup *bpf_cgroup_ancestor(struct cgroup *cgrp, int level) __ksym __weak;
void bpf_cgroup_release(struct cgroup *cgrp) __ksym __weak;
long bpf_task_under_cgroup(struct task_struct *task, struct cgroup *ancestor) __ksym __weak;
void bpf_rcu_read_lock(void) __ksym __weak;
void bpf_rcu_read_unlock(void) __ksym __weak;

/* Sets of CPUs; a bpf_cpumask passes as a cpumask after cast_mask() */
struct bpf_cpumask *bpf_cpumask_create(void) __ksym __weak;
struct bpf_cpumask *bpf_cpumask_acquire(struct bpf_cpumask *cpumask) __ksym __weak;
void bpf_cpumask_release(struct bpf_cpumask *cpumask) __ksym __weak;
void bpf_cpumask_set_cpu(u32 cpu, struct bpf_cpumask *cpumask) __ksym __weak;
void bpf_cpumask_clear_cpu(u32 cpu, struct bpf_cpumask *cpumask) __ksym __weak;
bool bpf_cpumask_test_and_set_cpu(u32 cpu, struct bpf_cpumask *cpumask) __ksym __weak;
bool bpf_cpumask_test_and_clear_cpu(u32 cpu, struct bpf_cpumask *cpumask) __ksym __weak;
void bpf_cpumask_setall(struct bpf_cpumask *cpumask) __ksym __weak;
void bpf_cpumask_clear(struct bpf_cpumask *cpumask) __ksym __weak;
bool bpf_cpumask_and(struct bpf_cpumask *dst, const struct cpumask *a, const struct cpumask *b) __ksym __weak;
void bpf_cpumask_or(struct bpf_cpumask *dst, const struct cpumask *a, const struct cpumask *b) __ksym __weak;
void bpf_cpumask_xor(struct bpf_cpumask *dst, const struct cpumask *a, const struct cpumask *b) __ksym __weak;
void bpf_cpumask_copy(struct bpf_cpumask *dst, const struct cpumask *src) __ksym __weak;
bool bpf_cpumask_test_cpu(u32 cpu, const struct cpumask *cpumask) __ksym __weak;
u32 bpf_cpumask_first(const struct cpumask *cpumask) __ksym __weak;
u32 bpf_cpumask_first_zero(const struct cpumask *cpumask) __ksym __weak;
u32 bpf_cpumask_first_and(const struct cpumask *a, const struct cpumask *b) __ksym __weak;
bool bpf_cpumask_equal(const struct cpumask *a, const struct cpumask *b) __ksym __weak;
bool bpf_cpumask_intersects(const struct cpumask *a, const struct cpumask *b) __ksym __weak;
bool bpf_cpumask_subset(const struct cpumask *a, const struct cpumask *b) __ksym __weak;
bool bpf_cpumask_empty(const struct cpumask *cpumask) __ksym __weak;
bool bpf_cpumask_full(const struct cpumask *cpumask) __ksym __weak;
u32 bpf_cpumask_any_distribute(const struct cpumask *cpumask) __ksym __weak;
u32 bpf_cpumask_any_and_distribute(const struct cpumask *a, const struct cpumask *b) __ksym __weak;
u32 bpf_cpumask_weight(const struct cpumask *cpumask) __ksym __weak;

static __always_inline const struct cpumask *cast_mask(struct bpf_cpumask *mask)
{
	return (const struct cpumask *)mask;
}

/* Ending, and saying why */
void scx_bpf_error_bstr(char *fmt, unsigned long long *data, u32 data__sz) __ksym;
void scx_bpf_exit_bstr(s64 exit_code, char *fmt, unsigned long long *data, u32 data__sz) __ksym __weak;
void scx_bpf_dump_bstr(char *fmt, unsigned long long *data, u32 data__sz) __ksym __weak;

#define __scx_formatted(fmt, args...)                                       \
	static char ___fmt[] = fmt;                                         \
	unsigned long long ___args[___bpf_narg(args) ?: 1] = {};            \
	_Pragma("GCC diagnostic push")                                      \
	_Pragma("GCC diagnostic ignored \"-Wint-conversion\"")              \
	___bpf_fill(___args, args);                                         \
	_Pragma("GCC diagnostic pop")

/* End the policy for a fault of its own: scx_bpf_error("cpu %d has no state", cpu) */
#define scx_bpf_error(fmt, args...)                                         \
({                                                                          \
	__scx_formatted(fmt, ##args)                                        \
	scx_bpf_error_bstr(___fmt, ___args, sizeof(___args));               \
})

/* End the policy in good order, with a code for whoever loaded it */
#define scx_bpf_exit(code, fmt, args...)                                    \
({                                                                          \
	__scx_formatted(fmt, ##args)                                        \
	scx_bpf_exit_bstr(code, ___fmt, ___args, sizeof(___args));          \
})

/* Add to the kernel's dump of a policy that failed; for ops.dump(), dump_cpu() and dump_task() */
#define scx_bpf_dump(fmt, args...)                                          \
({                                                                          \
	__scx_formatted(fmt, ##args)                                        \
	scx_bpf_dump_bstr(___fmt, ___args, sizeof(___args));                \
})

/* ---- kfuncs that changed ------------------------------------------------------------------------------ */
/* libbpf ignores what follows the last "___" of a name, so each form of a kfunc can have a declaration of its own. */

/* 6.12: dispatch; 6.13: dsq_insert; 6.19: the same, returning whether it was inserted */
bool scx_bpf_dsq_insert___v2___form(struct task_struct *p, u64 dsq_id, u64 slice, u64 enq_flags) __ksym __weak;
void scx_bpf_dsq_insert___form(struct task_struct *p, u64 dsq_id, u64 slice, u64 enq_flags) __ksym __weak;
void scx_bpf_dispatch___form(struct task_struct *p, u64 dsq_id, u64 slice, u64 enq_flags) __ksym __weak;

/* Put a task at the end of a queue, to run for `slice` ns. For select_cpu() and enqueue(), and dispatch(). */
static __always_inline bool scx_bpf_dsq_insert(struct task_struct *p, u64 dsq_id, u64 slice, u64 enq_flags)
{
	if (bpf_ksym_exists(scx_bpf_dsq_insert___v2___form))
		return scx_bpf_dsq_insert___v2___form(p, dsq_id, slice, enq_flags);
	if (bpf_ksym_exists(scx_bpf_dsq_insert___form))
		scx_bpf_dsq_insert___form(p, dsq_id, slice, enq_flags);
	else
		scx_bpf_dispatch___form(p, dsq_id, slice, enq_flags);
	return true;
}

/* 6.12: dispatch_vtime; 6.13: dsq_insert_vtime; 6.19: arguments in a struct */
struct scx_bpf_dsq_insert_vtime_args {
	u64 dsq_id;
	u64 slice;
	u64 vtime;
	u64 enq_flags;
};
bool __scx_bpf_dsq_insert_vtime(struct task_struct *p, struct scx_bpf_dsq_insert_vtime_args *args) __ksym __weak;
void scx_bpf_dsq_insert_vtime___form(struct task_struct *p, u64 dsq_id, u64 slice, u64 vtime,
				     u64 enq_flags) __ksym __weak;
void scx_bpf_dispatch_vtime___form(struct task_struct *p, u64 dsq_id, u64 slice, u64 vtime,
				   u64 enq_flags) __ksym __weak;

/* Put a task into a queue sorted by `vtime`, to run for `slice` ns. Not for the built-in queues. */
static __always_inline bool scx_bpf_dsq_insert_vtime(struct task_struct *p, u64 dsq_id, u64 slice, u64 vtime,
						     u64 enq_flags)
{
	if (bpf_core_type_exists(struct scx_bpf_dsq_insert_vtime_args)) {
		struct scx_bpf_dsq_insert_vtime_args args = {
			.dsq_id = dsq_id,
			.slice = slice,
			.vtime = vtime,
			.enq_flags = enq_flags,
		};

		return __scx_bpf_dsq_insert_vtime(p, &args);
	}
	if (bpf_ksym_exists(scx_bpf_dsq_insert_vtime___form))
		scx_bpf_dsq_insert_vtime___form(p, dsq_id, slice, vtime, enq_flags);
	else
		scx_bpf_dispatch_vtime___form(p, dsq_id, slice, vtime, enq_flags);
	return true;
}

/* 6.12: consume; 6.13: dsq_move_to_local; 7.1: with flags */
bool scx_bpf_dsq_move_to_local___v2___form(u64 dsq_id, u64 enq_flags) __ksym __weak;
bool scx_bpf_dsq_move_to_local___form(u64 dsq_id) __ksym __weak;
bool scx_bpf_consume___form(u64 dsq_id) __ksym __weak;

static __always_inline bool __scx_move_to_local(u64 dsq_id, u64 enq_flags)
{
	if (enq_flags && bpf_ksym_exists(scx_bpf_dsq_move_to_local___v2___form))
		return scx_bpf_dsq_move_to_local___v2___form(dsq_id, enq_flags);
	if (bpf_ksym_exists(scx_bpf_dsq_move_to_local___form))
		return scx_bpf_dsq_move_to_local___form(dsq_id);
	return scx_bpf_consume___form(dsq_id);
}

/* Move the first task that may run on this CPU to its local queue; false if there is none. For dispatch().
 * Newer sources pass enqueue flags as a second argument; kernels before 7.1 have no use for them. */
#define __scx_move_to_local_1(dsq_id) __scx_move_to_local(dsq_id, 0)
#define __scx_move_to_local_2(dsq_id, enq_flags) __scx_move_to_local(dsq_id, enq_flags)
#define __scx_second_of(a, b, c, ...) c
#define scx_bpf_dsq_move_to_local(args...) \
	__scx_second_of(args, __scx_move_to_local_2, __scx_move_to_local_1)(args)

/* 6.12: dispatch_from_dsq; 6.13: dsq_move. For use inside bpf_for_each(scx_dsq, ...). */
bool scx_bpf_dsq_move___form(struct bpf_iter_scx_dsq *it__iter, struct task_struct *p, u64 dsq_id,
			     u64 enq_flags) __ksym __weak;
bool scx_bpf_dsq_move_vtime___form(struct bpf_iter_scx_dsq *it__iter, struct task_struct *p, u64 dsq_id,
				   u64 enq_flags) __ksym __weak;
void scx_bpf_dsq_move_set_slice___form(struct bpf_iter_scx_dsq *it__iter, u64 slice) __ksym __weak;
void scx_bpf_dsq_move_set_vtime___form(struct bpf_iter_scx_dsq *it__iter, u64 vtime) __ksym __weak;
bool scx_bpf_dispatch_from_dsq___form(struct bpf_iter_scx_dsq *it__iter, struct task_struct *p, u64 dsq_id,
				      u64 enq_flags) __ksym __weak;
bool scx_bpf_dispatch_vtime_from_dsq___form(struct bpf_iter_scx_dsq *it__iter, struct task_struct *p, u64 dsq_id,
					    u64 enq_flags) __ksym __weak;
void scx_bpf_dispatch_from_dsq_set_slice___form(struct bpf_iter_scx_dsq *it__iter, u64 slice) __ksym __weak;
void scx_bpf_dispatch_from_dsq_set_vtime___form(struct bpf_iter_scx_dsq *it__iter, u64 vtime) __ksym __weak;

#define scx_bpf_dsq_move(it, p, dsq_id, enq_flags)                             \
	(bpf_ksym_exists(scx_bpf_dsq_move___form) ?                            \
		 scx_bpf_dsq_move___form(it, p, dsq_id, enq_flags) :           \
		 scx_bpf_dispatch_from_dsq___form(it, p, dsq_id, enq_flags))
#define scx_bpf_dsq_move_vtime(it, p, dsq_id, enq_flags)                       \
	(bpf_ksym_exists(scx_bpf_dsq_move_vtime___form) ?                      \
		 scx_bpf_dsq_move_vtime___form(it, p, dsq_id, enq_flags) :     \
		 scx_bpf_dispatch_vtime_from_dsq___form(it, p, dsq_id, enq_flags))
#define scx_bpf_dsq_move_set_slice(it, slice)                                  \
	(bpf_ksym_exists(scx_bpf_dsq_move_set_slice___form) ?                  \
		 scx_bpf_dsq_move_set_slice___form(it, slice) :                \
		 scx_bpf_dispatch_from_dsq_set_slice___form(it, slice))
#define scx_bpf_dsq_move_set_vtime(it, vtime)                                  \
	(bpf_ksym_exists(scx_bpf_dsq_move_set_vtime___form) ?                  \
		 scx_bpf_dsq_move_set_vtime___form(it, vtime) :                \
		 scx_bpf_dispatch_from_dsq_set_vtime___form(it, vtime))

/* 6.16: select_cpu_and; 6.19: arguments in a struct */
struct scx_bpf_select_cpu_and_args {
	s32 prev_cpu;
	u64 wake_flags;
	u64 flags;
};
s32 __scx_bpf_select_cpu_and(struct task_struct *p, const struct cpumask *cpus_allowed,
			     struct scx_bpf_select_cpu_and_args *args) __ksym __weak;
s32 scx_bpf_select_cpu_and___form(struct task_struct *p, s32 prev_cpu, u64 wake_flags,
				  const struct cpumask *cpus_allowed, u64 flags) __ksym __weak;

/* An idle CPU for a task, out of `cpus_allowed`; negative if there is none (always, before 6.16). */
static __always_inline s32 scx_bpf_select_cpu_and(struct task_struct *p, s32 prev_cpu, u64 wake_flags,
						  const struct cpumask *cpus_allowed, u64 flags)
{
	if (bpf_core_type_exists(struct scx_bpf_select_cpu_and_args)) {
		struct scx_bpf_select_cpu_and_args args = {
			.prev_cpu = prev_cpu,
			.wake_flags = wake_flags,
			.flags = flags,
		};

		return __scx_bpf_select_cpu_and(p, cpus_allowed, &args);
	}
	if (bpf_ksym_exists(scx_bpf_select_cpu_and___form))
		return scx_bpf_select_cpu_and___form(p, prev_cpu, wake_flags, cpus_allowed, flags);
	return -EOPNOTSUPP;
}

/* 6.19: writing p->scx.slice and p->scx.dsq_vtime became a call */
bool scx_bpf_task_set_slice___form(struct task_struct *p, u64 slice) __ksym __weak;
bool scx_bpf_task_set_dsq_vtime___form(struct task_struct *p, u64 vtime) __ksym __weak;

static __always_inline void scx_bpf_task_set_slice(struct task_struct *p, u64 slice)
{
	if (bpf_ksym_exists(scx_bpf_task_set_slice___form))
		scx_bpf_task_set_slice___form(p, slice);
	else
		p->scx.slice = slice;
}

static __always_inline void scx_bpf_task_set_dsq_vtime(struct task_struct *p, u64 vtime)
{
	if (bpf_ksym_exists(scx_bpf_task_set_dsq_vtime___form))
		scx_bpf_task_set_dsq_vtime___form(p, vtime);
	else
		p->scx.dsq_vtime = vtime;
}

/* 6.14: the clock of the run queue, cheaper than bpf_ktime_get_ns(). ns; two CPUs may differ a little. */
u64 scx_bpf_now___form(void) __ksym __weak;

static __always_inline u64 scx_bpf_now(void)
{
	return bpf_ksym_exists(scx_bpf_now___form) ? scx_bpf_now___form() : bpf_ktime_get_ns();
}

/* 6.18: what runs on a CPU; before, read from its run queue. Hold bpf_rcu_read_lock() while using it. */
struct task_struct *scx_bpf_cpu_curr___form(s32 cpu) __ksym __weak;

static __always_inline struct task_struct *scx_bpf_cpu_curr(s32 cpu)
{
	struct rq *rq;

	if (bpf_ksym_exists(scx_bpf_cpu_curr___form))
		return scx_bpf_cpu_curr___form(cpu);
	rq = scx_bpf_cpu_rq(cpu);
	return rq ? rq->curr : NULL;
}

/* 6.19: from everywhere; before, from cpu_release() only */
void scx_bpf_reenqueue_local___v2___form(void) __ksym __weak;
u32 scx_bpf_reenqueue_local___form(void) __ksym __weak;

/* Send what waits in this CPU's local queue through enqueue() again. */
static __always_inline void scx_bpf_reenqueue_local(void)
{
	if (bpf_ksym_exists(scx_bpf_reenqueue_local___v2___form))
		scx_bpf_reenqueue_local___v2___form();
	else
		scx_bpf_reenqueue_local___form();
}

/* The names of 6.12 and of the compatibility headers that other sources were written for */
#define scx_bpf_dispatch(p, dsq_id, slice, enq_flags) scx_bpf_dsq_insert(p, dsq_id, slice, enq_flags)
#define scx_bpf_dispatch_vtime(p, dsq_id, slice, vtime, enq_flags) \
	scx_bpf_dsq_insert_vtime(p, dsq_id, slice, vtime, enq_flags)
#define scx_bpf_consume(dsq_id) __scx_move_to_local(dsq_id, 0)
#define scx_bpf_dispatch_from_dsq(it, p, dsq_id, enq_flags) scx_bpf_dsq_move(it, p, dsq_id, enq_flags)
#define scx_bpf_dispatch_vtime_from_dsq(it, p, dsq_id, enq_flags) scx_bpf_dsq_move_vtime(it, p, dsq_id, enq_flags)
#define scx_bpf_dispatch_from_dsq_set_slice(it, slice) scx_bpf_dsq_move_set_slice(it, slice)
#define scx_bpf_dispatch_from_dsq_set_vtime(it, vtime) scx_bpf_dsq_move_set_vtime(it, vtime)
#define __COMPAT_scx_bpf_dsq_insert(p, dsq_id, slice, enq_flags) scx_bpf_dsq_insert(p, dsq_id, slice, enq_flags)
#define __COMPAT_scx_bpf_dsq_insert_vtime(p, dsq_id, slice, vtime, enq_flags) \
	scx_bpf_dsq_insert_vtime(p, dsq_id, slice, vtime, enq_flags)
#define __COMPAT_scx_bpf_dsq_move_to_local(dsq_id) __scx_move_to_local(dsq_id, 0)
#define __COMPAT_scx_bpf_dsq_move(it, p, dsq_id, enq_flags) scx_bpf_dsq_move(it, p, dsq_id, enq_flags)
#define __COMPAT_scx_bpf_dsq_move_vtime(it, p, dsq_id, enq_flags) scx_bpf_dsq_move_vtime(it, p, dsq_id, enq_flags)
#define __COMPAT_scx_bpf_dispatch_from_dsq(it, p, dsq_id, enq_flags) scx_bpf_dsq_move(it, p, dsq_id, enq_flags)
#define __COMPAT_scx_bpf_dispatch_vtime_from_dsq(it, p, dsq_id, enq_flags) \
	scx_bpf_dsq_move_vtime(it, p, dsq_id, enq_flags)
#define __COMPAT_scx_bpf_cpu_curr(cpu) scx_bpf_cpu_curr(cpu)
#define __COMPAT_scx_bpf_nr_node_ids() (bpf_ksym_exists(scx_bpf_nr_node_ids) ? scx_bpf_nr_node_ids() : 1U)
#define __COMPAT_scx_bpf_cpu_node(cpu) (bpf_ksym_exists(scx_bpf_cpu_node) ? scx_bpf_cpu_node(cpu) : 0)
#define __COMPAT_scx_bpf_get_idle_cpumask_node(node)                                                  \
	(bpf_ksym_exists(scx_bpf_get_idle_cpumask_node) ? scx_bpf_get_idle_cpumask_node(node) :       \
							  scx_bpf_get_idle_cpumask())
#define __COMPAT_scx_bpf_get_idle_smtmask_node(node)                                                  \
	(bpf_ksym_exists(scx_bpf_get_idle_smtmask_node) ? scx_bpf_get_idle_smtmask_node(node) :       \
							  scx_bpf_get_idle_smtmask())
#define __COMPAT_scx_bpf_pick_idle_cpu_node(mask, node, flags)                                        \
	(bpf_ksym_exists(scx_bpf_pick_idle_cpu_node) ? scx_bpf_pick_idle_cpu_node(mask, node, flags) : \
						       scx_bpf_pick_idle_cpu(mask, flags))
#define __COMPAT_scx_bpf_pick_any_cpu_node(mask, node, flags)                                         \
	(bpf_ksym_exists(scx_bpf_pick_any_cpu_node) ? scx_bpf_pick_any_cpu_node(mask, node, flags) :   \
						      scx_bpf_pick_any_cpu(mask, flags))

/* ---- declaring a policy ------------------------------------------------------------------------------- */

#define BPF_STRUCT_OPS(name, args...) \
	SEC("struct_ops/" #name)      \
	BPF_PROG(name, ##args)

/* For init(), exit(), init_task() and others that may sleep, and allocate */
#define BPF_STRUCT_OPS_SLEEPABLE(name, args...) \
	SEC("struct_ops.s/" #name)              \
	BPF_PROG(name, ##args)

#define SCX_OPS_DEFINE(name, fields...) \
	SEC(".struct_ops.link")         \
	struct sched_ext_ops name = { fields }

/* Locks and what they protect go into a section of their own */
#define private(name) SEC(".data." #name) __hidden __attribute__((aligned(8)))
#ifndef __kptr
#define __kptr __attribute__((btf_type_tag("kptr")))
#endif

/* The kernel logs the reason and the message, and sends the dump through a tracepoint: those are not copied here. */
struct user_exit_info {
	int kind;
	s64 exit_code;
};
#define UEI_DEFINE(name) struct user_exit_info name SEC(".data")
#define UEI_RECORD(name, info)                          \
	({                                              \
		(name).exit_code = (info)->exit_code;   \
		__sync_lock_test_and_set(&(name).kind, (info)->kind); \
	})
#define UEI_SET_SIZE(skeleton, ops_name, uei_name)

#define ARRAY_SIZE(array) (sizeof(array) / sizeof((array)[0]))
#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)
#define READ_ONCE(x) (*(volatile typeof(x) *)&(x))
#define WRITE_ONCE(x, value) (*(volatile typeof(x) *)&(x) = (value))
#ifndef min
#define min(a, b) ((a) < (b) ? (a) : (b))
#endif
#ifndef max
#define max(a, b) ((a) > (b) ? (a) : (b))
#endif

/* ---- primitives --------------------------------------------------------------------------------------- */

/* Statistics: count(nr_preempted) adds one, whichever CPU does it. */
#define count(statistic) ((void)__sync_fetch_and_add(&(statistic), 1))
#define count_by(statistic, amount) ((void)__sync_fetch_and_add(&(statistic), (amount)))

/*
 * A tunable that a person may change while the policy runs:  volatile u64 focus_pid LIVE = 0;
 * Text may be seen half changed for a moment.
 */
#define LIVE SEC(".data.live")

/* Whether a comes before b, for clocks that may wrap around. */
static __always_inline bool time_before(u64 a, u64 b)
{
	return (s64)(a - b) < 0;
}
#define time_after(a, b) time_before(b, a)
#define vtime_before(a, b) time_before(a, b)

/* `value`, moved into [low, high] on the same wrapping clock. */
static __always_inline u64 time_clamp(u64 value, u64 low, u64 high)
{
	if (time_before(value, low))
		return low;
	return time_before(high, value) ? high : value;
}

static __always_inline u64 clamp_u64(u64 value, u64 low, u64 high)
{
	return value < low ? low : value > high ? high : value;
}

/* How far `used_ns` of CPU time take a task's vtime. */
static __always_inline u64 weighted(const struct task_struct *p, u64 used_ns)
{
	u32 weight = p->scx.weight;

	return used_ns * 100 / (weight ?: 1);
}

/*
 * State for each task, that the kernel frees with the task:
 *
 *   TASK_STATE(tasks, struct my_state);
 *   new_task_state(&tasks, p)   in init_task(): made and zeroed, NULL when there is no memory
 *   task_state(&tasks, p)       anywhere else: NULL for a task without one
 */
#define TASK_STATE(name, state_type)                    \
	struct {                                        \
		__uint(type, BPF_MAP_TYPE_TASK_STORAGE); \
		__uint(map_flags, BPF_F_NO_PREALLOC);   \
		__type(key, int);                       \
		__type(value, state_type);              \
	} name SEC(".maps")
#define new_task_state(map, p) bpf_task_storage_get(map, p, NULL, BPF_LOCAL_STORAGE_GET_F_CREATE)
#define task_state(map, p) bpf_task_storage_get(map, p, NULL, 0)

/* A thread of the kernel that serves one CPU: it does brief work that others wait for, and runs nowhere else. */
static __always_inline bool is_percpu_kthread(const struct task_struct *p)
{
	return (p->flags & PF_KTHREAD) && p->nr_cpus_allowed == 1;
}

/* Whether a task is in the control group of this number (the inode of its folder), or in one below it. */
static __always_inline bool is_under_cgroup(struct task_struct *p, u64 id)
{
	struct cgroup *group = id ? bpf_cgroup_from_id(id) : NULL;
	bool is_under;

	if (!group)
		return false;
	is_under = bpf_task_under_cgroup(p, group);
	bpf_cgroup_release(group);
	return is_under;
}

/* Tell an idle CPU that may run the task to look at the queues; false if there is none. */
static __always_inline bool kick_idle_cpu(const struct task_struct *p)
{
	s32 cpu = scx_bpf_pick_idle_cpu(p->cpus_ptr, 0);

	if (cpu < 0)
		return false;
	scx_bpf_kick_cpu(cpu, SCX_KICK_IDLE);
	return true;
}

/*
 * For cpu_offline(): what waits in a shared queue on account of this CPU goes to its local queue, from where the kernel
 * sends it elsewhere. A CPU that goes asks dispatch() for nothing more, so a task that may run nowhere else would hold up
 * its end, until the watchdog comes.
 */
static __always_inline void empty_for_offline(u64 dsq_id, s32 cpu)
{
	struct task_struct *p;

	bpf_for_each(scx_dsq, p, dsq_id, 0) {
		if (scx_bpf_task_cpu(p) == cpu)
			scx_bpf_dsq_move(BPF_FOR_EACH_ITER, p, SCX_DSQ_LOCAL_ON | cpu, 0);
	}
}

/* The vtime of the first task in a sorted queue; false if the queue is empty. */
static __always_inline bool first_vtime(u64 dsq_id, u64 *vtime)
{
	struct task_struct *p;
	bool found = false;

	bpf_for_each(scx_dsq, p, dsq_id, 0) {
		*vtime = p->scx.dsq_vtime;
		found = true;
		break;
	}
	return found;
}

/* Whether the task that just used its slice up wants to go on. `prev` is what dispatch() was given. */
static __always_inline bool wants_to_go_on(const struct task_struct *prev)
{
	return prev && (prev->scx.flags & SCX_TASK_QUEUED);
}

/* CPUs that run tasks now. In cpu_offline() the one that goes still counts: see nr_cpus_without(). */
static __always_inline u32 nr_online_cpus(void)
{
	const struct cpumask *online = scx_bpf_get_online_cpumask();
	u32 nr = bpf_cpumask_weight(online);

	scx_bpf_put_cpumask(online);
	return nr ?: 1;
}

/* CPUs that run tasks when this one has gone, for cpu_offline(): the kernel calls it first, and takes the CPU out then. */
static __always_inline u32 nr_cpus_without(s32 cpu)
{
	const struct cpumask *online = scx_bpf_get_online_cpumask();
	u32 nr = bpf_cpumask_weight(online) - bpf_cpumask_test_cpu(cpu, online);

	scx_bpf_put_cpumask(online);
	return nr ?: 1;
}

/*
 * The slice of a task when `nr_queued` others wait for `nr_cpus`: all of them have their turn within `round_ns`, but
 * nobody gets less than `min_ns`. The kernel's watchdog knows no excuse for a queue that is merely long.
 */
static __always_inline u64 slice_for_queue(u64 slice_ns, u64 min_ns, u64 round_ns, u64 nr_queued, u64 nr_cpus)
{
	return clamp_u64(round_ns * nr_cpus / (nr_queued + 1), min_ns, slice_ns);
}

/*
 * The clock of virtual time: how far a task of weight 100 would be if the machine were shared perfectly.
 * With as many such tasks as CPUs it goes like the wall clock, with twice as many, half as fast. It never stands still,
 * whoever runs. Each task joins when it wants to run and leaves when it sleeps.
 */
struct vclock {
	u64 now;        /* virtual ns */
	u64 updated_at; /* ns */
	u64 weight;     /* of all tasks that want to run */
	u64 nr_cpus;
};

/* What a task adds to a clock; a part of its task state. */
struct vclock_share {
	u32 weight; /* 0: not in */
};

/* The virtual time now. Two CPUs that meet here cannot both add the same stretch: one of them takes it. */
static __always_inline u64 vclock_now(struct vclock *clock)
{
	u64 now = scx_bpf_now(), then = clock->updated_at;
	u64 capacity = max(clock->nr_cpus * 100, 1);

	if (time_before(then, now) && __sync_val_compare_and_swap(&clock->updated_at, then, now) == then)
		__sync_fetch_and_add(&clock->now, (now - then) * capacity / max(clock->weight, capacity));
	return clock->now;
}

/*
 * When the turn of a task comes that wants to run now: ns on the wall clock, to sort a queue by. It lies at most
 * `credit_ns` in the past and `max_wait_ns` in the future, and `vtime` is moved to where that limit is.
 *
 * The time is fixed at the pace of this moment. If it were left on the virtual clock, a crowd or a task of high
 * weight that comes later could slow the clock down so much that the turn never comes.
 */
static __always_inline u64 vclock_turn(struct vclock *clock, u64 *vtime, u64 credit_ns, u64 max_wait_ns)
{
	u64 capacity = max(clock->nr_cpus * 100, 1), load = max(clock->weight, capacity);
	u64 now = vclock_now(clock);
	u64 earliest = now - credit_ns * capacity / load;

	*vtime = time_clamp(*vtime, earliest, now + max_wait_ns * capacity / load);
	return scx_bpf_now() - credit_ns + (*vtime - earliest) * load / capacity;
}

static __always_inline void vclock_start(struct vclock *clock)
{
	clock->nr_cpus = nr_online_cpus();
	clock->updated_at = scx_bpf_now();
}

static __always_inline void vclock_join(struct vclock *clock, struct vclock_share *share, u32 weight)
{
	vclock_now(clock);
	__sync_fetch_and_add(&clock->weight, (u64)weight - share->weight);
	share->weight = weight;
}

static __always_inline void vclock_leave(struct vclock *clock, struct vclock_share *share)
{
	vclock_join(clock, share, 0);
}

static __always_inline void vclock_reweigh(struct vclock *clock, struct vclock_share *share, u32 weight)
{
	if (share->weight)
		vclock_join(clock, share, weight);
}

#endif /* SCHEDTUI_BPF_H */
