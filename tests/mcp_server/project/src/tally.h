/* Text and numbers, in one header because there is so little of either. */
#ifndef TALLY_H
#define TALLY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* strbuf.c: a string that grows */
struct strbuf {
	char *text;
	size_t length, room;
};
void strbuf_add(struct strbuf *buf, const char *text, size_t length);
void strbuf_add_string(struct strbuf *buf, const char *text);
void strbuf_add_number(struct strbuf *buf, long long number);
void strbuf_reverse(struct strbuf *buf);
void strbuf_free(struct strbuf *buf);

/* slice.c: a part of somebody else's string */
struct slice {
	const char *start;
	size_t length;
};
struct slice slice_of(const char *text);
struct slice slice_trim(struct slice slice);
bool slice_equals(struct slice slice, const char *text);
bool slice_next(struct slice *rest, char separator, struct slice *part);
bool slice_next_word(struct slice *rest, struct slice *word);

/* utf8.c */
size_t utf8_decode(const char *text, size_t length, uint32_t *point);
size_t utf8_encode(uint32_t point, char out[4]);
size_t utf8_count(const char *text);

/* hash.c */
uint64_t hash_bytes(const void *bytes, size_t length);

/* map.c: how often each string was seen */
struct map_entry {
	char *key;
	long count;
};
struct map {
	struct map_entry *entries;
	size_t used, room;
};
long *map_at(struct map *map, struct slice key);
long map_count(const struct map *map, const char *key);
struct map_entry *map_by_count(const struct map *map);
void map_free(struct map *map);

/* vec.c */
struct vec {
	double *values;
	size_t length, room;
};
void vec_push(struct vec *vec, double value);
void vec_free(struct vec *vec);

/* stats.c */
double stats_mean(const struct vec *vec);
double stats_deviation(const struct vec *vec);
double stats_percentile(const struct vec *vec, double percent);
double stats_correlation(const struct vec *one, const struct vec *other);

/* sort.c */
void sort_doubles(double *values, size_t length);
void sort_with(void *base, size_t count, size_t size, int (*compare)(const void *, const void *));

/* prime.c */
uint64_t gcd(uint64_t a, uint64_t b);
bool is_prime(uint64_t n);
size_t factors(uint64_t n, uint64_t out[64]);
size_t primes_below(uint32_t limit, uint32_t *out, size_t room);

/* bignum.c: natural numbers of any size, nine decimal digits a limb */
struct bignum {
	uint32_t *limbs;
	size_t length, room;
};
void bignum_set(struct bignum *number, uint64_t value);
void bignum_add(struct bignum *sum, const struct bignum *other);
void bignum_multiply_small(struct bignum *number, uint32_t factor);
void bignum_multiply(struct bignum *product, const struct bignum *one, const struct bignum *other);
void bignum_print(const struct bignum *number, struct strbuf *out);
void bignum_free(struct bignum *number);

/* words.c */
void words_for(uint64_t number, struct strbuf *out);

/* distance.c */
size_t edit_distance(const char *one, const char *other);
size_t common_length(const char *one, const char *other);

/* csv.c */
typedef void csv_field(void *data, size_t row, size_t column, const char *text);
bool csv_read(const char *text, csv_field *field, void *data);

/* expr.c: + - * / ^ ( ) and names of functions */
bool expr_value(const char *text, double *value, const char **fault);

/* rules.c, which mkrules writes */
int rule_count(void);
uint64_t apply_rule(int rule, uint64_t x, unsigned rounds);

#endif
