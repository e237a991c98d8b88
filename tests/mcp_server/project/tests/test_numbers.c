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
	struct rng rng;

	rng_seed(&rng, 7);
	for (int i = 0; i < 10000; i++)
		vec_push(&vec, rng_unit(&rng));
	check(fabs(stats_mean(&vec) - 0.5) < 0.02 && fabs(stats_percentile(&vec, 90) - 0.9) < 0.02);
	check(fabs(stats_correlation(&vec, &vec) - 1) < 1e-9 && rng_below(&rng, 10) < 10);
	vec_free(&vec);
}

int main(void)
{
	struct strbuf out = {0};
	struct date date;
	uint32_t primes[32];
	uint64_t found[64];
	unsigned number;

	check(gcd(84, 36) == 12 && is_prime(1000003) && !is_prime(1000001) && factors(360, found) == 6);
	check(primes_below(100, primes, 32) == 25 && primes[24] == 97);
	check(rational_compare(rational_add(rational_of(1, 3), rational_of(1, 6)), rational_of(2, 4)) == 0);
	check(rational_near(3.14159265, 1000).under == 113);
	check(roman_parse("MCMXCIV", &number) && number == 1994 && !roman_parse("IIII", &number));
	words_for(1001042, &out);
	check(!strcmp(out.text, "one million one thousand and forty-two"));
	strbuf_free(&out);
	check(date_parse("2024-02-29", &date) && date_weekday(date_to_days(date)) == 4 && !date_parse("2023-02-29", &date));
	reckon_large();
	evaluate();
	summarise();
	return 0;
}
