#include "tally.h"

static uint64_t spread(uint64_t *seed)
{
	uint64_t z = *seed += 0x9e3779b97f4a7c15u;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
	z = (z ^ z >> 27) * 0x94d049bb133111ebu;
	return z ^ z >> 31;
}

void rng_seed(struct rng *rng, uint64_t seed)
{
	rng->state[0] = spread(&seed);
	rng->state[1] = spread(&seed);
}

uint64_t rng_next(struct rng *rng)
{
	uint64_t a = rng->state[0], b = rng->state[1];

	rng->state[0] = b;
	a ^= a << 23;
	rng->state[1] = a ^ b ^ a >> 18 ^ b >> 5;
	return rng->state[1] + b;
}

double rng_unit(struct rng *rng)
{
	return (double)(rng_next(rng) >> 11) / 9007199254740992.0;
}

uint64_t rng_below(struct rng *rng, uint64_t limit)
{
	uint64_t drawn, most;

	if (!limit)
		return 0;
	most = UINT64_MAX - UINT64_MAX % limit;
	do
		drawn = rng_next(rng);
	while (drawn >= most);
	return drawn % limit;
}
