#include "tally.h"

#include <stdlib.h>
#include <string.h>

static void merge(const double *from, double *to, size_t half, size_t length)
{
	size_t a = 0, b = half;

	for (size_t i = 0; i < length; i++)
		to[i] = a < half && (b == length || from[a] <= from[b]) ? from[a++] : from[b++];
}

static void sort_into(double *values, double *spare, size_t length)
{
	size_t half = length / 2;

	if (length < 2)
		return;
	sort_into(values, spare, half);
	sort_into(values + half, spare, length - half);
	memcpy(spare, values, length * sizeof(*values));
	merge(spare, values, half, length);
}

void sort_doubles(double *values, size_t length)
{
	double *spare = malloc((length + 1) * sizeof(*spare));

	if (!spare)
		abort();
	sort_into(values, spare, length);
	free(spare);
}

static void swap(char *one, char *other, size_t size)
{
	while (size--) {
		char kept = *one;

		*one++ = *other;
		*other++ = kept;
	}
}

static void sink(char *base, size_t at, size_t count, size_t size, int (*compare)(const void *, const void *))
{
	for (;;) {
		size_t child = 2 * at + 1;

		if (child >= count)
			return;
		if (child + 1 < count && compare(base + child * size, base + (child + 1) * size) < 0)
			child++;
		if (compare(base + at * size, base + child * size) >= 0)
			return;
		swap(base + at * size, base + child * size, size);
		at = child;
	}
}

/* A heap: no memory of its own, and never slow. */
void sort_with(void *base, size_t count, size_t size, int (*compare)(const void *, const void *))
{
	for (size_t at = count / 2; at-- > 0;)
		sink(base, at, count, size, compare);
	for (size_t left = count; left-- > 1;) {
		swap(base, (char *)base + left * size, size);
		sink(base, 0, left, size, compare);
	}
}
