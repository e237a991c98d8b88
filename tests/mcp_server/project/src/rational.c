#include "tally.h"

#include <math.h>

struct rational rational_of(int64_t over, int64_t under)
{
	uint64_t common;

	if (under < 0) {
		over = -over;
		under = -under;
	}
	common = gcd((uint64_t)(over < 0 ? -over : over), (uint64_t)under);
	if (common > 1) {
		over /= (int64_t)common;
		under /= (int64_t)common;
	}
	return (struct rational){over, under};
}

struct rational rational_add(struct rational a, struct rational b)
{
	return rational_of(a.over * b.under + b.over * a.under, a.under * b.under);
}

struct rational rational_multiply(struct rational a, struct rational b)
{
	return rational_of(a.over * b.over, a.under * b.under);
}

int rational_compare(struct rational a, struct rational b)
{
	int64_t one = a.over * b.under, other = b.over * a.under;

	return (one > other) - (one < other);
}

/* By continued fractions, as long as the denominator stays small enough. */
struct rational rational_near(double value, int64_t largest_under)
{
	int64_t over = 1, under = 0, last_over = 0, last_under = 1;
	double rest = value;

	for (int steps = 0; steps < 40; steps++) {
		int64_t whole = (int64_t)floor(rest), next_over = whole * over + last_over;
		int64_t next_under = whole * under + last_under;

		if (next_under > largest_under)
			break;
		last_over = over;
		last_under = under;
		over = next_over;
		under = next_under;
		if (rest - (double)whole < 1e-12)
			break;
		rest = 1 / (rest - (double)whole);
	}
	return rational_of(over, under);
}
