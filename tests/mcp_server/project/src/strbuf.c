#include "tally.h"

#include <stdlib.h>
#include <string.h>

static void make_room(struct strbuf *buf, size_t more)
{
	size_t wanted = buf->length + more + 1;

	if (wanted <= buf->room)
		return;
	buf->room = wanted > 2 * buf->room ? wanted : 2 * buf->room;
	buf->text = realloc(buf->text, buf->room);
	if (!buf->text)
		abort();
}

void strbuf_add(struct strbuf *buf, const char *text, size_t length)
{
	make_room(buf, length);
	memcpy(buf->text + buf->length, text, length);
	buf->length += length;
	buf->text[buf->length] = '\0';
}

void strbuf_add_string(struct strbuf *buf, const char *text)
{
	strbuf_add(buf, text, strlen(text));
}

void strbuf_add_number(struct strbuf *buf, long long number)
{
	char digits[24];
	int length = snprintf(digits, sizeof(digits), "%lld", number);

	strbuf_add(buf, digits, (size_t)length);
}

void strbuf_reverse(struct strbuf *buf)
{
	for (size_t i = 0; i < buf->length / 2; i++) {
		char kept = buf->text[i];

		buf->text[i] = buf->text[buf->length - 1 - i];
		buf->text[buf->length - 1 - i] = kept;
	}
}

void strbuf_free(struct strbuf *buf)
{
	free(buf->text);
	memset(buf, 0, sizeof(*buf));
}
