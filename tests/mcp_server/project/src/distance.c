#include "tally.h"

#include <stdlib.h>
#include <string.h>

static size_t least(size_t a, size_t b, size_t c)
{
	size_t found = a < b ? a : b;

	return found < c ? found : c;
}

size_t edit_distance(const char *one, const char *other)
{
	size_t width = strlen(other), *row = malloc((width + 1) * sizeof(*row)), found;

	if (!row)
		abort();
	for (size_t j = 0; j <= width; j++)
		row[j] = j;
	for (size_t i = 0; one[i]; i++) {
		size_t corner = row[0];

		row[0] = i + 1;
		for (size_t j = 0; j < width; j++) {
			size_t above = row[j + 1];

			row[j + 1] = least(above + 1, row[j] + 1, corner + (one[i] != other[j]));
			corner = above;
		}
	}
	found = row[width];
	free(row);
	return found;
}

/* The length of the longest common subsequence. */
size_t common_length(const char *one, const char *other)
{
	size_t width = strlen(other), *row = calloc(width + 1, sizeof(*row)), found;

	if (!row)
		abort();
	for (size_t i = 0; one[i]; i++) {
		size_t corner = 0;

		for (size_t j = 0; j < width; j++) {
			size_t above = row[j + 1];

			if (one[i] == other[j])
				row[j + 1] = corner + 1;
			else if (row[j] > above)
				row[j + 1] = row[j];
			corner = above;
		}
	}
	found = row[width];
	free(row);
	return found;
}
