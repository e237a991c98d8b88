#include "tally.h"

struct reader {
	csv_field *field;
	void *data;
	size_t row, column;
	struct strbuf text;
};

static void end_field(struct reader *reader)
{
	strbuf_add(&reader->text, "", 0);
	reader->field(reader->data, reader->row, reader->column++, reader->text.text);
	reader->text.length = 0;
}

/* Returns where the field ends; NULL when a quote does not. */
static const char *quoted(struct reader *reader, const char *at)
{
	for (at++; *at; at++) {
		if (*at == '"' && at[1] != '"')
			return at + 1;
		if (*at == '"')
			at++;
		strbuf_add(&reader->text, at, 1);
	}
	return NULL;
}

bool csv_read(const char *text, csv_field *field, void *data)
{
	struct reader reader = {.field = field, .data = data};
	const char *at = text;

	while (at && *at) {
		if (*at == '"')
			at = quoted(&reader, at);
		for (; at && *at && *at != ',' && *at != '\n'; at++)
			if (*at != '\r')
				strbuf_add(&reader.text, at, 1);
		if (!at)
			break;
		end_field(&reader);
		if (*at == '\n') {
			reader.row++;
			reader.column = 0;
		}
		at += *at != '\0';
	}
	strbuf_free(&reader.text);
	return at != NULL;
}
