#include "check.h"
#include "tally.h"

int main(void)
{
	uint64_t all = 0;

	check(rule_count() > 0 && apply_rule(-1, 5, 3) == 5);
	for (int rule = 0; rule < rule_count(); rule++)
		all += apply_rule(rule, (uint64_t)rule + 1, 8);
	check(all != 0);
	return 0;
}
