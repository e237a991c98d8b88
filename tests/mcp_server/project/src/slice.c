#include "tally.h"

#include <ctype.h>
#include <string.h>

struct slice slice_of(const char *text)
{
	return (struct slice){text, strlen(text)};
}

struct slice slice_trim(struct slice slice)
{
	while (slice.length && isspace((unsigned char)*slice.start)) {
		slice.start++;
		slice.length--;
	}
	while (slice.length && isspace((unsigned char)slice.start[slice.length - 1]))
		slice.length--;
	return slice;
}

bool slice_equals(struct slice slice, const char *text)
{
	return strlen(text) == slice.length && !memcmp(slice.start, text, slice.length);
}

bool slice_next(struct slice *rest, char separator, struct slice *part)
{
	const char *end;

	if (!rest->start)
		return false;
	end = memchr(rest->start, separator, rest->length);
	if (!end) {
		*part = *rest;
		*rest = (struct slice){NULL, 0};
		return true;
	}
	*part = (struct slice){rest->start, (size_t)(end - rest->start)};
	rest->length -= part->length + 1;
	rest->start = end + 1;
	return true;
}

static bool in_word(char c)
{
	return isalnum((unsigned char)c) || c == '\'' || (c & 0x80);
}

bool slice_next_word(struct slice *rest, struct slice *word)
{
	size_t at = 0, end;

	while (at < rest->length && !in_word(rest->start[at]))
		at++;
	for (end = at; end < rest->length && in_word(rest->start[end]); end++)
		;
	*word = (struct slice){rest->start + at, end - at};
	rest->start += end;
	rest->length -= end;
	return word->length > 0;
}
