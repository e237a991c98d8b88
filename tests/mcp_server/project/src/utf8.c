#include "tally.h"

#include <string.h>

/* Returns how many bytes the first character takes, 1 for a byte that begins none. */
size_t utf8_decode(const char *text, size_t length, uint32_t *point)
{
	static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
	const unsigned char *bytes = (const unsigned char *)text;
	size_t size;
	uint32_t found;

	if (!length)
		return 0;
	size = bytes[0] < 0x80 ? 1 : bytes[0] >> 5 == 6 ? 2 : bytes[0] >> 4 == 14 ? 3 : bytes[0] >> 3 == 30 ? 4 : 0;
	*point = 0xfffd;
	if (!size || size > length)
		return 1;
	found = size == 1 ? bytes[0] : bytes[0] & (0xffu >> (size + 1));
	for (size_t i = 1; i < size; i++) {
		if (bytes[i] >> 6 != 2)
			return 1;
		found = found << 6 | (bytes[i] & 0x3f);
	}
	if (found < least[size] || found > 0x10ffff || (found >= 0xd800 && found < 0xe000))
		return 1;
	*point = found;
	return size;
}

size_t utf8_encode(uint32_t point, char out[4])
{
	if (point < 0x80) {
		out[0] = (char)point;
		return 1;
	}
	if (point < 0x800) {
		out[0] = (char)(0xc0 | point >> 6);
		out[1] = (char)(0x80 | (point & 0x3f));
		return 2;
	}
	if (point < 0x10000) {
		out[0] = (char)(0xe0 | point >> 12);
		out[1] = (char)(0x80 | (point >> 6 & 0x3f));
		out[2] = (char)(0x80 | (point & 0x3f));
		return 3;
	}
	out[0] = (char)(0xf0 | point >> 18);
	out[1] = (char)(0x80 | (point >> 12 & 0x3f));
	out[2] = (char)(0x80 | (point >> 6 & 0x3f));
	out[3] = (char)(0x80 | (point & 0x3f));
	return 4;
}

size_t utf8_count(const char *text)
{
	size_t left = strlen(text), count = 0;
	uint32_t point;

	while (left) {
		size_t size = utf8_decode(text, left, &point);

		text += size;
		left -= size;
		count++;
	}
	return count;
}
