#include "tally.h"

#include <string.h>

static const struct {
	unsigned value;
	const char *letters;
} parts[] = {
	{1000, "M"}, {900, "CM"}, {500, "D"}, {400, "CD"}, {100, "C"}, {90, "XC"}, {50, "L"},
	{40, "XL"},  {10, "X"},   {9, "IX"},  {5, "V"},    {4, "IV"},  {1, "I"},
};
#define PARTS (sizeof(parts) / sizeof(parts[0]))

bool roman_print(unsigned number, struct strbuf *out)
{
	if (!number || number > 3999)
		return false;
	for (size_t i = 0; i < PARTS; i++)
		while (number >= parts[i].value) {
			strbuf_add_string(out, parts[i].letters);
			number -= parts[i].value;
		}
	return true;
}

bool roman_parse(const char *text, unsigned *number)
{
	struct strbuf again = {0};
	const char *at = text;
	bool same;

	*number = 0;
	for (size_t i = 0; i < PARTS; i++)
		while (!strncmp(at, parts[i].letters, strlen(parts[i].letters))) {
			*number += parts[i].value;
			at += strlen(parts[i].letters);
		}
	if (*at || !roman_print(*number, &again)) {
		strbuf_free(&again);
		return false;
	}
	same = !strcmp(again.text, text);
	strbuf_free(&again);
	return same;
}
