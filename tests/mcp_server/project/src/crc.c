#include "tally.h"

static uint32_t table[256];

static void fill_table(void)
{
	for (uint32_t byte = 0; byte < 256; byte++) {
		uint32_t value = byte;

		for (int bit = 0; bit < 8; bit++)
			value = value >> 1 ^ (value & 1 ? 0xedb88320u : 0);
		table[byte] = value;
	}
}

uint32_t crc32_of(const void *bytes, size_t length)
{
	const unsigned char *at = bytes;
	uint32_t crc = 0xffffffffu;

	if (!table[1])
		fill_table();
	for (size_t i = 0; i < length; i++)
		crc = crc >> 8 ^ table[(crc ^ at[i]) & 0xff];
	return ~crc;
}
