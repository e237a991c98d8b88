#include "tally.h"

static const char *const small[] = {
	"zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
	"thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen",
};
static const char *const tens[] = {
	"", "", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety",
};
static const char *const large[] = {
	"", " thousand", " million", " billion", " trillion", " quadrillion", " quintillion",
};

static void below_thousand(unsigned number, struct strbuf *out)
{
	if (number >= 100) {
		strbuf_add_string(out, small[number / 100]);
		strbuf_add_string(out, " hundred");
		number %= 100;
		if (!number)
			return;
		strbuf_add_string(out, " and ");
	}
	if (number < 20) {
		strbuf_add_string(out, small[number]);
		return;
	}
	strbuf_add_string(out, tens[number / 10]);
	if (number % 10) {
		strbuf_add_string(out, "-");
		strbuf_add_string(out, small[number % 10]);
	}
}

void words_for(uint64_t number, struct strbuf *out)
{
	unsigned groups[7];
	size_t count = 0;

	do
		groups[count++] = (unsigned)(number % 1000);
	while (number /= 1000);
	for (size_t i = count; i-- > 0;) {
		if (!groups[i] && count > 1)
			continue;
		if (out->length)
			strbuf_add_string(out, i == 0 && groups[i] < 100 ? " and " : " ");
		below_thousand(groups[i], out);
		strbuf_add_string(out, large[i]);
	}
}
