#include "tally.h"

#include <stdlib.h>
#include <string.h>

#define BASE 1000000000u

static void make_room(struct bignum *number, size_t length)
{
	if (length <= number->room)
		return;
	number->limbs = realloc(number->limbs, 2 * length * sizeof(*number->limbs));
	if (!number->limbs)
		abort();
	number->room = 2 * length;
}

static void push(struct bignum *number, uint32_t limb)
{
	make_room(number, number->length + 1);
	number->limbs[number->length++] = limb;
}

void bignum_set(struct bignum *number, uint64_t value)
{
	number->length = 0;
	do
		push(number, (uint32_t)(value % BASE));
	while (value /= BASE);
}

void bignum_add(struct bignum *sum, const struct bignum *other)
{
	uint32_t carry = 0;

	for (size_t i = 0; i < other->length || carry; i++) {
		uint32_t limb;

		if (i == sum->length)
			push(sum, 0);
		limb = sum->limbs[i] + carry + (i < other->length ? other->limbs[i] : 0);
		carry = limb >= BASE;
		sum->limbs[i] = limb % BASE;
	}
}

void bignum_multiply_small(struct bignum *number, uint32_t factor)
{
	uint64_t carry = 0;

	for (size_t i = 0; i < number->length; i++) {
		carry += (uint64_t)number->limbs[i] * factor;
		number->limbs[i] = (uint32_t)(carry % BASE);
		carry /= BASE;
	}
	if (carry)
		push(number, (uint32_t)carry);
}

void bignum_multiply(struct bignum *product, const struct bignum *one, const struct bignum *other)
{
	product->length = 0;
	make_room(product, one->length + other->length);
	product->length = one->length + other->length;
	memset(product->limbs, 0, product->length * sizeof(*product->limbs));
	for (size_t i = 0; i < one->length; i++) {
		uint64_t carry = 0;

		for (size_t j = 0; j < other->length || carry; j++) {
			uint64_t limb = product->limbs[i + j] + carry;

			if (j < other->length)
				limb += (uint64_t)one->limbs[i] * other->limbs[j];
			product->limbs[i + j] = (uint32_t)(limb % BASE);
			carry = limb / BASE;
		}
	}
	while (product->length > 1 && !product->limbs[product->length - 1])
		product->length--;
}

void bignum_print(const struct bignum *number, struct strbuf *out)
{
	char digits[16];

	snprintf(digits, sizeof(digits), "%u", number->limbs[number->length - 1]);
	strbuf_add_string(out, digits);
	for (size_t i = number->length - 1; i-- > 0;) {
		snprintf(digits, sizeof(digits), "%09u", number->limbs[i]);
		strbuf_add_string(out, digits);
	}
}

void bignum_free(struct bignum *number)
{
	free(number->limbs);
	memset(number, 0, sizeof(*number));
}
