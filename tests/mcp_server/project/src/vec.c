#include "tally.h"

#include <stdlib.h>
#include <string.h>

void vec_push(struct vec *vec, double value)
{
	if (vec->length == vec->room) {
		vec->room = vec->room ? 2 * vec->room : 16;
		vec->values = realloc(vec->values, vec->room * sizeof(*vec->values));
		if (!vec->values)
			abort();
	}
	vec->values[vec->length++] = value;
}

void vec_free(struct vec *vec)
{
	free(vec->values);
	memset(vec, 0, sizeof(*vec));
}
