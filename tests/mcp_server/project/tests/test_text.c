#include "check.h"
#include "tally.h"

struct seen {
	size_t fields;
	char last[64];
};

static void see(void *data, size_t row, size_t column, const char *text)
{
	struct seen *seen = data;

	(void)row;
	(void)column;
	seen->fields++;
	snprintf(seen->last, sizeof(seen->last), "%s", text);
}

static void count_words(void)
{
	struct slice rest = slice_of("the cat and the other cat, and the dog"), word;
	struct map map = {0};
	struct map_entry *sorted;

	while (slice_next_word(&rest, &word))
		++*map_at(&map, word);
	check(map_count(&map, "the") == 3 && map_count(&map, "bird") == 0);
	sorted = map_by_count(&map);
	check(!strcmp(sorted[0].key, "the") && !strcmp(sorted[1].key, "and"));
	free(sorted);
	map_free(&map);
}

static void read_tables(void)
{
	struct seen seen = {0};

	check(csv_read("a,b\n\"1,\"\"2\",c\n", see, &seen) && seen.fields == 4 && !strcmp(seen.last, "c"));
	check(!csv_read("\"open", see, &seen));
}

int main(void)
{
	struct slice rest = slice_of("a,,b"), part;
	struct strbuf buf = {0};
	uint32_t point;
	int parts = 0;

	while (slice_next(&rest, ',', &part))
		parts++;
	check(parts == 3 && slice_equals(slice_trim(slice_of("  x ")), "x"));
	strbuf_add_number(&buf, -120);
	strbuf_reverse(&buf);
	check(!strcmp(buf.text, "021-"));
	strbuf_free(&buf);
	check(utf8_count("gr\xc3\xbc\xc3\x9f") == 4 && utf8_decode("\xe2\x82\xac", 3, &point) == 3 && point == 0x20ac);
	check(edit_distance("kitten", "sitting") == 3 && common_length("abcbdab", "bdcaba") == 4);
	check(hash_bytes("", 0) == 0xcbf29ce484222325u);
	count_words();
	read_tables();
	return 0;
}
