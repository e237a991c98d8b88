#include "tally.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

double stats_mean(const struct vec *vec)
{
	double sum = 0;

	for (size_t i = 0; i < vec->length; i++)
		sum += vec->values[i];
	return vec->length ? sum / (double)vec->length : 0;
}

double stats_deviation(const struct vec *vec)
{
	double mean = stats_mean(vec), sum = 0;

	for (size_t i = 0; i < vec->length; i++)
		sum += (vec->values[i] - mean) * (vec->values[i] - mean);
	return vec->length > 1 ? sqrt(sum / (double)(vec->length - 1)) : 0;
}

double stats_percentile(const struct vec *vec, double percent)
{
	double *sorted, place, found;
	size_t below;

	if (!vec->length)
		return 0;
	sorted = malloc(vec->length * sizeof(*sorted));
	if (!sorted)
		abort();
	memcpy(sorted, vec->values, vec->length * sizeof(*sorted));
	sort_doubles(sorted, vec->length);
	place = percent / 100 * (double)(vec->length - 1);
	below = (size_t)place;
	found = sorted[below];
	if (below + 1 < vec->length)
		found += (place - (double)below) * (sorted[below + 1] - sorted[below]);
	free(sorted);
	return found;
}

double stats_correlation(const struct vec *one, const struct vec *other)
{
	double a = stats_mean(one), b = stats_mean(other), both = 0, alone = 0, aside = 0;
	size_t length = one->length < other->length ? one->length : other->length;

	for (size_t i = 0; i < length; i++) {
		both += (one->values[i] - a) * (other->values[i] - b);
		alone += (one->values[i] - a) * (one->values[i] - a);
		aside += (other->values[i] - b) * (other->values[i] - b);
	}
	return alone > 0 && aside > 0 ? both / sqrt(alone * aside) : 0;
}
