#include "tally.h"

#include <stdlib.h>

uint64_t gcd(uint64_t a, uint64_t b)
{
	while (b) {
		uint64_t rest = a % b;

		a = b;
		b = rest;
	}
	return a;
}

bool is_prime(uint64_t n)
{
	if (n < 4)
		return n > 1;
	if (n % 2 == 0 || n % 3 == 0)
		return false;
	for (uint64_t i = 5; i <= n / i; i += 6)
		if (n % i == 0 || n % (i + 2) == 0)
			return false;
	return true;
}

size_t factors(uint64_t n, uint64_t out[64])
{
	size_t count = 0;

	for (uint64_t i = 2; i <= n / i; i++)
		while (n % i == 0) {
			out[count++] = i;
			n /= i;
		}
	if (n > 1)
		out[count++] = n;
	return count;
}

size_t primes_below(uint32_t limit, uint32_t *out, size_t room)
{
	unsigned char *struck = calloc(limit + 1u, 1);
	size_t count = 0;

	if (!struck)
		abort();
	for (uint32_t i = 2; i < limit && count < room; i++) {
		if (struck[i])
			continue;
		out[count++] = i;
		for (uint64_t multiple = (uint64_t)i * i; multiple < limit; multiple += i)
			struck[multiple] = 1;
	}
	free(struck);
	return count;
}
