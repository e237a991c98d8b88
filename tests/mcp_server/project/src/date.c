#include "tally.h"

/* Years begin in March here, so that the day that is sometimes missing is the last. */
int64_t date_to_days(struct date date)
{
	int64_t year = date.month <= 2 ? date.year - 1 : date.year;
	int64_t era = (year >= 0 ? year : year - 399) / 400;
	unsigned of_era = (unsigned)(year - era * 400);
	unsigned of_year = (153 * (date.month > 2 ? date.month - 3 : date.month + 9) + 2) / 5 + date.day - 1;

	return era * 146097 + (int64_t)(of_era * 365 + of_era / 4 - of_era / 100 + of_year) - 719468;
}

struct date date_of_days(int64_t days)
{
	struct date date;
	int64_t era;
	unsigned of_era, year, of_year, month;

	days += 719468;
	era = (days >= 0 ? days : days - 146096) / 146097;
	of_era = (unsigned)(days - era * 146097);
	year = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
	of_year = of_era - (365 * year + year / 4 - year / 100);
	month = (5 * of_year + 2) / 153;
	date.day = of_year - (153 * month + 2) / 5 + 1;
	date.month = month < 10 ? month + 3 : month - 9;
	date.year = (int)(year + era * 400) + (date.month <= 2);
	return date;
}

/* 0 is Sunday. */
unsigned date_weekday(int64_t days)
{
	return (unsigned)(((days + 4) % 7 + 7) % 7);
}

bool date_parse(const char *text, struct date *date)
{
	struct date again;
	int used = 0;

	if (sscanf(text, "%d-%u-%u%n", &date->year, &date->month, &date->day, &used) != 3 || text[used])
		return false;
	if (date->month < 1 || date->month > 12 || date->day < 1 || date->day > 31)
		return false;
	again = date_of_days(date_to_days(*date));
	return again.month == date->month && again.day == date->day;
}
