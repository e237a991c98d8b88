/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Loads by which policies are compared with the kernel's own scheduler. Each prints one number.
 *
 *   load walk MS      eight tasks that walk through 1 MiB each: passes of all together
 *   load equal MS     one task more than CPUs, all alike: ms of CPU that the slowest lacks behind the fastest
 *   load chosen MS    two tasks called "chosen" beside four others: ms of CPU that the two got
 *   load frames MS    a task called "front" that works 4 ms of each 16.7 ms, beside two hogs of normal weight and
 *                     four called "behind": 90th percentile of the time from when a frame was due to its end, ms
 *   load answer MS    a task that wakes up every 10 ms for 0.3 ms, beside four hogs: 90th percentile, as above
 *   load wake MS      a task that wakes up every 5 ms, beside four hogs: 99th percentile of its lateness, ms
 *   load messages MS  four pairs of tasks that send each other a byte through pipes: round trips of all together
 *   load short MS     a job of 20 ms each 60 ms, beside four hogs: mean ms from a job's start to its end
 *   load batch        twenty jobs of 60 ms and one of 1.2 s called "longest", all at once: ms until the last ends
 *   load switches MS  eight hogs: switches between tasks on the whole machine in a second
 *
 * Work is measured in CPU time, so that it is the same on a fast machine and on a slow one.
 */
#define _GNU_SOURCE
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define NS_PER_MS 1000000LL
#define FRAME_NS 16666667LL
#define WALKERS 8
#define WALK_BYTES (1 << 20)
#define PAGE_BYTES 4096
#define MOST_SAMPLES 4096
#define MOST_TASKS 64
#define PAIRS 4

static volatile uint64_t *shared; /* a word for each task */
static pid_t tasks[MOST_TASKS];
static int nr_tasks;

static int64_t now_ns(clockid_t clock)
{
	struct timespec now;

	clock_gettime(clock, &now);
	return now.tv_sec * 1000 * NS_PER_MS + now.tv_nsec;
}

static void sleep_until(int64_t due)
{
	struct timespec time = { due / (1000 * NS_PER_MS), due % (1000 * NS_PER_MS) };

	clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &time, NULL);
}

static void burn(int64_t cpu_ns)
{
	int64_t end = now_ns(CLOCK_THREAD_CPUTIME_ID) + cpu_ns;

	while (now_ns(CLOCK_THREAD_CPUTIME_ID) < end)
		for (volatile int n = 0; n < 500; n++)
			;
}

static void hog(int number)
{
	for (;;) {
		burn(NS_PER_MS);
		shared[number] = now_ns(CLOCK_PROCESS_CPUTIME_ID);
	}
}

static void walk(int number)
{
	volatile char *memory = malloc(WALK_BYTES);

	for (;;) {
		for (int round = 0; round < 16; round++)
			for (int at = 0; at < WALK_BYTES; at += PAGE_BYTES)
				memory[at + round * 64] += 1;
		shared[number] += 1;
	}
}

static pid_t start(const char *name, void (*work)(int))
{
	int number = nr_tasks;
	pid_t pid = fork();

	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		prctl(PR_SET_NAME, name);
		work(number);
		_exit(0);
	}
	tasks[nr_tasks++] = pid;
	return pid;
}

static void start_many(int count, const char *name, void (*work)(int))
{
	while (count--)
		start(name, work);
}

static void end_all(void)
{
	for (int n = 0; n < nr_tasks; n++)
		kill(tasks[n], SIGKILL);
	while (wait(NULL) > 0)
		;
}

static int by_size(const void *a, const void *b)
{
	int64_t first = *(const int64_t *)a, second = *(const int64_t *)b;

	return (first > second) - (first < second);
}

/* Wakes up each period, works, and notes how long after the due time it was done: this percentile of it, in ms. */
static double periodic(int64_t period_ns, int64_t work_ns, int64_t length_ns, int percent)
{
	static int64_t samples[MOST_SAMPLES];
	int64_t due = now_ns(CLOCK_MONOTONIC) + period_ns, end = due + length_ns;
	int count = 0;

	while (due < end && count < MOST_SAMPLES) {
		sleep_until(due);
		burn(work_ns);
		samples[count] = now_ns(CLOCK_MONOTONIC) - due;
		due += period_ns * (1 + samples[count++] / period_ns);
	}
	qsort(samples, count, sizeof(*samples), by_size);
	return (double)samples[(count * percent - 1) / 100] / NS_PER_MS;
}

static void settle(void)
{
	sleep_until(now_ns(CLOCK_MONOTONIC) + 300 * NS_PER_MS);
}

/* What the tasks from number `first` on add to their words in this time. */
static double added(int first, int64_t length_ns)
{
	uint64_t sum = 0;

	settle();
	for (int n = first; n < nr_tasks; n++)
		sum -= shared[n];
	sleep_until(now_ns(CLOCK_MONOTONIC) + length_ns);
	for (int n = first; n < nr_tasks; n++)
		sum += shared[n];
	return sum;
}

static double lack_of_slowest(int64_t length_ns)
{
	uint64_t before[MOST_TASKS], least = UINT64_MAX, most = 0;

	start_many((int)sysconf(_SC_NPROCESSORS_ONLN) + 1, "equal", hog);
	settle();
	for (int n = 0; n < nr_tasks; n++)
		before[n] = shared[n];
	sleep_until(now_ns(CLOCK_MONOTONIC) + length_ns);
	for (int n = 0; n < nr_tasks; n++) {
		uint64_t got = shared[n] - before[n];

		least = got < least ? got : least;
		most = got > most ? got : most;
	}
	return (double)(most - least) / NS_PER_MS;
}

static int there[PAIRS][2], back[PAIRS][2];

static void ask(int number)
{
	int pair = number / 2;
	char byte = 0;

	while (write(there[pair][1], &byte, 1) == 1 && read(back[pair][0], &byte, 1) == 1)
		shared[number] += 1;
}

static void answer(int number)
{
	int pair = number / 2;
	char byte;

	while (read(there[pair][0], &byte, 1) == 1 && write(back[pair][1], &byte, 1) == 1)
		;
}

static void short_job(int number)
{
	int64_t began = now_ns(CLOCK_MONOTONIC);

	burn(20 * NS_PER_MS);
	shared[number] = now_ns(CLOCK_MONOTONIC) - began;
}

static double mean_of_short_jobs(int64_t length_ns)
{
	int hogs = 4, count;
	int64_t due;
	double sum = 0;

	start_many(hogs, "long", hog);
	settle();
	due = now_ns(CLOCK_MONOTONIC);
	for (count = 0; count * 60 * NS_PER_MS < length_ns && nr_tasks < MOST_TASKS; count++) {
		start("short", short_job);
		due += 60 * NS_PER_MS;
		sleep_until(due);
	}
	for (int n = hogs; n < nr_tasks; n++) {
		waitpid(tasks[n], NULL, 0);
		sum += (double)shared[n] / NS_PER_MS;
	}
	return sum / count;
}

static void batch_job(int number)
{
	burn((number ? 60 : 1200) * NS_PER_MS);
}

static double length_of_batch(void)
{
	int64_t began = now_ns(CLOCK_MONOTONIC);

	start("longest", batch_job);
	start_many(20, "job", batch_job);
	while (wait(NULL) > 0)
		;
	return (double)(now_ns(CLOCK_MONOTONIC) - began) / NS_PER_MS;
}

static double switches_so_far(void)
{
	unsigned long long count = 0;
	char line[4096];
	FILE *file = fopen("/proc/stat", "r");

	while (file && fgets(line, sizeof(line), file))
		if (sscanf(line, "ctxt %llu", &count) == 1)
			break;
	if (file)
		fclose(file);
	return (double)count;
}

static double switches_per_s(int64_t length_ns)
{
	double before;

	start_many(8, "hog", hog);
	settle();
	before = switches_so_far();
	sleep_until(now_ns(CLOCK_MONOTONIC) + length_ns);
	return (switches_so_far() - before) / ((double)length_ns / (1000 * NS_PER_MS));
}

static double run(const char *load, int64_t length_ns)
{
	if (!strcmp(load, "walk")) {
		start_many(WALKERS, "walker", walk);
		return added(0, length_ns);
	}
	if (!strcmp(load, "equal"))
		return lack_of_slowest(length_ns);
	if (!strcmp(load, "chosen")) {
		start_many(4, "other", hog);
		start_many(2, "chosen", hog);
		return added(4, length_ns) / NS_PER_MS;
	}
	if (!strcmp(load, "frames")) {
		start_many(2, "between", hog);
		start_many(4, "behind", hog);
		prctl(PR_SET_NAME, "front");
		settle();
		return periodic(FRAME_NS, 4 * NS_PER_MS, length_ns, 90);
	}
	if (!strcmp(load, "answer")) {
		start_many(4, "hog", hog);
		settle();
		return periodic(10 * NS_PER_MS, 300000, length_ns, 90);
	}
	if (!strcmp(load, "wake")) {
		start_many(4, "hog", hog);
		settle();
		return periodic(5 * NS_PER_MS, 0, length_ns, 99);
	}
	if (!strcmp(load, "messages")) {
		for (int n = 0; n < PAIRS; n++) {
			if (pipe(there[n]) || pipe(back[n]))
				exit(1);
			start("asks", ask);
			start("answers", answer);
		}
		return added(0, length_ns);
	}
	if (!strcmp(load, "short"))
		return mean_of_short_jobs(length_ns);
	if (!strcmp(load, "batch"))
		return length_of_batch();
	if (!strcmp(load, "switches"))
		return switches_per_s(length_ns);
	fprintf(stderr, "there is no load called %s\n", load);
	exit(2);
}

int main(int count, char **words)
{
	double result;

	if (count < 2)
		return 2;
	shared = mmap(NULL, PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (shared == MAP_FAILED)
		return 1;
	result = run(words[1], (count > 2 ? atoll(words[2]) : 0) * NS_PER_MS);
	end_all();
	printf("%.3f\n", result);
	return 0;
}
