#include "tally.h"

static bool in_set(const char **pattern, char c)
{
	const char *at = *pattern + 1;
	bool negated = *at == '!', found = false;

	if (negated)
		at++;
	do {
		if (at[1] == '-' && at[2] && at[2] != ']') {
			found |= c >= at[0] && c <= at[2];
			at += 3;
		} else {
			found |= c == *at;
			at++;
		}
	} while (*at && *at != ']');
	*pattern = *at ? at : at - 1;
	return found != negated;
}

bool glob_matches(const char *pattern, const char *text)
{
	const char *star = NULL, *since = NULL;

	while (*text) {
		const char *at = pattern;

		if (*pattern == '*') {
			star = ++pattern;
			since = text;
			continue;
		}
		if (*pattern && (*pattern == '?' || (*pattern == '[' ? in_set(&at, *text) : *pattern == *text))) {
			pattern = at + 1;
			text++;
			continue;
		}
		if (!star)
			return false;
		pattern = star;
		text = ++since;
	}
	while (*pattern == '*')
		pattern++;
	return !*pattern;
}
