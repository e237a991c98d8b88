/* Writes rules.c: a function a rule, and one that applies the rule of a number. Made here, so that nobody types it. */
#include <stdio.h>
#include <stdlib.h>

static unsigned seed = 2463534242u;

static unsigned next(unsigned limit)
{
	seed ^= seed << 13;
	seed ^= seed >> 17;
	seed ^= seed << 5;
	return seed % limit;
}

static void write_rule(int number)
{
	printf("static uint64_t rule_%d(uint64_t x, unsigned rounds)\n{\n\tuint64_t y = x ^ %uu;\n\n", number, next(65536));
	printf("\tfor (unsigned i = 0; i < rounds; i++) {\n\t\tswitch ((x + i) %% 6) {\n");
	for (int each = 0; each < 6; each++)
		printf("\t\tcase %d:\n\t\t\ty = (y << %u | y >> %u) + %uu * (x %% %uu + 1);\n\t\t\tbreak;\n", each,
		       next(30) + 1, next(30) + 1, next(1000) + 1, next(97) + 2);
	printf("\t\t}\n\t\tx += y %% %uu;\n\t}\n\treturn x ^ y;\n}\n\n", next(1000) + 3);
}

int main(int count, char **words)
{
	int rules = count > 1 ? atoi(words[1]) : 80;

	printf("/* Made by mkrules. */\n#include \"tally.h\"\n\n");
	for (int each = 0; each < rules; each++)
		write_rule(each);
	printf("int rule_count(void)\n{\n\treturn %d;\n}\n\n", rules);
	printf("uint64_t apply_rule(int rule, uint64_t x, unsigned rounds)\n{\n\tswitch (rule) {\n");
	for (int each = 0; each < rules; each++)
		printf("\tcase %d:\n\t\treturn rule_%d(x, rounds);\n", each, each);
	printf("\t}\n\treturn x;\n}\n");
	return 0;
}
