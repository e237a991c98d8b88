#include "tally.h"

#include <stdlib.h>
#include <string.h>

#define SHOWN 10

static int count_words(void)
{
	struct map map = {0};
	struct map_entry *sorted;
	char line[4096];

	while (fgets(line, sizeof(line), stdin)) {
		struct slice rest = slice_of(line), word;

		while (slice_next_word(&rest, &word))
			++*map_at(&map, word);
	}
	sorted = map_by_count(&map);
	for (size_t i = 0; i < SHOWN && sorted[i].key; i++)
		printf("%8ld %s\n", sorted[i].count, sorted[i].key);
	free(sorted);
	map_free(&map);
	return 0;
}

static int summarise(int count, char **words)
{
	struct vec vec = {0};

	for (int i = 0; i < count; i++)
		vec_push(&vec, strtod(words[i], NULL));
	printf("mean %g deviation %g median %g p99 %g\n", stats_mean(&vec), stats_deviation(&vec),
	       stats_percentile(&vec, 50), stats_percentile(&vec, 99));
	vec_free(&vec);
	return 0;
}

static int evaluate(const char *text)
{
	const char *fault;
	double value;

	if (!expr_value(text, &value, &fault)) {
		fprintf(stderr, "tally: %s\n", fault);
		return 1;
	}
	printf("%.15g\n", value);
	return 0;
}

static int spell(const char *text)
{
	struct strbuf out = {0};

	words_for(strtoull(text, NULL, 10), &out);
	puts(out.text);
	strbuf_free(&out);
	return 0;
}

int main(int count, char **words)
{
	if (count > 1 && !strcmp(words[1], "words"))
		return count_words();
	if (count > 2 && !strcmp(words[1], "stats"))
		return summarise(count - 2, words + 2);
	if (count == 3 && !strcmp(words[1], "value"))
		return evaluate(words[2]);
	if (count == 3 && !strcmp(words[1], "spell"))
		return spell(words[2]);
	fputs("tally words < FILE | stats NUMBER... | value EXPRESSION | spell NUMBER\n", stderr);
	return 2;
}
