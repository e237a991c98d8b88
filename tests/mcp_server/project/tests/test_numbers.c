#include "check.h"
#include "tally.h"

#include <math.h>

static void reckon_large(void)
{
	struct bignum factorial = {0}, square = {0};
	struct strbuf out = {0};

	bignum_set(&factorial, 1);
	for (uint32_t i = 2; i <= 25; i++)
		bignum_multiply_small(&factorial, i);
	bignum_print(&factorial, &out);
	check(!strcmp(out.text, "15511210043330985984000000"));
	bignum_multiply(&square, &factorial, &factorial);
	bignum_add(&square, &factorial);
	out.length = 0;
	bignum_print(&square, &out);
	check(!strcmp(out.text, "240597637008332048087335641856814491586985984000000"));
	strbuf_free(&out);
	bignum_free(&square);
	bignum_free(&factorial);
}

static void evaluate(void)
{
	const char *fault;
	double value;

	check(expr_value("2 + 3 * 4 ^ 2 / (1 - 3)", &value, &fault) && fabs(value + 22) < 1e-9);
	check(expr_value("-sqrt(16)", &value, &fault) && value == -4);
	check(!expr_value("1 / 0", &value, &fault) && !expr_value("(1", &value, &fault));
}

static void summarise(void)
{
	struct vec vec = {0};

	for (int i = 0; i <= 1000; i++)
		vec_push(&vec, (i * 379) % 1001);
	check(fabs(stats_mean(&vec) - 500) < 1e-9 && fabs(stats_percentile(&vec, 90) - 900) < 1e-9);
	check(fabs(stats_correlation(&vec, &vec) - 1) < 1e-9 && stats_deviation(&vec) > 280);
	vec_free(&vec);
}

int main(void)
{
	struct strbuf out = {0};
	uint32_t primes[32];
	uint64_t found[64];

	check(gcd(84, 36) == 12 && is_prime(1000003) && !is_prime(1000001) && factors(360, found) == 6);
	check(primes_below(100, primes, 32) == 25 && primes[24] == 97);
	words_for(1001042, &out);
	check(!strcmp(out.text, "one million one thousand and forty-two"));
	strbuf_free(&out);
	reckon_large();
	evaluate();
	summarise();
	return 0;
}
