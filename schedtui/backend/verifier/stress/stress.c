/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The stress suite: small tests of a scheduler, first under the kernel's own, then under a sched_ext policy.
 *
 *   stress suite BASELINE POLICY SECONDS   where each is a list such as crowd:1000,pinned:600 (test:milliseconds), and
 *                                  a CPU may take so long to go and to come back
 *   stress ready SECONDS           returns when a suite has its baseline and waits for a policy
 *
 * The suite prints one JSON object for each test. It is started before the policy is loaded and runs in the real-time
 * class, so that a policy which starves every task does not starve whoever measures. Its tasks are ordinary ones; they
 * write what they do into shared memory, and are given their CPUs and nice levels from outside, because one that is
 * starved can do neither itself. Nothing is waited for without a limit: a task that a policy lost cannot even be
 * killed before the policy is gone. When the kernel throws the policy out, the suite ends.
 *
 * It measures and judges nothing; kernel.py does.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <linux/membarrier.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define STATE "/sys/kernel/sched_ext/state"
#define READY "/tmp/schedtui-stress-ready"
#define CONSOLE "/dev/console"
#define MOST_TASKS 64
#define POLICY_EXT 7 /* SCHED_EXT */
#define MOST_SAMPLES 4096
#define MOST_CPUS 16 /* more would be a load of its own */
#define NS_PER_MS 1000000ULL
#define NS_PER_US 1000ULL
#define LIMIT_TO_ENABLE_MS 120000
#define LOOK_MS 10
#define BURST_MS 50
#define WINDOW_MS 100
#define LONGEST_WAIT_MS 3000
#define PROGRAMS 250 /* of a storm: enough to fill what is never emptied, on a slow computer too */

struct task {
	char kind[16];
	pid_t pid;
	int nice;
	int cpu; /* -1: any */
	volatile uint64_t work;
	volatile uint64_t seen_at; /* ns, when it last did something */
	volatile uint64_t longest_ns; /* between two such moments, or of one job */
	volatile uint64_t misplaced; /* times that it ran where it may not */
	volatile uint32_t nr_samples;
	uint32_t late_us[MOST_SAMPLES];
};

static struct task *tasks; /* shared with every child */
static int nr_tasks, nr_cpus, last_cpu;
static cpu_set_t all_cpus;
static uint32_t *gate; /* shared; 0 until a test begins */
static uint64_t began_at;
static double best_per_s; /* rounds of all tasks in the best burst: what the computer could do when nobody disturbed it */
static double best_used; /* of the time of all CPUs, in the window in which the tasks used most of it */
static bool under_policy, fork_failed;
static char *own_path;

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000ULL + t.tv_nsec;
}

static void sleep_until(uint64_t due)
{
	struct timespec t = { due / 1000000000ULL, due % 1000000000ULL };

	while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL) == EINTR)
		;
}

static void sleep_ms(uint64_t ms)
{
	sleep_until(now_ns() + ms * NS_PER_MS);
}

static uint64_t cpu_ns(clockid_t clock)
{
	struct timespec t = { 0 };

	clock_gettime(clock, &t);
	return t.tv_sec * 1000000000ULL + t.tv_nsec;
}

/* Use so much CPU time: the same work on a fast machine and on a slow one. */
static void burn(uint64_t ns)
{
	uint64_t end = cpu_ns(CLOCK_THREAD_CPUTIME_ID) + ns;
	volatile uint64_t x = 1;

	while (cpu_ns(CLOCK_THREAD_CPUTIME_ID) < end)
		for (int i = 0; i < 200; i++)
			x = x * 6364136223846793005ULL + 1;
}

static void done_something(struct task *me)
{
	uint64_t now = now_ns(), gap = now - me->seen_at;

	if (gap > me->longest_ns)
		me->longest_ns = gap;
	me->seen_at = now;
	me->work++;
}

/* ---- what the tasks do; each until it is killed ---------------------------------------------------------- */

static void hog(struct task *me)
{
	volatile uint64_t x = 1;

	for (;;) {
		for (int i = 0; i < 2000; i++)
			x = x * 6364136223846793005ULL + 1;
		done_something(me);
	}
}

static void sleeper(struct task *me)
{
	static const int periods_ms[] = { 3, 5, 7, 11 };
	uint64_t period = periods_ms[(me - tasks) % 4] * NS_PER_MS, due = now_ns() + period;

	for (;; due += period) {
		uint64_t late;

		sleep_until(due);
		late = now_ns() - due;
		me->late_us[me->nr_samples++ % MOST_SAMPLES] = late / NS_PER_US;
		done_something(me);
		if (late > period)
			due += late;
	}
}

/* A grace period of RCU needs several threads of the kernel to run, on every CPU. */
static void kernel_threads(struct task *me)
{
	for (;;) {
		syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0);
		done_something(me);
		sleep_ms(10);
	}
}

/* A real-time task of bounded duty: 2 ms of each 20. */
static void neighbour(struct task *me)
{
	uint64_t due = now_ns();

	for (;; due += 20 * NS_PER_MS) {
		sleep_until(due);
		burn(2 * NS_PER_MS);
		done_something(me);
	}
}

/* Changes its own CPU, and looks where it runs then. */
static void mover(struct task *me)
{
	for (int cpu = 0;; cpu = cpu >= last_cpu ? 0 : cpu + 1) {
		cpu_set_t one;

		CPU_ZERO(&one);
		CPU_SET(cpu, &one);
		if (!sched_setaffinity(0, sizeof(one), &one) && sched_getcpu() != cpu)
			me->misplaced++;
		burn(NS_PER_MS / 2);
		done_something(me);
		sleep_ms(2);
	}
}

static void run_job(bool by_exec)
{
	if (by_exec)
		execl(own_path, "job", NULL);
	burn(NS_PER_MS / 5);
	_exit(0);
}

/* Short processes, one after the other, each eighth of them a program of its own. */
static void builder(struct task *me)
{
	for (int n = 0;; n++) {
		uint64_t began = now_ns(), took;
		pid_t child = fork();

		if (!child)
			run_job(n % 8 == 7);
		if (child < 0) {
			me->misplaced++;
			sleep_ms(5);
			continue;
		}
		waitpid(child, NULL, 0);
		me->seen_at = now_ns();
		took = me->seen_at - began;
		if (took > me->longest_ns)
			me->longest_ns = took;
		me->work++;
	}
}

static void ping_pong(struct task *me)
{
	int there[2], back[2];
	char ball = 0;

	if (pipe(there) || pipe(back))
		_exit(1);
	if (!fork()) {
		while (read(there[0], &ball, 1) == 1 && write(back[1], &ball, 1) == 1)
			;
		_exit(0);
	}
	while (write(there[1], &ball, 1) == 1 && read(back[0], &ball, 1) == 1)
		done_something(me);
}

struct relay {
	struct task *me;
	int number, nr;
	uint32_t turn;
};

static struct relay relay;

static void *relay_thread(void *number)
{
	uint32_t mine = (uintptr_t)number;

	for (;;) {
		uint32_t turn;

		while ((turn = __atomic_load_n(&relay.turn, __ATOMIC_ACQUIRE)) % relay.nr != mine)
			syscall(SYS_futex, &relay.turn, FUTEX_WAIT_PRIVATE, turn, NULL);
		done_something(relay.me);
		__atomic_store_n(&relay.turn, turn + 1, __ATOMIC_RELEASE);
		syscall(SYS_futex, &relay.turn, FUTEX_WAKE_PRIVATE, relay.nr);
	}
	return NULL;
}

/* Threads that hand a turn on, as those of a program do with a lock. */
static void handoffs(struct task *me)
{
	pthread_t thread;

	relay = (struct relay){ .me = me, .nr = 3 };
	for (uintptr_t n = 1; n < 3; n++)
		if (pthread_create(&thread, NULL, relay_thread, (void *)n))
			_exit(1);
	relay_thread((void *)0);
}

/* ---- starting and ending them ---------------------------------------------------------------------------- */

static void pin(pid_t pid, int cpu)
{
	cpu_set_t one;

	CPU_ZERO(&one);
	CPU_SET(cpu, &one);
	sched_setaffinity(pid, sizeof(one), &one);
}

static struct task *start(const char *kind, void (*work)(struct task *), int nice, int cpu)
{
	struct task *task = &tasks[nr_tasks];
	pid_t pid;

	if (nr_tasks == MOST_TASKS)
		return NULL;
	memset(task, 0, sizeof(*task));
	snprintf(task->kind, sizeof(task->kind), "%s", kind);
	task->nice = nice;
	task->cpu = cpu;
	pid = fork();
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		prctl(PR_SET_NAME, kind);
		while (!__atomic_load_n(gate, __ATOMIC_ACQUIRE))
			syscall(SYS_futex, gate, FUTEX_WAIT, 0, NULL);
		work(task);
		_exit(0);
	}
	if (pid < 0) {
		fork_failed = true;
		return NULL;
	}
	task->pid = pid;
	setpgid(pid, pid);
	if (cpu >= 0)
		pin(pid, cpu);
	else
		sched_setaffinity(pid, sizeof(all_cpus), &all_cpus);
	if (nice)
		setpriority(PRIO_PROCESS, pid, nice);
	nr_tasks++;
	return task;
}

static void prepare(void)
{
	nr_tasks = 0;
	best_per_s = best_used = 0;
	fork_failed = false;
	*gate = 0;
}

static void begin(void)
{
	began_at = now_ns();
	for (int n = 0; n < nr_tasks; n++)
		tasks[n].seen_at = began_at;
	__atomic_store_n(gate, 1, __ATOMIC_RELEASE);
	syscall(SYS_futex, gate, FUTEX_WAKE, MOST_TASKS);
}

static bool read_word(const char *path, char *word, size_t bytes)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t got = fd < 0 ? -1 : read(fd, word, bytes - 1);

	if (fd >= 0)
		close(fd);
	word[got > 0 ? got : 0] = 0;
	word[strcspn(word, "\n")] = 0;
	return got > 0;
}

static bool is_enabled(void)
{
	char word[32];

	return read_word(STATE, word, sizeof(word)) && !strcmp(word, "enabled");
}

static uint64_t all_work(void)
{
	uint64_t total = 0;

	for (int n = 0; n < nr_tasks; n++)
		total += tasks[n].work;
	return total;
}

static uint64_t all_used_ns(void)
{
	uint64_t total = 0;
	clockid_t clock;

	for (int n = 0; n < nr_tasks; n++)
		if (!clock_getcpuclockid(tasks[n].pid, &clock))
			total += cpu_ns(clock);
	return total;
}

/* False when the policy is gone before the time is over. */
static bool let_run(uint64_t ms)
{
	uint64_t now = now_ns(), end = now + ms * NS_PER_MS, burst_at = now, work = all_work();
	uint64_t window_at = now, used = all_used_ns();

	while (now < end) {
		sleep_ms(LOOK_MS);
		now = now_ns();
		if (now - burst_at >= BURST_MS * NS_PER_MS) {
			uint64_t before = work;
			double per_s;

			work = all_work();
			per_s = (work - before) * 1e9 / (now - burst_at);
			if (per_s > best_per_s)
				best_per_s = per_s;
			burst_at = now;
		}
		if (now - window_at >= WINDOW_MS * NS_PER_MS) {
			uint64_t before = used;
			double share;

			used = all_used_ns();
			share = ((double)used - before) / ((now - window_at) * nr_cpus);
			if (share > best_used)
				best_used = share;
			window_at = now;
		}
		if (under_policy && !is_enabled())
			return false;
	}
	return true;
}

static bool all_did_something(void)
{
	for (int n = 0; n < nr_tasks; n++)
		if (!tasks[n].work)
			return false;
	return true;
}

/* A short test goes on until every task had its turn, or waited longer than any may. */
static bool let_all_run(uint64_t ms)
{
	uint64_t limit = now_ns() + LONGEST_WAIT_MS * NS_PER_MS;
	bool lasts = let_run(ms);

	while (lasts && !all_did_something() && now_ns() < limit)
		lasts = let_run(LOOK_MS);
	return lasts;
}

/* How many could not be ended, with what they started: those that wait in a queue which nobody empties. */
static int reap(uint64_t limit_ms)
{
	uint64_t end = now_ns() + limit_ms * NS_PER_MS;

	for (int n = 0; n < nr_tasks; n++)
		kill(-tasks[n].pid, SIGKILL);
	for (;;) {
		int left = 0;

		for (int n = 0; n < nr_tasks; n++) {
			pid_t ended;

			do
				ended = waitpid(-tasks[n].pid, NULL, WNOHANG);
			while (ended > 0);
			left += !ended;
		}
		if (!left || now_ns() > end || (under_policy && !is_enabled()))
			return left;
		sleep_ms(1);
	}
}

/* ---- telling --------------------------------------------------------------------------------------------- */

static int compare(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

static void print_wakeups(void)
{
	static uint32_t all[MOST_TASKS * MOST_SAMPLES];
	size_t nr = 0;

	for (int n = 0; n < nr_tasks; n++) {
		uint32_t kept = tasks[n].nr_samples < MOST_SAMPLES ? tasks[n].nr_samples : MOST_SAMPLES;

		memcpy(all + nr, tasks[n].late_us, kept * sizeof(*all));
		nr += kept;
	}
	if (!nr)
		return;
	qsort(all, nr, sizeof(*all), compare);
	printf(", \"wakeups\": %zu, \"wakeup_p50_us\": %u, \"wakeup_p99_us\": %u, \"wakeup_max_us\": %u", nr,
	       all[(nr - 1) / 2], all[(nr * 99 - 1) / 100], all[nr - 1]);
}

static void print_task(const struct task *task, uint64_t used_ns, uint64_t longest_ns, const char *before)
{
	printf("%s{\"kind\": \"%s\", \"nice\": %d, \"cpu\": %d, \"work\": %llu, \"cpu_ms\": %.1f, "
	       "\"longest_wait_ms\": %.1f, \"misplaced\": %llu}",
	       before, task->kind, task->nice, task->cpu, (unsigned long long)task->work, used_ns / 1e6,
	       longest_ns / 1e6, (unsigned long long)task->misplaced);
}

/* Ends the tasks, and prints what they did. False when the policy is gone, or left tasks in the way of further tests. */
static bool finish(const char *test, bool lasted, const char *hotplug)
{
	uint64_t now = now_ns(), used[MOST_TASKS] = { 0 }, longest[MOST_TASKS];
	clockid_t clock;
	int stuck;

	for (int n = 0; n < nr_tasks; n++) {
		uint64_t seen_at = tasks[n].seen_at, gap = seen_at < now ? now - seen_at : 0;

		longest[n] = gap > tasks[n].longest_ns ? gap : tasks[n].longest_ns;
		if (!clock_getcpuclockid(tasks[n].pid, &clock))
			used[n] = cpu_ns(clock);
	}
	stuck = reap(strcmp(hotplug, "hangs") ? LONGEST_WAIT_MS : 0);
	lasted = lasted && (!under_policy || is_enabled());
	printf("{\"test\": \"%s\", \"policy\": %s, \"seconds\": %.3f, \"cpus\": %d, \"lasted\": %s, \"stuck\": %d, "
	       "\"fork_failed\": %s, \"hotplug\": \"%s\", \"best_per_s\": %.1f, \"best_used\": %.3f",
	       test, under_policy ? "true" : "false", (now - began_at) / 1e9, nr_cpus, lasted ? "true" : "false", stuck,
	       fork_failed ? "true" : "false", hotplug, best_per_s, best_used);
	print_wakeups();
	printf(", \"tasks\": [");
	for (int n = 0; n < nr_tasks; n++)
		print_task(&tasks[n], used[n], longest[n], n ? ", " : "");
	printf("]}\n");
	fflush(stdout);
	return lasted && !stuck;
}

/* ---- the tests ------------------------------------------------------------------------------------------- */

static bool simple(const char *test, uint64_t ms)
{
	begin();
	return finish(test, let_all_run(ms), "");
}

/* More to do than CPUs: hogs, one of them of the lowest weight, sleepers, kernel threads, a real-time neighbour. */
static bool crowd(uint64_t ms)
{
	struct sched_param one = { .sched_priority = 1 };
	struct task *it;

	prepare();
	for (int n = 0; n <= nr_cpus; n++)
		start("hog", hog, 0, -1);
	start("low-weight", hog, 19, -1);
	for (int n = 0; n < 4; n++)
		start("sleeper", sleeper, 0, -1);
	start("kernel-threads", kernel_threads, 0, -1);
	it = start("real-time", neighbour, 0, 0);
	if (it)
		sched_setscheduler(it->pid, SCHED_FIFO, &one);
	return simple("crowd", ms);
}

/* Tasks of four weights on the first CPU, one on each other, one that moves itself and one that is moved. */
static bool pinned(uint64_t ms)
{
	static const int levels[] = { 0, 0, 5, 10 };
	struct task *moved;
	uint64_t end;
	bool lasted = true;

	prepare();
	for (int n = 0; n < 4; n++)
		start("pinned", hog, levels[n], 0);
	for (int cpu = 1; cpu <= last_cpu; cpu++)
		start("pinned", hog, 0, cpu);
	start("mover", mover, 0, -1);
	moved = start("moved", hog, 0, last_cpu);
	begin();
	end = now_ns() + ms * NS_PER_MS;
	for (int cpu = 0; lasted && now_ns() < end; cpu = cpu >= last_cpu ? 0 : cpu + 1) {
		lasted = let_run(25);
		if (moved && last_cpu)
			pin(moved->pid, 1 + cpu % last_cpu);
	}
	lasted = lasted && let_all_run(0);
	return finish("pinned", lasted, "");
}

/* CPUs are idle while some programs sleep and wake up beside one that computes. */
static bool room(uint64_t ms)
{
	if (!last_cpu)
		return true;
	prepare();
	start("hog", hog, 0, -1);
	for (int n = 0; n < 4; n++)
		start("sleeper", sleeper, 0, -1);
	return simple("room", ms);
}

/* As many hogs as CPUs: none may stay idle. */
static bool hog_for_each_cpu(const char *test, uint64_t ms)
{
	prepare();
	for (int n = 0; n < nr_cpus; n++)
		start("hog", hog, 0, -1);
	return simple(test, ms);
}

static bool even(uint64_t ms)
{
	return hog_for_each_cpu("even", ms);
}

/* After hotplug: a CPU that came back must be used like the others. */
static bool again(uint64_t ms)
{
	return hog_for_each_cpu("again", ms);
}

/* On one CPU, so that only the switch is measured, and not how long an idle CPU takes to wake up. */
static bool switches(uint64_t ms)
{
	prepare();
	start("ping-pong", ping_pong, 0, 0);
	return simple("switches", ms);
}

static bool locks(uint64_t ms)
{
	prepare();
	start("handoffs", handoffs, 0, 0);
	return simple("locks", ms);
}

static bool storm(uint64_t ms)
{
	uint64_t limit;
	bool lasts;

	prepare();
	for (int n = 0; n < 2 * nr_cpus; n++)
		start("builder", builder, 0, -1);
	begin();
	limit = now_ns() + LONGEST_WAIT_MS * NS_PER_MS;
	lasts = let_all_run(ms);
	while (lasts && under_policy && all_work() < PROGRAMS && now_ns() < limit)
		lasts = let_run(LOOK_MS);
	return finish("storm", lasts, "");
}

static void set_online(int cpu, const char *value)
{
	char path[64];
	int fd;

	snprintf(path, sizeof(path), "/sys/devices/system/cpu/cpu%d/online", cpu);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0 || write(fd, value, 1) != 1)
		_exit(1);
	close(fd);
}

/*
 * The last CPU goes and comes back, under load, and with a task that may run nowhere else (the kernel lets it run
 * elsewhere then). Another process does it, because it may never return.
 */
static uint64_t hotplug_limit_ms;

static bool hotplug(uint64_t ms)
{
	struct sched_param one = { .sched_priority = 1 };
	uint64_t limit;
	int status = 0;
	pid_t worker, ended = 0;
	bool lasted;

	if (!last_cpu)
		return true;
	prepare();
	for (int n = 0; n < nr_cpus; n++)
		start("hog", hog, 0, -1);
	start("pinned", hog, 0, last_cpu);
	begin();
	worker = fork();
	if (!worker) {
		sched_setscheduler(0, SCHED_FIFO, &one);
		set_online(last_cpu, "0");
		sleep_ms(50);
		set_online(last_cpu, "1");
		_exit(0);
	}
	limit = now_ns() + hotplug_limit_ms * NS_PER_MS;
	while (worker > 0 && !ended && now_ns() < limit) {
		sleep_ms(2);
		ended = waitpid(worker, &status, WNOHANG);
	}
	for (int n = 0; n < nr_tasks; n++) {
		tasks[n].work = tasks[n].longest_ns = 0;
		tasks[n].seen_at = now_ns();
	}
	lasted = let_all_run(ms);
	return finish("hotplug", lasted, worker < 0 || (ended > 0 && status) ? "refused" : ended > 0 ? "done" : "hangs");
}

static const struct {
	const char *name;
	bool (*run)(uint64_t ms);
} TESTS[] = {
	{ "crowd", crowd }, { "pinned", pinned }, { "room", room },   { "even", even }, { "switches", switches },
	{ "locks", locks }, { "storm", storm },	  { "hotplug", hotplug },
	{ "again", again },
};

/* The guest's console keeps the name of the test that a kernel did not survive. */
static void say_on_console(const char *test)
{
	FILE *console = fopen(CONSOLE, "w");

	if (console) {
		fprintf(console, "SCHEDTUI STRESS %s\n", test);
		fclose(console);
	}
}

/* False when the policy is gone, or a test does not exist. */
static bool run_tests(const char *list)
{
	char copy[256], *rest = copy, *each;
	bool goes_on = true;

	snprintf(copy, sizeof(copy), "%s", list);
	while (goes_on && (each = strsep(&rest, ","))) {
		char *ms = strchr(each, ':');
		bool known = false;

		if (ms)
			*ms++ = 0;
		for (size_t n = 0; ms && n < sizeof(TESTS) / sizeof(*TESTS); n++)
			if (!strcmp(TESTS[n].name, each)) {
				known = true;
				if (under_policy)
					say_on_console(each);
				goes_on = TESTS[n].run(strtoull(ms, NULL, 10));
			}
		if (!known) {
			fprintf(stderr, "no such test: %s\n", each);
			exit(2);
		}
	}
	return goes_on;
}

/* Tasks that ask for sched_ext by name and are there when the policy comes: those are what it can refuse. */
static void start_volunteers(void)
{
	struct sched_param none = { .sched_priority = 0 };

	for (int n = 0; n < 4; n++) {
		pid_t pid = fork();

		if (!pid) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			for (;;)
				pause();
		}
		if (pid > 0)
			sched_setscheduler(pid, POLICY_EXT, &none);
	}
}

static int suite(const char *baseline, const char *policy)
{
	struct sched_param two = { .sched_priority = 2 };
	uint64_t limit;
	size_t bytes = sizeof(struct task) * MOST_TASKS + sizeof(*gate);

	prctl(PR_SET_CHILD_SUBREAPER, 1);
	if (sched_setscheduler(0, SCHED_FIFO | SCHED_RESET_ON_FORK, &two))
		fprintf(stderr, "not in the real-time class: %s\n", strerror(errno));
	tasks = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	if (tasks == MAP_FAILED)
		return 3;
	gate = (uint32_t *)(tasks + MOST_TASKS);
	mlockall(MCL_CURRENT);
	nr_cpus = sysconf(_SC_NPROCESSORS_ONLN);
	if (nr_cpus > MOST_CPUS)
		nr_cpus = MOST_CPUS;
	last_cpu = nr_cpus - 1;
	sched_getaffinity(0, sizeof(all_cpus), &all_cpus);
	pin(0, 0); /* looking on from another CPU would wake it, and hide that the policy does not */
	if (*baseline)
		run_tests(baseline);
	start_volunteers();
	close(open(READY, O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
	for (limit = now_ns() + LIMIT_TO_ENABLE_MS * NS_PER_MS; !is_enabled(); sleep_ms(5))
		if (now_ns() > limit)
			return 4;
	under_policy = true;
	run_tests(policy);
	return 0;
}

static int wait_until_ready(int seconds)
{
	uint64_t limit = now_ns() + seconds * 1000 * NS_PER_MS;

	for (; access(READY, F_OK); sleep_ms(5))
		if (now_ns() > limit)
			return 1;
	return unlink(READY) ? 1 : 0; /* another suite may follow */
}

int main(int argc, char **argv)
{
	static char path[4096];

	if (argc == 1 && !strcmp(argv[0], "job"))
		run_job(false);
	if (readlink("/proc/self/exe", path, sizeof(path) - 1) > 0)
		own_path = path;
	if (argc == 5 && !strcmp(argv[1], "suite")) {
		hotplug_limit_ms = atoi(argv[4]) * 1000;
		return suite(argv[2], argv[3]);
	}
	if (argc == 3 && !strcmp(argv[1], "ready"))
		return wait_until_ready(atoi(argv[2]));
	fprintf(stderr, "usage: stress suite BASELINE POLICY | stress ready SECONDS\n");
	return 2;
}
